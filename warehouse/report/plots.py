"""Plots of the report as inline SVG: themed by the page's CSS, small enough to read on a phone."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipforcing_core.media.clock import FPS
from warehouse.report.data import Row, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours nobody would choose, exchanged for CSS variables after drawing, so that a plot follows the theme.
_THEME = {
    "#010203": "var(--ink)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--series-1)",
}
_INK, _MUTED, _LINE, _FIRST = _THEME

_MAX_POINTS = 400
_REAL_TIME_FPS = float(FPS)


def training_curve(series: Series) -> str:
    """One curve: the raw values faint, their running mean strong."""
    figure, axes = _canvas(3.4, 2.0)
    stride = math.ceil(len(series.steps) / _MAX_POINTS)
    steps, raw, smooth = (list(v)[::stride] for v in (series.steps, series.values, series.smoothed))
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, raw, color=_FIRST, alpha=0.3, linewidth=0.8)
    axes.plot(steps, smooth, color=_FIRST, linewidth=1.8, marker=marker)
    if min(raw) > 0 and max(raw) / min(raw) > 50:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.margins(x=0.01)
    return _svg(figure, f"curve-{series.stage}-{series.name}", f"{series.name} over steps of {series.stage}")


def interval_plot(rows: Sequence[Row], highlighted: str, name: str) -> str:
    """Scores of several systems on one metric and backend, one line each, with their intervals."""
    figure, axes = _canvas(4.4, 0.55 + 0.34 * len(rows))
    for place, row in enumerate(reversed(rows)):
        color = _FIRST if row["system"] == highlighted else _MUTED
        if row["ci_low"] is not None and row["ci_high"] is not None:
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=color, linewidth=2.4, alpha=0.6)
        axes.plot([row["value"]], [place], "o", color=color, markersize=6)
    axes.set_yticks(range(len(rows)), [row["label"] for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    label = rows[0]["metric_label"]
    axes.set_xlabel(label + (f" ({rows[0]['unit']})" if rows[0]["unit"] else ""))
    return _svg(figure, name, f"{label} by system with 95 percent intervals")


def speed_quality(points: Sequence[Row], metric_label: str, name: str) -> str:
    """Frames per second against one quality metric; points nobody beats in both are joined."""
    figure, axes = _canvas(4.8, 3.4)
    axes.set_xscale("log")
    axes.axvline(_REAL_TIME_FPS, color=_MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    frontier = sorted((p for p in points if p["on_frontier"]), key=lambda p: (p["fps"], p["quality"]))
    axes.plot([p["fps"] for p in frontier], [p["quality"] for p in frontier], color=_FIRST, alpha=0.45)
    for point in points:
        color = _FIRST if point["on_frontier"] else _MUTED
        axes.plot([point["fps"]], [point["quality"]], "o", color=color, markersize=6)
    axes.set_xlabel("frames per second, log scale (dashed: real time)")
    higher = bool(points and points[0]["higher_is_better"])
    axes.set_ylabel(f"{metric_label} ({'higher' if higher else 'lower'} is better)")
    if not higher:
        axes.invert_yaxis()
    axes.margins(x=0.16, y=0.14)
    low, high = axes.get_xlim()
    subdivisions = (1, 2, 5) if high / low < 200 else (1,)
    axes.set_xticks(
        [v for v in (m * 10.0**e for e in range(-3, 6) for m in subdivisions) if low <= v <= high]
    )
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    _place_labels(figure, axes, points)
    return _svg(figure, name, f"Speed against {metric_label} for {len(points)} systems")


def _place_labels(figure: Figure, axes: Axes, points: Sequence[Row]) -> None:
    """Write each label beside its point, on the first side where it covers nothing."""
    figure.draw_without_rendering()
    size, height, gap = 8.0, 11.0, 7.0
    frame = axes.get_window_extent()
    spots = [tuple(axes.transData.transform((p["fps"], p["quality"]))) for p in points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in spots]
    line = axes.transData.transform((_REAL_TIME_FPS, 1.0))[0]
    taken.append((line - 1, frame.y0, line + 1, frame.y1))
    for point, (x, y) in zip(points, spots, strict=True):
        width = 0.62 * size * len(point["label"])
        sides = [
            (x + gap, y - height / 2, "left"),
            (x - gap - width, y - height / 2, "right"),
            (x - width / 2, y + gap, "center"),
            (x - width / 2, y - gap - height, "center"),
            (x + gap, y + gap, "left"),
            (x + gap, y - gap - height, "left"),
            (x - gap - width, y + gap, "right"),
            (x - gap - width, y - gap - height, "right"),
        ]
        boxes = [((left, low, left + width, low + height), side) for left, low, side in sides]
        inside = [
            (b, s)
            for b, s in boxes
            if b[0] > frame.x0 and b[2] < frame.x1 and b[1] > frame.y0 and b[3] < frame.y1
        ]
        box, side = min(inside or boxes, key=lambda item: sum(_overlap(item[0], other) for other in taken))
        taken.append(box)
        anchor = {"left": box[0], "right": box[2], "center": (box[0] + box[2]) / 2}[side]
        offset = ((anchor - x) * 72 / figure.dpi, (box[1] + height / 2 - y) * 72 / figure.dpi)
        axes.annotate(
            point["label"],
            (point["fps"], point["quality"]),
            xytext=offset,
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=size,
            color=_INK,
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _canvas(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=72, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.grid(color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(colors=_MUTED, labelcolor=_INK, labelsize=9, length=3, which="both")
    axes.xaxis.label.set(color=_MUTED, fontsize=9)
    axes.yaxis.label.set(color=_MUTED, fontsize=9)
    return figure, axes


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element with its own ids, an accessible name, no metadata, and the page's colours."""
    from matplotlib import rc_context

    name = re.sub(r"[^a-z0-9]+", "-", name.lower())
    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text).replace("url(#", f"url(#{name}-")
    for color, variable in _THEME.items():
        text = text.replace(color, variable)
    label = description.replace("&", "and").replace('"', "'").replace("<", " ")
    return re.sub(r"<svg[^>]*viewBox", f'<svg role="img" aria-label="{label}" viewBox', text, count=1)
