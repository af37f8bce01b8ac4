"""Divide shots into segments of usable length, while their ends are still unknown."""

from __future__ import annotations

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


class SegmentPlanner:
    """Cuts one shot into segments of ``min_frames`` to ``max_frames`` as its frames come.

    As soon as so much of the shot is there that a further segment is certain, one of the greatest length is cut off.
    What is left at the end is divided evenly into as few segments as possible, so that nothing of a long shot is
    lost. Where no even division fits both bounds, segments of ``max_frames`` are taken from its start and the rest is
    rejected.
    """

    def __init__(self, start: int, *, min_frames: int = 125, max_frames: int = 250) -> None:
        if not 1 <= min_frames <= max_frames:
            raise BadInputError(f"segments of {min_frames} to {max_frames} frames are impossible")
        self._start, self._min, self._max = start, min_frames, max_frames

    def certain(self, stop: int) -> list[Segment]:
        """The segments that are certain once the shot is known to go on to ``stop`` at least."""
        kept = []
        while stop - self._start >= self._max + self._min:
            kept.append(Segment(self._start, self._start + self._max))
            self._start += self._max
        return kept

    def finish(self, stop: int) -> tuple[list[Segment], list[Segment]]:
        """The segments that are left where the shot ends at ``stop``, and what is too short to be one."""
        kept = self.certain(stop)
        start, length = self._start, stop - self._start
        self._start = stop
        if length <= 0:
            return kept, []
        pieces = -(-length // self._max)
        if length >= pieces * self._min:
            edges = [start + length * i // pieces for i in range(pieces + 1)]
            return kept + [Segment(a, b) for a, b in pairwise(edges)], []
        rest = start + (pieces - 1) * self._max
        kept += [Segment(a, a + self._max) for a in range(start, rest, self._max)]
        return kept, [Segment(rest, stop)]
