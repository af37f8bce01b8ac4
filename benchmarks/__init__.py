"""How fast: measured runs of the models on random weights."""
