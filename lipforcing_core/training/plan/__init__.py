"""What a training run will need, before it starts: memory and time of every stage, and whether it fits."""
