"""Channel layouts by the names that FFmpeg and PyAV use, and how each is reduced to left, right and centre.

The weights are those of ITU-R BS.775-3, annex 4: a surround channel counts 0.7071 on its side, and the channel for low
frequencies is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LAYOUTS: dict[str, str] = {
    "mono": "FC",
    "stereo": "FL FR",
    "downmix": "DL DR",
    "2.1": "FL FR LFE",
    "3.0": "FL FR FC",
    "3.0(back)": "FL FR BC",
    "3.1": "FL FR FC LFE",
    "4.0": "FL FR FC BC",
    "4.1": "FL FR FC LFE BC",
    "quad": "FL FR BL BR",
    "quad(side)": "FL FR SL SR",
    "5.0": "FL FR FC BL BR",
    "5.0(side)": "FL FR FC SL SR",
    "5.1": "FL FR FC LFE BL BR",
    "5.1(side)": "FL FR FC LFE SL SR",
    "6.0": "FL FR FC BC SL SR",
    "6.1": "FL FR FC LFE BC SL SR",
    "6.1(back)": "FL FR FC LFE BL BR BC",
    "hexagonal": "FL FR FC BL BR BC",
    "7.0": "FL FR FC BL BR SL SR",
    "7.0(front)": "FL FR FC FLC FRC SL SR",
    "7.1": "FL FR FC LFE BL BR SL SR",
    "7.1(wide)": "FL FR FC LFE BL BR FLC FRC",
    "7.1(wide-side)": "FL FR FC LFE FLC FRC SL SR",
    "octagonal": "FL FR FC BL BR BC SL SR",
}
"""The channels of a layout in the order in which they are stored."""

SURROUND = math.sqrt(0.5)
_LEFT, _RIGHT, _CENTRE = 0, 1, 2
_PLACES: dict[str, tuple[float, float, float]] = {  # weight on the left, on the right, in the centre
    "FL": (1.0, 0.0, 0.0),
    "FR": (0.0, 1.0, 0.0),
    "DL": (1.0, 0.0, 0.0),
    "DR": (0.0, 1.0, 0.0),
    "FLC": (1.0, 0.0, 0.0),
    "FRC": (0.0, 1.0, 0.0),
    "FC": (0.0, 0.0, 1.0),
    "BL": (SURROUND, 0.0, 0.0),
    "SL": (SURROUND, 0.0, 0.0),
    "BR": (0.0, SURROUND, 0.0),
    "SR": (0.0, SURROUND, 0.0),
    "BC": (0.5, 0.5, 0.0),
    "LFE": (0.0, 0.0, 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How the channels of a source become at most three signals.

    names: of the signals: one (``mono``), two (``left``, ``right``) or three (and ``centre``).
    weights_KC: float64, weight of every channel in every signal.
    is_known: whether the layout says where the channels belong.
    """

    names: tuple[str, ...]
    weights_KC: np.ndarray
    is_known: bool


def reduction(num_channels: int, layout_name: str) -> Reduction:
    """How ``num_channels`` channels in the layout called ``layout_name`` are reduced.

    One channel is mono and two are a pair whatever the name says. Where a name is unknown or belongs to another number
    of channels, the first, third, ... channel count as left and the others as right, each with the same weight.
    Raises ValueError for a number below one.
    """
    if num_channels < 1:
        raise ValueError(f"num_channels is {num_channels}; a sound has at least one channel")
    if num_channels == 1:
        return Reduction(names=("mono",), weights_KC=np.ones((1, 1)), is_known=True)
    if num_channels == 2:
        return Reduction(names=("left", "right"), weights_KC=np.eye(2), is_known=True)
    channels = LAYOUTS.get(layout_name, "").split()
    if len(channels) != num_channels:
        return Reduction(names=("left", "right"), weights_KC=_alternating(num_channels), is_known=False)
    weights_KC = np.array([_PLACES[channel] for channel in channels]).T
    if not weights_KC[_CENTRE].any():
        return Reduction(names=("left", "right"), weights_KC=weights_KC[:_CENTRE], is_known=True)
    return Reduction(names=("left", "right", "centre"), weights_KC=weights_KC, is_known=True)


def _alternating(num_channels: int) -> np.ndarray:
    weights_KC = np.zeros((2, num_channels))
    weights_KC[_LEFT, 0::2] = 1.0
    weights_KC[_RIGHT, 1::2] = 1.0
    return weights_KC
