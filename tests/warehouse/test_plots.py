"""What the plots of the report show: their lines, scales and words, read from the figures before they become SVG."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from warehouse.report import plots
from warehouse.report.data import Series

INK, MUTED, LINE, FIRST = "#010203", "#010204", "#010205", "#010206"

Drawn = tuple[Figure, str, str]


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn]:
    """Call a plot, and get its figure, its name and its description."""

    def call(plot: Callable[..., Any], *args: object) -> Drawn:
        monkeypatch.setattr(plots, "_svg", lambda figure, name, words: (figure, name, words))
        found: Drawn = plot(*args)
        return found

    return call


def lines(figure: Figure) -> list[tuple[Any, ...]]:
    """Every line: places, values, colour, width, opacity, marker, size of the marker."""
    return [
        (
            list(line.get_xdata()),
            list(line.get_ydata()),
            line.get_color(),
            line.get_linewidth() if line.get_marker() == "None" or len(line.get_xdata()) > 1 else None,
            line.get_alpha(),
            line.get_marker(),
            line.get_markersize() if line.get_marker() != "None" else None,
        )
        for line in figure.axes[0].lines
    ]


def series(values: list[float], smoothed: list[float] | None = None) -> Series:
    steps = list(range(1, len(values) + 1))
    return Series(stage="pre train", name="loss", steps=steps, values=values, smoothed=smoothed or values)


def test_a_training_curve_is_faint_where_raw_and_strong_where_smoothed(draw: Callable[..., Drawn]) -> None:
    figure, name, words = draw(plots.training_curve, series([0.1, 6.0, 2.0], [0.1, 3.0, 2.7]))
    assert lines(figure) == [
        ([1, 2, 3], [0.1, 6.0, 2.0], FIRST, 0.8, 0.3, "None", None),
        ([1, 2, 3], [0.1, 3.0, 2.7], FIRST, 1.8, None, "None", None),
    ]
    assert (name, words) == ("curve-pre train-loss", "loss over steps of pre train")
    assert figure.get_size_inches().tolist() == [3.4, 2.0]
    assert figure.axes[0].get_xlabel() == "step"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.1, 6.0], "log"),
        ([1.0, 50.5], "log"),
        ([1.0, 50.0], "linear"),
        ([0.0, 100.0], "linear"),
        ([-1.0, 100.0], "linear"),
        ([-100.0, -1.0], "linear"),
        ([1.0, 2.0], "linear"),
    ],
)
def test_a_curve_over_more_than_fifty_times_its_least_value_is_logarithmic(
    values: list[float], scale: str, draw: Callable[..., Drawn]
) -> None:
    figure, _, _ = draw(plots.training_curve, series(values))
    assert figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize(
    ("num_steps", "num_points", "second"), [(400, 400, 2), (401, 201, 3), (800, 400, 3), (801, 267, 4)]
)
def test_a_long_curve_is_thinned_to_four_hundred_points(
    num_steps: int, num_points: int, second: int, draw: Callable[..., Drawn]
) -> None:
    figure, _, _ = draw(plots.training_curve, series([float(step) for step in range(num_steps)]))
    for line in figure.axes[0].lines:
        assert len(line.get_xdata()) == len(line.get_ydata()) == num_points
        assert line.get_xdata()[1] == second


def test_a_curve_of_one_step_is_a_point_and_others_fill_the_width(draw: Callable[..., Drawn]) -> None:
    figure, _, _ = draw(plots.training_curve, series([2.0]))
    assert [line.get_marker() for line in figure.axes[0].lines] == ["None", "o"]
    figure, _, _ = draw(plots.training_curve, series([1.0] * 101))
    assert figure.axes[0].get_xlim() == pytest.approx((0.0, 102.0)), "one percent of the range at either side"


def score(system: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {
        "system": system,
        "label": system.upper(),
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "metric_label": "Sync-C",
        "unit": None,
    }


def test_scores_stand_above_each_other_with_their_intervals(draw: Callable[..., Drawn]) -> None:
    rows = [score("best", 5.0, 4.0, 6.5), score("ours", 3.0, 2.5, 3.5), score("half", 2.0, None, 3.0)]
    figure, name, words = draw(plots.interval_plot, rows, "ours", "interval-0")
    axes = figure.axes[0]
    assert lines(figure) == [
        ([2.0], [0], MUTED, None, None, "o", 6),
        ([2.5, 3.5], [1, 1], FIRST, 2.4, 0.6, "None", None),
        ([3.0], [1], FIRST, None, None, "o", 6),
        ([4.0, 6.5], [2, 2], MUTED, 2.4, 0.6, "None", None),
        ([5.0], [2], MUTED, None, None, "o", 6),
    ]
    assert axes.get_yticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["HALF", "OURS", "BEST"]
    assert axes.get_ylim() == pytest.approx((-0.6, 2.6))
    assert figure.get_size_inches().tolist() == pytest.approx([4.4, 1.57])
    assert axes.get_xlabel() == "Sync-C"
    assert (name, words) == ("interval-0", "Sync-C by system with 95 percent intervals")
    assert [line.get_visible() for line in axes.xaxis.get_gridlines()[:1]] == [True]
    assert [line.get_visible() for line in axes.yaxis.get_gridlines()[:1]] == [False]
    assert not axes.spines["left"].get_visible()
    assert (axes.yaxis.get_tick_params()["length"], axes.xaxis.get_tick_params()["length"]) == (0, 3)


def test_a_unit_stands_behind_the_metric(draw: Callable[..., Drawn]) -> None:
    (row,) = [score("ours", 3.0, 2.0, None) | {"unit": "frames/s"}]
    figure, _, _ = draw(plots.interval_plot, [row], "other", "x")
    assert figure.axes[0].get_xlabel() == "Sync-C (frames/s)"
    assert len(figure.axes[0].lines) == 1, "half an interval is none"


def point(
    label: str, fps: float, quality: float, *, best: bool = False, higher: bool = True
) -> dict[str, Any]:
    return {
        "label": label,
        "fps": fps,
        "quality": quality,
        "on_frontier": best,
        "higher_is_better": higher,
    }


def test_speed_stands_against_quality_and_the_unbeaten_are_joined(draw: Callable[..., Drawn]) -> None:
    points = [point("b", 100.0, 0.0, best=True), point("c", 10.0, 5.0), point("a", 1.0, 10.0, best=True)]
    figure, name, words = draw(plots.speed_quality, points, "SSIM", "speed-x")
    axes = figure.axes[0]
    line, frontier, *dots = lines(figure)
    assert line[:4] == ([25, 25], [0, 1], MUTED, 0.9)
    assert (frontier[0], frontier[1], frontier[2], frontier[4]) == ([1.0, 100.0], [10.0, 0.0], FIRST, 0.45)
    assert dots == [
        ([100.0], [0.0], FIRST, None, None, "o", 6),
        ([10.0], [5.0], MUTED, None, None, "o", 6),
        ([1.0], [10.0], FIRST, None, None, "o", 6),
    ]
    assert figure.get_size_inches().tolist() == [4.8, 3.4]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((10**-0.32, 10**2.32)), "16 percent of two decades at either side"
    assert axes.get_ylim() == pytest.approx((-1.4, 11.4))
    assert axes.get_xlabel() == "frames per second, log scale (dashed: real time)"
    assert axes.get_ylabel() == "SSIM (higher is better)"
    assert axes.get_xticks().tolist() == [1, 10, 100]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]
    assert (name, words) == ("speed-x", "Speed against SSIM for 3 systems")
    assert [text.get_text() for text in axes.texts] == ["b", "c", "a"]
    assert axes.get_position().x0 != Figure().add_subplot().get_position().x0, (
        "labels are set after the layout"
    )


def test_where_less_is_better_the_axis_points_down(draw: Callable[..., Drawn]) -> None:
    figure, _, _ = draw(plots.speed_quality, [point("a", 20.0, 3.0, higher=False)], "FID", "x")
    axes = figure.axes[0]
    assert axes.get_ylabel() == "FID (lower is better)"
    low, high = axes.get_ylim()
    assert low > high


@pytest.mark.parametrize(
    ("fastest", "ticks"),
    [
        (50.0, [5, 10, 20, 50]),
        (5 * 200.5 ** (1 / 1.32), [10, 100]),
        (5 * 199.5 ** (1 / 1.32), [5, 10, 20, 50, 100, 200, 500]),
    ],
)
def test_a_short_range_has_ticks_between_the_powers_of_ten(
    fastest: float, ticks: list[float], draw: Callable[..., Drawn]
) -> None:
    """The range with its margins is the range of the points to the power of 1.32."""
    points = [point("a", 5.0, 1.0), point("b", fastest, 2.0)]
    figure, _, _ = draw(plots.speed_quality, points, "SSIM", "x")
    assert figure.axes[0].get_xticks().tolist() == ticks
    assert {label.get_text() for label in figure.axes[0].get_xticklabels(minor=True)} <= {""}


def test_ticks_go_from_a_thousandth_to_a_hundred_thousand(draw: Callable[..., Drawn]) -> None:
    points = [point("a", 0.001, 1.0), point("b", 100_000.0, 2.0)]
    figure, _, _ = draw(plots.speed_quality, points, "SSIM", "x")
    assert figure.axes[0].get_xticks() == pytest.approx([0.001, 0.01, 0.1, 1, 10, 100, 1000, 10_000, 100_000])


def test_ticks_within_a_decade_are_labelled_once(draw: Callable[..., Drawn]) -> None:
    points = [point("a", 20.0, 1.0), point("b", 40.0, 2.0)]
    figure, _, _ = draw(plots.speed_quality, points, "SSIM", "x")
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["20"]
    assert {label.get_text() for label in figure.axes[0].get_xticklabels(minor=True)} <= {""}


def test_every_plot_leaves_the_page_its_colours() -> None:
    figure, axes = plots._canvas(3.0, 2.0)
    axes.plot([1, 2], [3, 4])
    assert figure.get_size_inches().tolist() == [3.0, 2.0]
    assert figure.dpi == 72
    assert isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
    assert (figure.patch.get_alpha(), axes.patch.get_alpha()) == (0, 0)
    assert axes.get_axisbelow() is True
    assert {side: spine.get_visible() for side, spine in axes.spines.items()} == {
        "left": True,
        "bottom": True,
        "top": False,
        "right": False,
    }
    assert {to_hex(axes.spines[side].get_edgecolor()) for side in ("left", "bottom")} == {LINE}
    for axis in (axes.xaxis, axes.yaxis):
        (grid, *_) = axis.get_gridlines()
        assert (grid.get_visible(), grid.get_color(), grid.get_linewidth()) == (True, LINE, 0.7)
        assert (axis.label.get_color(), axis.label.get_fontsize()) == (MUTED, 9)
        for which in ("major", "minor"):
            set_to = axis.get_tick_params(which=which)
            assert [set_to[name] for name in ("color", "labelcolor", "labelsize", "length")] == [
                MUTED,
                INK,
                9,
                3,
            ]


def test_the_dashes_of_real_time_are_as_long_as_their_gaps() -> None:
    svg = plots.speed_quality([point("a", 20.0, 3.0)], "SSIM", "x")
    (dashes,) = re.findall(r"stroke-dasharray: ([^;]+); stroke-dashoffset: ([^;]+);", svg)
    assert dashes == ("2.7,2.7", "0"), "three times the width of 0.9"


def test_an_element_has_ids_of_its_own_and_words_for_those_who_cannot_see_it() -> None:
    figure, axes = plots._canvas(2.0, 2.0)
    axes.plot([1, 2], [3, 4], "o", color=FIRST)
    axes.set_xlabel("one & two", color=MUTED)
    svg = plots._svg(figure, "Speed of A/b", 'a & "b" <c')
    assert svg.startswith('<svg role="img" aria-label="a and \'b\'  c" viewBox="0 0 144 144"')
    assert svg.rstrip().endswith("</svg>")
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("speed-of-a-b-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(ids)
    assert "xlink" not in svg
    assert "xmlns" not in svg
    assert "metadata" not in svg
    assert "one &amp; two</text>" in svg, "letters are text and no outlines"
    assert "var(--series-1)" in svg
    assert "var(--muted)" in svg
    assert not re.search("#01020[3-6]", svg)
