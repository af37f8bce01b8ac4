"""What runs, in what order: Prefect flows, their requests and their summaries."""
