"""The fingerprints of a clip, the rule by which two clips are near-duplicates, and a file of many fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from lipforcing_core.fingerprints.alignment import best_fit
from lipforcing_core.fingerprints.chance import independent_share, least_correlation
from lipforcing_core.fingerprints.picture import (
    STEP_FRAMES,
    PictureFingerprint,
    look_distance,
    picture_fingerprint,
)
from lipforcing_core.fingerprints.sound import CODES_PER_S, code_signs, sound_codes
from lipforcing_core.media.clock import FPS

FINGERPRINT_VERSION = 1

MIN_OVERLAP_S = 2.6
"""Clips that have less of their time in common do not count as duplicates: the unmistakable needs some length."""
MIN_STEPS = round(MIN_OVERLAP_S * int(FPS) / STEP_FRAMES)
MIN_CODES = round(MIN_OVERLAP_S * CODES_PER_S)
MAX_LOOK_BITS = 12
MAX_PICTURE_DISTANCE = 0.4
"""Less where the motions have few independent values, see ``chance``."""
MAX_SOUND_DISTANCE = 0.35
"""The bit error rate of Haitsma and Kalker."""
STILL_UNITS = 1.0
"""Mean square of the motion below which a picture counts as still, in squares of its unit."""


class Fingerprint(Protocol):
    """The two parts of a fingerprint, wherever they are kept."""

    @property
    def picture(self) -> PictureFingerprint:
        """That of the picture."""

    @property
    def codes_N(self) -> np.ndarray:
        """The codes of the sound, uint32 [N]."""


@dataclass(frozen=True, kw_only=True)
class ClipFingerprint:
    """What is stored of one clip: the fingerprint of its picture, and the codes of its sound, uint32 [N]."""

    picture: PictureFingerprint
    codes_N: np.ndarray

    @classmethod
    def of(cls, frames_FHW3: np.ndarray, waveform_S: np.ndarray, start_frame: int = 0) -> ClipFingerprint:
        """The fingerprint of an aligned clip and its sound at 16 kHz; ``start_frame``: of its first in the source."""
        return cls(picture=picture_fingerprint(frames_FHW3, start_frame), codes_N=sound_codes(waveform_S))


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two clips are; a distance is None where there is nothing to compare.

    picture_distance: 1 less the correlation of the motions at the best shift, 0 to 2; None for
    other looks and for still pictures. picture_limit: the greatest such distance that counts, which is less for
    motions that may agree by chance. sound_distance: bit error rate at the best shift, 0 to 1.
    """

    picture_distance: float | None
    sound_distance: float | None
    picture_limit: float = MAX_PICTURE_DISTANCE

    @property
    def same_picture(self) -> bool:
        """Whether both show the same footage, whatever the mouth does."""
        return self.picture_distance is not None and self.picture_distance <= self.picture_limit

    @property
    def same_sound(self) -> bool:
        """Whether the same recording is heard in both."""
        return self.sound_distance is not None and self.sound_distance <= MAX_SOUND_DISTANCE

    @property
    def near_duplicates(self) -> bool:
        """The rule: the same picture or the same sound."""
        return self.same_picture or self.same_sound


def compare(a: Fingerprint, b: Fingerprint) -> Likeness:
    """Compare two clips at every shift that leaves ``MIN_OVERLAP_S`` of both."""
    sound = best_fit(code_signs(a.codes_N), code_signs(b.codes_N), min_rows=MIN_CODES, floor=0.5)
    picture = compare_pictures(a.picture, b.picture)
    return Likeness(
        picture_distance=None if picture is None else picture.distance,
        picture_limit=MAX_PICTURE_DISTANCE if picture is None else picture.limit,
        sound_distance=None if sound is None else (1 - sound.correlation) / 2,
    )


class PictureDistance(NamedTuple):
    """1 less the correlation of two motions at the best shift, and the greatest distance at which they are the same."""

    distance: float
    limit: float

    @property
    def is_same(self) -> bool:
        """Whether both show the same footage."""
        return self.distance <= self.limit


def compare_pictures(a: PictureFingerprint, b: PictureFingerprint) -> PictureDistance | None:
    """How far apart two motions are; None for other looks and for still pictures.

    A cut between two steps halves the correlation of quick motions. So means of two steps are compared as well, which
    such a cut changes less, and the better of the two counts.
    """
    if look_distance(a.look, b.look) > MAX_LOOK_BITS:
        return None
    a_TB, b_TB = a.motion_TB.astype(np.float32), b.motion_TB.astype(np.float32)
    steps = best_fit(a_TB, b_TB, min_rows=MIN_STEPS - 1, floor=STILL_UNITS)
    smooth_a, smooth_b = ((motion[1:] + motion[:-1]) * np.float32(0.5) for motion in (a_TB, b_TB))
    means = best_fit(smooth_a, smooth_b, min_rows=MIN_STEPS - 2, floor=STILL_UNITS / 2)
    found = [fit for fit in (steps, means) if fit is not None]
    if not found:
        return None
    best = max(found, key=lambda fit: fit.correlation)
    share = np.sqrt(independent_share(a_TB) * independent_share(b_TB))
    asked = max(1 - MAX_PICTURE_DISTANCE, least_correlation(best.length * share))
    return PictureDistance(distance=1 - best.correlation, limit=1 - asked)
