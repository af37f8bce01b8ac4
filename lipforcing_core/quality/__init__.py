"""Image quality of a clip without a reference: PIQE (no weights) or HyperIQA (a local weight file)."""
