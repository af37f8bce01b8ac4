"""How it works: the pure library. Imports no Prefect, Ray or DuckDB and nothing heavy at import time."""

__version__ = "0.1.0"
