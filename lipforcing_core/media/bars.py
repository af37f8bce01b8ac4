"""Bars around a picture: bands of one colour along its borders that stay as they are, as letterboxing leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lipforcing_core.media.picture import Box, View

LEVELS = 10
"""Pixels of a bar differ by at most so much from its colour, in each of red, green and blue."""
SAME_COLOUR = 6
"""The colour of one bar differs by at most so much from picture to picture."""
FIRST_LINES, COLOUR_SAMPLES = 4, 64


@dataclass(frozen=True)
class Margins:
    """The bands of one colour along the borders of a picture.

    inner_xyxy: what they leave free, left, top, right, bottom in pixels. colours_43: the RGB colours of the borders in
    the same order. size: width and height of the whole picture.
    """

    inner_xyxy: tuple[int, int, int, int]
    colours_43: np.ndarray
    size: tuple[int, int]


def margins(view: View, size: tuple[int, int]) -> Margins:
    """The bands of one colour along the borders of a picture of this width and height, straight across all of it.

    Of a view that shows a part of the picture they are those along the borders of the part. It costs next to nothing
    where there are none.
    """
    rgb_HW3, (x, y), _ = view
    height, width = rgb_HW3.shape[:2]
    bands = [_band(rgb_HW3, axis, from_end=end) for end in (False, True) for axis in (1, 0)]
    left, top, right, bottom = (depth for depth, _ in bands)
    return Margins(
        inner_xyxy=(
            x + left if left else 0,
            y + top if top else 0,
            x + width - right if right else size[0],
            y + height - bottom if bottom else size[1],
        ),
        colours_43=np.stack([colour_3 for _, colour_3 in bands]),
        size=size,
    )


def within_bars(seen: Sequence[Margins]) -> Box | None:
    """What the bars of pictures of one size leave free: left, top, right, bottom in pixels; None where there is no bar.

    A bar is there in every picture, in the same colour; where its depth differs, the least one counts. Pictures that
    are all of one colour show none.
    """
    if not seen:
        return None
    colours_N43 = np.stack([margin.colours_43 for margin in seen])
    steady_4 = (np.ptp(colours_N43, axis=0) <= SAME_COLOUR).all(axis=1)
    inner_N4 = np.array([margin.inner_xyxy for margin in seen])
    whole_4 = np.array([0, 0, *seen[0].size])
    widest_4 = np.concatenate([inner_N4[:, :2].min(axis=0), inner_N4[:, 2:].max(axis=0)])
    left, top, right, bottom = np.where(steady_4, widest_4, whole_4).tolist()
    if left >= right or top >= bottom or (left, top, right, bottom) == (0, 0, *seen[0].size):
        return None
    return left, top, right, bottom


def _band(rgb_HW3: np.ndarray, axis: int, *, from_end: bool) -> tuple[int, np.ndarray]:
    """How many of the first lines have the colour of the first one all along, and that colour.

    The lines are rows, from the top down, or columns (``axis`` 1), from left to right, or else the other way round.
    """
    total = rgb_HW3.shape[axis]
    edge_L3 = rgb_HW3.take(total - 1 if from_end else 0, axis=axis)
    colour_3 = np.median(edge_L3[:: max(1, len(edge_L3) // COLOUR_SAMPLES)], axis=0)
    low, high = np.ceil(colour_3 - LEVELS), np.floor(colour_3 + LEVELS)
    depth, step = 0, FIRST_LINES
    while depth < total:
        stop = min(depth + step, total)
        part = slice(total - stop, total - depth) if from_end else slice(depth, stop)
        within_HW = cv2.inRange(rgb_HW3[:, part] if axis else rgb_HW3[part], low, high)
        alike_N = (within_HW.min(axis=1 - axis) > 0)[:: -1 if from_end else 1]
        if not alike_N.all():
            return depth + int(np.argmin(alike_N)), colour_3
        depth, step = stop, 2 * step
    return depth, colour_3
