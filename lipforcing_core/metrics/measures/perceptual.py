"""Perceptual distance to the truth, as the perceptual network of the evaluation sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.protocol import FRAME_STRIDE, ClipMeasure, Direction
from lipforcing_core.metrics.regions import mouth_slices

if TYPE_CHECKING:
    from lipforcing_core.metrics.scored import ScoredClip


def perceptual_distance(clip: ScoredClip, rows: slice = slice(None), columns: slice = slice(None)) -> float:
    """Mean distance over every fourth frame of a part of the crop; 0 for equal clips."""
    a, b = (frames[::FRAME_STRIDE, rows, columns] for frames in (clip.frames, clip.truth.frames))
    return float(clip.backends.perceptual.distance(a, b).mean())


LPIPS = ClipMeasure(
    name="lpips",
    label="LPIPS",
    direction=Direction.LOWER,
    backend=Backend.PERCEPTUAL,
    summary="Perceptual distance to the truth on the aligned crop, mean over every fourth frame; the backend names "
    "the network.",
    compute=perceptual_distance,
)

MOUTH_LPIPS = ClipMeasure(
    name="mouth_lpips",
    label="LPIPS (mouth)",
    direction=Direction.LOWER,
    backend=Backend.PERCEPTUAL,
    summary="Perceptual distance to the truth on the mouth box, mean over every fourth frame.",
    compute=lambda clip: perceptual_distance(clip, *mouth_slices(clip.truth.frames.shape[1:3])),
)
