"""Histograms and score strips as inline SVG: plain shapes without text, so that they read at any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 24
WIDTH, HEIGHT = 240, 64


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between ``low`` and ``high``, in bins of equal width; the last one holds ``high`` too."""

    low: float
    high: float
    accepted: tuple[int, ...]
    rejected: tuple[int, ...]
    limits: tuple[float, ...] = ()

    @property
    def tallest(self) -> int:
        """The largest count of a bin."""
        return max(a + r for a, r in zip(self.accepted, self.rejected, strict=True))


def histogram(
    accepted: Sequence[float],
    rejected: Sequence[float],
    limits: Sequence[float] = (),
    bins: int = BINS,
    ends: tuple[float, float] | None = None,
) -> Histogram | None:
    """Count the values of accepted and rejected pieces over a range that holds the limits too; None without values.

    ends: a range of one's own, in which all values lie.
    """
    values = [*accepted, *rejected]
    if not values:
        return None
    low, high = ends or (min(*values, *limits, math.inf), max(*values, *limits, -math.inf))
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = [[0] * bins, [0] * bins]
    for kind, group in enumerate((accepted, rejected)):
        for value in group:
            counts[kind][min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return Histogram(
        low=low, high=high, accepted=tuple(counts[0]), rejected=tuple(counts[1]), limits=tuple(limits)
    )


def histogram_svg(shape: Histogram) -> str:
    """Bars of accepted pieces below those of rejected ones, and the limits as lines; classes give the colours."""
    step = WIDTH / len(shape.accepted)
    bars = []
    for k, (good, bad) in enumerate(zip(shape.accepted, shape.rejected, strict=True)):
        below = HEIGHT * good / shape.tallest
        above = HEIGHT * bad / shape.tallest
        if good:
            bars.append(_bar("in", k * step, HEIGHT - below, step, below))
        if bad:
            bars.append(_bar("out", k * step, HEIGHT - below - above, step, above))
    lines = [_line(_place(limit, shape.low, shape.high), HEIGHT) for limit in shape.limits]
    return _svg(HEIGHT, "".join(bars + lines))


def strip_svg(value: float, limits: Sequence[float], low: float, high: float) -> str:
    """A value as a mark on the range of a score, and the limits as lines."""
    rail = f'<rect class="rail" x="0" y="7" width="{WIDTH}" height="2"/>'
    lines = "".join(_line(_place(limit, low, high), 16) for limit in limits)
    mark = f'<rect class="mark" x="{_place(value, low, high) - 3:.2f}" y="3" width="6" height="10"/>'
    return _svg(16, rail + lines + mark)


def _place(value: float, low: float, high: float) -> float:
    """Where a value lies, in the units of the drawing, kept inside it."""
    share = 0.5 if high <= low else (value - low) / (high - low)
    return WIDTH * min(max(share, 0.0), 1.0)


def _bar(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width - 1:.2f}" height="{height:.2f}"/>'


def _line(x: float, height: int) -> str:
    return f'<line class="limit" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{height}"/>'


def _svg(height: int, shapes: str) -> str:
    box = f"-5 0 {WIDTH + 10} {height}"
    return f'<svg viewBox="{box}" preserveAspectRatio="none" role="img" aria-hidden="true">{shapes}</svg>'
