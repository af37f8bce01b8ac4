"""What is in a sound: one channel that keeps its speech, where speech is, and facts about its quality.

Everything here works on decoded samples. Nothing here opens a file but the model of a voice activity detector.
"""
