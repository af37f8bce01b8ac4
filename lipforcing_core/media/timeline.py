"""One time line of 25 frames a second from the time stamps of a file, whatever they are.

Time stamps repeat, leave holes, jump back where two recordings were joined, or jump forward by hours where one byte of
a header is wrong. A picture is shown from its own time on until the next one comes. What is invented to fill a hole is
marked, and so is every place at which the picture after does not continue the picture before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

from lipforcing_core.media.clock import FPS

T = TypeVar("T")

MAX_OVERLAP_S = Fraction(1, 2)
"""A time stamp that lies further back than this before the end of what came before belongs to another recording."""
MAX_GAP_S = Fraction(10)
"""So does one that lies further ahead than this (ffmpeg takes the same limit for transport streams), unless another
stream has come there too."""
MAX_CORRECTIONS = 16
"""The streams of a file jump at about the same place, so only so many of the latest corrections are compared."""
MAX_HOLE_FRAMES = 12
"""A hole that is filled with more repeated frames than this, half a second, stands apart from what is around it."""


@dataclass(frozen=True, kw_only=True)
class GapLimits:
    """Which holes in the time stamps of a source are holes, and which of them are filled within a shot.

    max_hole_frames: more repeated frames than this stand apart from what is around them. max_gap_s: what lies further
    ahead than this belongs to another recording, unless another stream has come there too.
    """

    max_hole_frames: int = MAX_HOLE_FRAMES
    max_gap_s: Fraction = MAX_GAP_S


USUAL_GAPS = GapLimits()


@dataclass
class Jumps:
    """Jumps of time stamps that the streams of one file make together.

    Where two recordings were joined, sound and picture jump by about the same amount, and the same correction keeps
    them in step. A stream that jumps alone, through a wrong header, is corrected alone.
    """

    max_gap_s: Fraction = MAX_GAP_S
    _corrections: list[tuple[str, Fraction]] = field(default_factory=list)
    _ends_s: dict[str, Fraction] = field(default_factory=dict)

    def reached(self, stream: str, end_s: Fraction) -> None:
        """Note how far a stream has come on the time line."""
        self._ends_s[stream] = end_s

    def is_hole(self, stream: str, placed_s: Fraction) -> bool:
        """Whether another stream has come near this time: what lies ahead of one alone is a hole in it, no jump."""
        others = (end_s for other, end_s in self._ends_s.items() if other != stream)
        return max(others, default=-self.max_gap_s) >= placed_s - self.max_gap_s

    def agree(self, stream: str, correction_s: Fraction) -> Fraction:
        """The correction for a jump of ``stream``: that of another stream's jump, if it is nearly the same."""
        for position, (other, theirs) in enumerate(self._corrections):
            if other != stream and abs(theirs - correction_s) <= MAX_OVERLAP_S:
                del self._corrections[position]
                return theirs
        self._corrections = [*self._corrections[1 - MAX_CORRECTIONS :], (stream, correction_s)]
        return correction_s


class StreamClock:
    """Time stamps of one stream, corrected so that they go on after every jump."""

    def __init__(self, stream: str, jumps: Jumps, *, zero_s: Fraction = Fraction(0)) -> None:
        self._stream, self._jumps = stream, jumps
        self._correction_s = -zero_s
        self._end_s: Fraction | None = None

    def place(self, time_s: Fraction, duration_s: Fraction) -> tuple[Fraction, bool]:
        """Where something of a length that is stamped ``time_s`` goes on the time line, and whether it jumped there.

        The first one is due at 0 and jumps ahead as any other does: a stream that begins by itself hours later has a
        wrong header.
        """
        placed_s = time_s + self._correction_s
        end_s = self._end_s or Fraction(0)
        is_ahead = placed_s > end_s + self._jumps.max_gap_s and not self._jumps.is_hole(
            self._stream, placed_s
        )
        is_back = self._end_s is not None and placed_s < end_s - MAX_OVERLAP_S
        jumped = is_ahead or is_back
        if jumped:
            correction_s = self._jumps.agree(self._stream, end_s - placed_s)
            self._correction_s += correction_s
            placed_s += correction_s
        self._end_s = placed_s + duration_s
        self._jumps.reached(self._stream, self._end_s)
        return placed_s, jumped


@dataclass(frozen=True, kw_only=True)
class Placed(Generic[T]):
    """What is shown at one index of the time line.

    invented: it repeats the picture before, or the first one ahead of its time, since the source has none of its own
    for this index. breaks: it does not continue the picture before.
    """

    index: int
    shown: T
    invented: bool = False
    breaks: bool = False


class Timeline(Generic[T]):
    """Puts pictures with exact times onto the grid of 25 frames a second, in order.

    A picture goes to the index nearest to its time (halves upwards); of several for one index the last is shown, as
    ffmpeg's filter ``fps`` does it.
    """

    def __init__(self, max_hole_frames: int = MAX_HOLE_FRAMES) -> None:
        self._max_hole_frames = max_hole_frames
        self._waiting: Placed[T] | None = None
        self._broken = False
        self.num_dropped = 0

    def add(self, shown: T, time_s: Fraction, *, breaks: bool = False) -> Iterator[Placed[T]]:
        """Place one picture; gives what is certain now: all indices before the new picture's."""
        index = max(math.floor(time_s * FPS + Fraction(1, 2)), 0)
        waiting = self._waiting
        if waiting is None:
            yield from (Placed(index=i, shown=shown, invented=True) for i in range(index))
            self._waiting = Placed(index=index, shown=shown, breaks=index > self._max_hole_frames)
        elif index > waiting.index:
            hole = index - waiting.index - 1
            yield from self._held(waiting, index)
            breaks = breaks or self._broken or hole > self._max_hole_frames
            self._broken = False
            self._waiting = Placed(index=index, shown=shown, breaks=breaks)
        else:
            self.num_dropped += 1
            if index == waiting.index:
                self._waiting = Placed(index=index, shown=shown, breaks=breaks or waiting.breaks)
            else:  # the next picture that is shown does not continue the one before either
                self._broken = self._broken or breaks

    def finish(self, end_s: Fraction) -> Iterator[Placed[T]]:
        """Give the last picture, which is shown until ``end_s``, but for no longer than a hole that is filled."""
        if self._waiting is None:
            return
        end = math.floor(end_s * FPS + Fraction(1, 2))
        latest = self._waiting.index + 1 + self._max_hole_frames
        yield from self._held(self._waiting, max(self._waiting.index + 1, min(end, latest)))
        self._waiting = None

    def _held(self, waiting: Placed[T], stop: int) -> Iterator[Placed[T]]:
        """A picture at its index, and repeated up to ``stop``."""
        yield waiting
        apart = stop - waiting.index - 1 > self._max_hole_frames
        for index in range(waiting.index + 1, stop):
            first = index == waiting.index + 1
            yield Placed(index=index, shown=waiting.shown, invented=True, breaks=apart and first)
