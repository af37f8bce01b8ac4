"""Mutation testing: plant one fault at a time and see whether a test notices (``make mutants PACKAGE=...``)."""
