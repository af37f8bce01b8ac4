"""Bars around a picture: bands of one colour along its borders that stay as they are, as letterboxing leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.media.picture import Box, View

LEVELS = 10
"""Pixels of a bar differ by at most so much from its colour, in each of red, green and blue."""
SAME_COLOUR = 6
"""The colour of one bar differs by at most so much from picture to picture."""
FIRST_LINES = 4


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
    by_row_HW3, (x, y), _ = view
    by_column_WH3 = by_row_HW3.transpose(1, 0, 2)
    bands = [_band(lines) for lines in (by_column_WH3, by_row_HW3, by_column_WH3[::-1], by_row_HW3[::-1])]
    left, top, right, bottom = (depth for depth, _ in bands)
    height, width = by_row_HW3.shape[:2]
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


def _band(lines_NL3: np.ndarray) -> tuple[int, np.ndarray]:
    """How many of the first lines have the colour of the first one all along, and that colour."""
    colour_3 = np.median(lines_NL3[0], axis=0)
    depth, step = 0, FIRST_LINES
    while depth < len(lines_NL3):
        some_NL3 = lines_NL3[depth : depth + step].astype(np.int16)
        alike_N = (np.abs(some_NL3 - colour_3) <= LEVELS).all(axis=(1, 2))
        if not alike_N.all():
            return depth + int(np.argmin(alike_N)), colour_3
        depth, step = depth + len(some_NL3), 2 * step
    return depth, colour_3
