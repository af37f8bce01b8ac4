"""Fingerprints of clips: short descriptions of picture and sound by which the same footage is found again."""
