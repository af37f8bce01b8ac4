"""CSIM: how much the person in the prediction still looks like the person in the truth."""

from __future__ import annotations

import numpy as np

from lipforcing_core.metrics.networks.protocol import FeatureExtractor


def csim(prediction: np.ndarray, truth: np.ndarray, extractor: FeatureExtractor) -> float:
    """Mean over frames of the cosine between embeddings of the same frame; in [-1, 1], 1 for equal clips.

    Both clips ``[F, H, W, 3] uint8 RGB``; the extractor must give one vector per frame.
    """
    return mean_cosine(extractor.embed(prediction), extractor.embed(truth))


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of the rows of two ``[n, d]`` arrays; ``ValueError`` for unequal shapes or a zero vector."""
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise ValueError(f"need as many vectors on both sides, got shapes {a.shape} and {b.shape}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if (lengths == 0).any():
        raise ValueError("an embedding is zero, so its direction is undefined")
    return float(np.mean((a * b).sum(axis=1) / lengths))
