"""How fast, against whom: measured runs and adapters for peer systems."""
