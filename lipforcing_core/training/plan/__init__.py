"""What a training run will need, before it starts: memory, communication and time of every stage, and whether it fits."""
