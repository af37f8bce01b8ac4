"""The sample rate of all sound, on the lowest floor that needs it; ``media.clock`` counts by it."""

SAMPLE_RATE = 16_000
