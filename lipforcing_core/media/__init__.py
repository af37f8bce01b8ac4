"""Probe, decode, resample, encode and mux video and sound; find shots; plan segments."""
