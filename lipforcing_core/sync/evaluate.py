"""How well a sync expert finds injected offsets, and how it tells matching from foreign sound, on new puppets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.puppets.speech import synthesise
from lipforcing_core.sync.augment import block_codec
from lipforcing_core.sync.experts.protocol import SyncExpert
from lipforcing_core.sync.offset import SyncScore
from lipforcing_core.sync.puppet_data import PuppetClip, puppet_clips

MAX_INJECTED = 10
LENGTHS = (33, 81, 162)
CROP_SIZE = 256
CODEC_COEFFICIENTS = 16
_FOREIGN = 500_000  # added to the seed for speech that belongs to no picture


class _Trial(NamedTuple):
    error: int
    matched: SyncScore
    foreign: SyncScore


@dataclass(frozen=True, kw_only=True)
class OffsetAccuracy:
    """One length and one state of the pictures.

    ``exact`` and ``within_one`` are fractions of clips whose injected offset in -10 to 10 frames was found. Each
    confidence triple is the 5th, 50th and 95th percentile over clips: with their own sound and with that of another.
    """

    num_frames: int
    pictures: str
    num_clips: int
    exact: float
    within_one: float
    matched_confidence: tuple[float, float, float]
    foreign_confidence: tuple[float, float, float]
    matched_distance: float
    foreign_distance: float

    def __str__(self) -> str:
        return (
            f"{self.num_frames} frames, {self.pictures}: offset exact {self.exact:.0%}, within 1 frame "
            f"{self.within_one:.0%} of {self.num_clips} clips; Sync-C own sound "
            f"{_range(self.matched_confidence)}, foreign {_range(self.foreign_confidence)}"
        )


def offset_accuracy(
    expert: SyncExpert,
    *,
    seed: int,
    num_clips: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[OffsetAccuracy, ...]:
    """Evaluate on puppets of this seed: lengths 33, 81 and 162 frames, each in all of ``PICTURES``."""
    injected = np.random.default_rng([seed, 0x0FF]).integers(-MAX_INJECTED, MAX_INJECTED + 1, num_clips)
    trials: dict[tuple[str, int], list[_Trial]] = {}
    for index, clip in enumerate(puppet_clips(seed, num_clips, max(LENGTHS), size=CROP_SIZE)):
        foreign = synthesise(seed + _FOREIGN + index, max(LENGTHS) / 25).waveform
        for name, change in PICTURES.items():
            frames = change(clip.frames)
            for length in LENGTHS:
                trial = _try(expert, frames[:length], clip, int(injected[index]), foreign)
                trials.setdefault((name, length), []).append(trial)
        on_progress(index + 1, num_clips)
    return tuple(_summary(name, length, found) for (name, length), found in trials.items())


def reduce_crops(frames: np.ndarray) -> np.ndarray:
    """Aligned crops of any size reduced to 128 pixels by area averaging."""
    return np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA) for frame in frames])


def through_codec(frames: np.ndarray) -> np.ndarray:
    """Crops [F, 128, 128, 3] uint8 as a linear codec of 16 numbers per 4 x 8 x 8 block would show them."""
    video_FCHW = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    coded = block_codec(video_FCHW, CODEC_COEFFICIENTS).round().clamp(0, 255).to(torch.uint8)
    return coded.permute(0, 2, 3, 1).contiguous().numpy()


PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "256 px": lambda frames: frames,
    "128 px": reduce_crops,
    "128 px, block codec": lambda frames: through_codec(reduce_crops(frames)),
}


def _try(
    expert: SyncExpert, frames: np.ndarray, clip: PuppetClip, offset: int, foreign: np.ndarray
) -> _Trial:
    sound = clip.sound(num_frames=len(frames), lead_samples=offset * SAMPLES_PER_FRAME)
    matched = expert.score(frames, sound)
    other = expert.score(frames, foreign[: len(frames) * SAMPLES_PER_FRAME])
    return _Trial(matched.offset_frames - offset, matched, other)


def _summary(pictures: str, num_frames: int, trials: list[_Trial]) -> OffsetAccuracy:
    errors = np.abs([trial.error for trial in trials])
    return OffsetAccuracy(
        num_frames=num_frames,
        pictures=pictures,
        num_clips=len(trials),
        exact=float(np.mean(errors == 0)),
        within_one=float(np.mean(errors <= 1)),
        matched_confidence=_percentiles([trial.matched.confidence for trial in trials]),
        foreign_confidence=_percentiles([trial.foreign.confidence for trial in trials]),
        matched_distance=float(np.median([trial.matched.distance for trial in trials])),
        foreign_distance=float(np.median([trial.foreign.distance for trial in trials])),
    )


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return float(low), float(middle), float(high)


def _range(percentiles: tuple[float, float, float]) -> str:
    low, middle, high = percentiles
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"
