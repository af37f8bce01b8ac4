"""Divide shots into segments of usable length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import seconds


@dataclass(frozen=True, order=True)
class Segment:
    """Frames ``start`` to ``stop`` (exclusive) of a 25 fps video."""

    start: int
    stop: int

    @property
    def num_frames(self) -> int:
        return self.stop - self.start

    @property
    def seconds(self) -> Fraction:
        return seconds(self.num_frames)


def plan_segments(
    shots: Iterable[tuple[int, int]], *, min_frames: int = 125, max_frames: int = 250
) -> tuple[list[Segment], list[Segment]]:
    """Cut each shot into segments of ``min_frames`` to ``max_frames``; return them and the rejected rest.

    A shot that is long enough is divided evenly into as few segments as possible, so nothing of it is lost.
    Where no even division fits both bounds, segments of ``max_frames`` are taken from its start and the rest
    is rejected. Every frame of every shot is in exactly one returned segment.
    """
    if not 1 <= min_frames <= max_frames:
        raise BadInputError(f"segments of {min_frames} to {max_frames} frames are impossible")
    kept: list[Segment] = []
    rejected: list[Segment] = []
    for start, stop in shots:
        if stop < start or start < 0:
            raise BadInputError(f"a shot cannot go from frame {start} to frame {stop}")
        length = stop - start
        if length == 0:
            continue
        pieces = -(-length // max_frames)
        if length >= pieces * min_frames:
            edges = [start + length * i // pieces for i in range(pieces + 1)]
            kept += [Segment(a, b) for a, b in pairwise(edges)]
            continue
        rest = start + (pieces - 1) * max_frames
        kept += [Segment(a, a + max_frames) for a in range(start, rest, max_frames)]
        rejected.append(Segment(rest, stop))
    return kept, rejected
