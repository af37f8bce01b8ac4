"""Networks: the Wan-style video transformer, its causal student, codecs, audio and text encoders."""
