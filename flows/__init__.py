"""What runs, in what order: Prefect flows and the ``lipforcing`` command line."""
