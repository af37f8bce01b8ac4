"""Readings of sources made by hand: no video is looked at."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lipforcing_core.curation.results import Reading


def plain_reading(num_frames: int, **changes: Any) -> Reading:
    """A source with sound to its end that was read without any trouble, and with nothing in it."""
    values: dict[str, Any] = {
        "num_frames": num_frames,
        "num_samples": num_frames * 640,
        "width": 64,
        "height": 64,
        "declared_s": Fraction(num_frames, 25),
        "complaint": "",
        "num_damaged": 0,
        "num_invented": 0,
        "num_dropped": 0,
        "tone_mapped": None,
        "sound": None,
        "shots": (),
        "pieces": (),
        "short": (),
    }
    return Reading(**(values | changes))
