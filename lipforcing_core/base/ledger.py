"""Where the time of a clip goes: seconds by stage and chunk, which must add up to the wall time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_SLACK_S = 1e-3


class Stage(StrEnum):
    """Where the time of a chunk goes."""

    READ = "read"
    ALIGN = "align"
    AUDIO = "audio"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    GENERATE = "generate"  # encode, denoise and decode where they were not timed apart
    STORE = "store"  # the cache update after the chunk's frames are out
    COMPOSITE = "composite"
    WRITE = "write"


MODEL_STAGES = frozenset({Stage.DENOISE, Stage.STORE})
"""The denoising network alone."""

PIPELINE_STAGES = frozenset({Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.GENERATE, Stage.STORE})
"""What the paper times: no faces, no pasting, no files (method E.4)."""


@dataclass(frozen=True, kw_only=True)
class ChunkStages:
    """Seconds by stage that one chunk took, and the frames that came out of it."""

    num_frames: int
    stage_s: Mapping[Stage, float]

    @property
    def total_s(self) -> float:
        """All stages of the chunk."""
        return sum(self.stage_s.values())

    @property
    def latency_s(self) -> float:
        """From the start of the chunk to its frames being ready: all but the cache update."""
        return self.total_s - self.stage_s.get(Stage.STORE, 0.0)


@dataclass(frozen=True, kw_only=True)
class StageLedger:
    """Where the wall time of one clip went.

    setup_s: what came before the first chunk, by name (face tracking, audio features, loading). finish_s: what came
    after the last (muxing). Raises ``ValueError`` where the parts exceed ``wall_s``, are negative, or where no
    frame came out.
    """

    chunks: tuple[ChunkStages, ...]
    wall_s: float
    setup_s: Mapping[str, float] = field(default_factory=dict)
    finish_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = [*self.setup_s.values(), *self.finish_s.values()]
        parts += [seconds for chunk in self.chunks for seconds in chunk.stage_s.values()]
        if any(part < 0 for part in parts) or self.num_frames < 1:
            raise ValueError("a stage ledger needs frames and no negative times")
        if self.unaccounted_s < -_SLACK_S:
            raise ValueError(
                f"the stages take {sum(parts):.3f} s, more than the wall time of {self.wall_s:.3f} s"
            )

    @property
    def num_frames(self) -> int:
        """Frames of all chunks."""
        return sum(chunk.num_frames for chunk in self.chunks)

    @property
    def unaccounted_s(self) -> float:
        """Wall time that no stage claims."""
        chunks_s = sum(chunk.total_s for chunk in self.chunks)
        return self.wall_s - chunks_s - sum(self.setup_s.values()) - sum(self.finish_s.values())

    def totals(self) -> dict[str, float]:
        """Seconds by stage over the whole clip; with ``unaccounted`` they add up to the wall time."""
        totals = {f"setup: {name}": seconds for name, seconds in self.setup_s.items()}
        for stage in Stage:
            if any(stage in chunk.stage_s for chunk in self.chunks):
                totals[stage.value] = self.stage_total_s(frozenset({stage}))
        totals |= {f"finish: {name}": seconds for name, seconds in self.finish_s.items()}
        return totals | {"unaccounted": self.unaccounted_s}

    def stage_total_s(self, stages: frozenset[Stage]) -> float:
        """Seconds of some stages over all chunks."""
        return sum(s for chunk in self.chunks for stage, s in chunk.stage_s.items() if stage in stages)

    def ready_s(self) -> list[float]:
        """When each chunk's frames are ready, from the start of the first chunk."""
        ready, clock = [], 0.0
        for chunk in self.chunks:
            ready.append(clock + chunk.latency_s)
            clock += chunk.total_s
        return ready
