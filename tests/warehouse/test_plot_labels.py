"""Where the labels of a plot stand: beside their points, on the first side where they cover nothing."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure

from warehouse.report import plots

from .test_plots import INK, point

WIDTH = 0.62 * 8 * 10
"""Of a label of ten letters, in points."""

SIDES = [
    ((7, 0), "left"),
    ((-7, 0), "right"),
    ((0, 12.5), "center"),
    ((0, -12.5), "center"),
    ((7, 12.5), "left"),
    ((7, -12.5), "left"),
    ((-7, 12.5), "right"),
    ((-7, -12.5), "right"),
]
"""Where a label may stand, seen from its point, in the order in which places are tried."""

IN_THE_WAY = [(50, 0), (-50, 0), (0, 12), (0, -12), (50, 12), (50, -12), (-50, 12), (-50, -12)]
"""A point there covers the place of the same number and no other."""


def placed(*spots: tuple[float, float], label: str = "abcdefghij", dpi: int = 72, line: float = -75.0) -> Any:
    """The label of the first spot among points without labels, on 720 x 720 pixels; ``line``: real time."""
    figure = Figure(figsize=(720 / dpi, 720 / dpi), dpi=dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(25 - line, 745 - line)
    axes.set_ylim(0, 720)
    names = [label, *[""] * (len(spots) - 1)]
    points = [point(name, x + 25 - line, y) for name, (x, y) in zip(names, spots, strict=True)]
    plots._place_labels(figure, axes, points)
    assert len(axes.texts) == len(points)
    return axes.texts[0]


def side_of(text: Any) -> tuple[Any, str]:
    return pytest.approx(text.xyann, abs=1e-6), text.get_ha()


@pytest.mark.parametrize("side", range(8))
def test_a_label_takes_the_first_place_that_is_free(side: int) -> None:
    others = [(400 + x, 400 + y) for x, y in IN_THE_WAY[:side]]
    text = placed((400, 400), *others)
    assert SIDES[side] == side_of(text)
    assert (text.get_text(), text.get_va(), text.get_fontsize(), text.get_color()) == (
        "abcdefghij",
        "center",
        8.0,
        INK,
    )
    assert text.anncoords == "offset points"
    assert text.xy == (500, 400)


def test_offsets_are_in_points_whatever_the_resolution() -> None:
    assert side_of(placed((400, 400), dpi=144)) == ((3.5, 0), "left")


RIGHT = 400 + 7 + WIDTH


@pytest.mark.parametrize(
    ("x", "y", "covers"),
    [
        (RIGHT + 4.5, 400, False),
        (RIGHT + 3.5, 400, True),
        (402.5, 400, False),
        (403.5, 400, True),
        (430, 410, False),
        (430, 409, True),
        (430, 390, False),
        (430, 391, True),
    ],
)
def test_a_point_is_eight_pixels_wide(x: float, y: float, covers: bool) -> None:
    assert SIDES[1 if covers else 0] == side_of(placed((400, 400), (x, y)))


@pytest.mark.parametrize(
    ("line", "others", "side"),
    [
        (RIGHT + 1.5, [], 0),
        (RIGHT + 0.5, [], 1),
        (405.5, [], 0),
        (406.5, [], 1),
        (400 - 7 - WIDTH - 1.5, [(450, 400)], 1),
        (400 - 7 - WIDTH - 0.5, [(450, 400)], 2),
    ],
)
def test_the_line_of_real_time_is_not_covered(
    line: float, others: list[tuple[float, float]], side: int
) -> None:
    assert SIDES[side] == side_of(placed((400, 400), *others, line=line))


@pytest.mark.parametrize(
    ("spot", "others", "side"),
    [
        ((720 - 7 - WIDTH - 0.5, 400), [], 0),
        ((720 - 7 - WIDTH + 0.5, 400), [], 1),
        ((40, 400), [(90, 400)], 2),
        ((7 + WIDTH + 0.5, 400), [(7 + WIDTH + 50, 400)], 1),
        ((400, 715), [], 3),
        ((400, 5), [], 2),
        ((400, 6), [], 0),
        ((400, 714), [], 0),
    ],
)
def test_a_label_stays_within_the_frame(
    spot: tuple[float, float], others: list[tuple[float, float]], side: int
) -> None:
    assert SIDES[side] == side_of(placed(spot, *others))


def test_a_label_that_fits_nowhere_covers_as_little_as_it_can() -> None:
    assert SIDES[0] == side_of(placed((360, 360), label="x" * 200))
    assert SIDES[4] == side_of(placed((360, 360), (400, 360), label="x" * 200)), "to the left is the line"


def test_labels_do_not_cover_each_other() -> None:
    figure = Figure(figsize=(10, 10), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(100, 820)
    axes.set_ylim(0, 720)
    plots._place_labels(figure, axes, [point("abcdefghij", 500, 400), point("abcdefghij", 500, 395)])
    assert SIDES[0] == side_of(axes.texts[0])
    assert SIDES[1] == side_of(axes.texts[1])


@pytest.mark.parametrize(
    ("other", "area"),
    [
        ((2, 1, 6, 3), 4.0),
        ((1, 1, 2, 2), 1.0),
        ((-1, -1, 5, 1), 4.0),
        ((4, 0, 8, 4), 0.0),
        ((5, 1, 6, 2), 0.0),
        ((1, 5, 2, 6), 0.0),
        ((5, 5, 6, 6), 0.0),
        ((-3, -4, -1, -2), 0.0),
    ],
)
def test_the_area_that_two_boxes_share(other: tuple[float, ...], area: float) -> None:
    assert plots._overlap((0, 0, 4, 4), other) == plots._overlap(other, (0, 0, 4, 4)) == area
