"""Work on external checkpoints: fetch, verify against the networks that read them, convert, merge adapters."""
