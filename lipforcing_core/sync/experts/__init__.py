"""Sync experts: the protocol, one file an implementation, and the catalogue."""
