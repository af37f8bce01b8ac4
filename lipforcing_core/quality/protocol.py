"""What a quality scorer is: three frames of a clip, their centre, one score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lipforcing_core.base.errors import BadInputError

CROP_SIZE = 224


@dataclass(frozen=True, kw_only=True)
class QualityScore:
    """The quality of a clip, 0 to 100 by design; ``higher_is_better`` says which end is good."""

    value: float
    backend: str
    higher_is_better: bool


class QualityScorer(Protocol):
    """Scores the image quality of a clip."""

    @property
    def backend_id(self) -> str:
        """Which measure, in which version, gives the scores."""
        ...

    def score(self, frames: np.ndarray) -> QualityScore:
        """Score of [F, H, W, 3] uint8 RGB frames."""
        ...


def sample_frames(frames: np.ndarray) -> np.ndarray:
    """First, middle (index F // 2) and last of [F, H, W, 3] frames; a frame is not repeated in a shorter clip."""
    if frames.ndim != 4 or len(frames) == 0:
        raise BadInputError(f"quality needs [F, H, W, 3] frames, at least one, not {list(frames.shape)}")
    return frames[sampled_indices(len(frames))]


def sampled_indices(num_frames: int) -> list[int]:
    """The frames of a clip that are rated: first, middle and last, none of them twice."""
    return sorted({0, num_frames // 2, num_frames - 1})


def centre_crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """The central height x width part of [F, H, W, 3] frames that are at least that large."""
    top = (frames.shape[1] - height) // 2
    left = (frames.shape[2] - width) // 2
    return frames[:, top : top + height, left : left + width]
