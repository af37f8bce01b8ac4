"""A synthetic talking-head corpus with known truth: formant speech drives the mouths of two real portraits.

``speech`` makes the sound and the lip curves, ``portraits`` and ``rig`` turn them into frames, ``corpus``
writes clips with a JSON truth file each. Everything follows from explicit seeds.
"""
