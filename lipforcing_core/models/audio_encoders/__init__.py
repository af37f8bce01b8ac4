"""Audio encoders: the protocol, one file an implementation, and the catalogue."""
