"""What surrounds the transformer for training and streaming alike: model bundles, encoders and codecs, prompts."""
