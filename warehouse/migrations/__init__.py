"""How the schema of the inbox grew: numbered migrations, and how a file of an earlier schema becomes one of today's."""
