"""Base checkpoints that ship with the package: what a teacher starts from where no public base exists."""
