"""One step of a flow: Prefect tasks, Ray dispatch and progress. The only package that knows Ray."""
