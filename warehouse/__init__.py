"""What we know: SQL schema, loader, views, published numbers, reports. Alone in knowing DuckDB."""
