"""Networks that measures stand on: the protocols, one file an implementation, and the catalogue."""
