"""Voice activity detectors: the protocol, one file an implementation, and the catalogue."""
