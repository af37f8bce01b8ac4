"""The losses of the stages: functions of networks, a batch and given draws, without randomness of their own."""
