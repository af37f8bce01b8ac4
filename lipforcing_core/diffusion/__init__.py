"""Noise schedule, guidance and samplers of rectified flow."""
