"""The sample rate at which sound is listened to here: that of the clock of the house, on a higher floor."""

SAMPLE_RATE = 16_000
