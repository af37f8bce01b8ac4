"""Corpora: the protocol, one file a published layout, and the catalogue."""
