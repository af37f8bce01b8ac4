"""A stop-watch for the stages of one chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lipforcing_core.base.ledger import ChunkStages, Stage


class ChunkClock:
    """Adds up the seconds of each stage: ``with clock.stage(Stage.DENOISE): ...``."""

    def __init__(self) -> None:
        self._stage_s: dict[Stage, float] = {}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Count the time of the block towards ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + time.perf_counter() - started

    def finished(self, num_frames: int) -> ChunkStages:
        """The ledger entry of a chunk that gave ``num_frames`` frames."""
        return ChunkStages(num_frames=num_frames, stage_s=dict(self._stage_s))
