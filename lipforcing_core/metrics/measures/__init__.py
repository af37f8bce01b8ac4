"""Measures: the protocol, one file a family (a specification stands beside its function), and the catalogue."""
