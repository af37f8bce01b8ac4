"""Seconds of the stages of a curation, taken from outside: the functions of the stages are wrapped while they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NamedTuple
from unittest.mock import patch

from lipforcing_core.curation import crops, pipeline, reading, steps
from lipforcing_core.faces.follow import FaceFollower
from lipforcing_core.media import shots
from lipforcing_core.media.source_stream import SourceStream

DECODE = "decode"
CLIP_DECODE = "clip decode"
SOUND = "sound"
REST = "rest"
_READING = "reading"


class Clocks(NamedTuple):
    """Seconds: on the wall, of CPU in the calling thread, and of CPU in all other threads of the process."""

    wall: float = 0.0
    caller: float = 0.0
    others: float = 0.0

    @property
    def cpu(self) -> float:
        """CPU seconds of all threads."""
        return self.caller + self.others

    def plus(self, other: Clocks) -> Clocks:
        """The sums."""
        return Clocks(self.wall + other.wall, self.caller + other.caller, self.others + other.others)


@dataclass
class Stages:
    """What each stage took without the stages that ran inside it; together they are the whole.

    The calling thread does the work of every stage but the decoder, whose threads go on while it does other things. So
    the CPU time of other threads counts as decoding while a source is read, and otherwise for the stage that runs.
    """

    seconds: dict[str, Clocks] = field(default_factory=dict)
    source_frames: int = 0
    clip_frames: int = 0

    def __post_init__(self) -> None:
        self._running: list[str] = [REST]
        self._since = _now()

    def _account(self) -> None:
        now = _now()
        spent = Clocks(*(after - before for after, before in zip(now, self._since, strict=True)))
        self._since = now
        stage = REST if self._running[-1] == _READING else self._running[-1]
        self._add(stage, spent._replace(others=0.0))
        self._add(DECODE if _READING in self._running else stage, Clocks(others=spent.others))

    def _add(self, stage: str, spent: Clocks) -> None:
        self.seconds[stage] = self.seconds.get(stage, Clocks()).plus(spent)

    @contextmanager
    def part(self, stage: str) -> Iterator[None]:
        """Count the block for this stage."""
        self._account()
        self._running.append(stage)
        try:
            yield
        finally:
            self._account()
            self._running.pop()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Watch all curation of this thread."""
        with ExitStack() as stack:
            for owner, name, stage in _FUNCTIONS:
                stack.enter_context(patch.object(owner, name, self._counted(getattr(owner, name), stage)))
            decoded = patch.object(SourceStream, "_decoded", self._decoding(SourceStream._decoded))
            small = patch.object(steps, "small_frames", self._decoding_clip(steps.small_frames))
            stack.enter_context(decoded)
            stack.enter_context(small)
            self._since = _now()
            yield
            self._account()

    def _counted(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            with self.part(stage):
                return function(*arguments, **named)

        return counted

    def _decoding(self, decoded: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def counted(source: SourceStream, packet: Any) -> list[Any]:
            is_sound = packet.stream.type == "audio"
            with self.part(SOUND if is_sound else DECODE):
                frames = decoded(source, packet)
            self.source_frames += 0 if is_sound else len(frames)
            return frames

        return counted

    def _decoding_clip(self, small_frames: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            with self.part(CLIP_DECODE):
                frames = small_frames(*arguments)
            self.clip_frames += len(frames)
            return frames

        return counted


_FUNCTIONS: tuple[tuple[Any, str, str], ...] = (
    (pipeline, "identify_source", "hash of the source"),
    (steps, "check_unchanged", "hash of the source"),
    (steps, "read", _READING),
    (shots, "_small", "cut search: picture"),
    (shots.CutDetector, "cut_at", "cut search: change"),
    (reading, "region", "detection: picture"),
    (reading, "faces_in", "detection: model"),
    (FaceFollower, "look", "placing"),
    (FaceFollower, "settle", "placing"),
    (reading, "cut_out", "crops: rest"),
    (crops, "warped_yuv", "crops: warp"),
    (crops, "warped_luma", "crops: repeated frames"),
    (reading, "write_track", "encode"),
    (SourceStream, "_hear", SOUND),
    (SourceStream, "_read_beside", SOUND),
    (reading, "hear", SOUND),
    (reading, "write_flac", SOUND),
    (steps, "write_wav", SOUND),
    (steps, "piece_sound", SOUND),
    (steps, "heard", SOUND),
    (steps, "synchronised", "sync"),
    (steps, "rated", "quality"),
)


def _now() -> Clocks:
    caller = time.thread_time()
    return Clocks(time.perf_counter(), caller, time.process_time() - caller)
