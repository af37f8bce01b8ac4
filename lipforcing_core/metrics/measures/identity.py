"""CSIM: how much the person in the prediction still looks like the person in the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.protocol import FRAME_STRIDE, ClipMeasure, Direction
from lipforcing_core.metrics.values import UndefinedMeasure

if TYPE_CHECKING:
    from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of the rows of two ``[n, d]`` arrays, in [-1, 1].

    Raises ``ValueError`` for unequal shapes and ``UndefinedMeasure`` for a vector of zeros, which has no direction.
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise ValueError(f"need as many vectors on both sides, got shapes {a.shape} and {b.shape}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if (lengths == 0).any():
        raise UndefinedMeasure("an embedding is zero, so its direction is undefined")
    return float(np.mean((a * b).sum(axis=1) / lengths))


def _embedded(picture: ScoredPicture) -> np.ndarray:
    """One identity vector of every fourth frame: ``[n, d]``."""
    return picture.backends.identity_features.embed(picture.frames[::FRAME_STRIDE])


def csim(clip: ScoredClip) -> float:
    """Mean over every fourth frame of the cosine between embeddings of the same frame; 1 for equal clips."""
    return mean_cosine(_embedded(clip), clip.truth.once(_embedded))


CSIM = ClipMeasure(
    name="csim",
    label="CSIM",
    direction=Direction.HIGHER,
    backend=Backend.IDENTITY_FEATURES,
    published_name="CSIM",
    summary="Cosine between identity embeddings of prediction and truth, mean over every fourth frame; the "
    "backend names the network.",
    compute=csim,
)
