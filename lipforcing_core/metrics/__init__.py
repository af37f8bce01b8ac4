"""Metrics: one file per measure, the protocol that makes numbers comparable, and the suite that applies them."""
