"""The stages of the training: what each reads, builds, draws, and steps."""
