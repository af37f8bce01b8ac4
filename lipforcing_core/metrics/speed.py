"""Speed from a stage ledger: frames per second and time to first frame in three meanings that are never mixed.

*Model only*: the denoising network and its cache update. *Pipeline*: encode, denoise, decode and cache update, which
is what the paper times (method E.4). *End to end*: everything a user waits for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from lipforcing_core.media.clock import FPS
from lipforcing_core.metrics.values import MetricValue, Unavailable

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
PIPELINE_STAGES = frozenset({Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.GENERATE, Stage.STORE})


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


def missed_deadlines(ledger: StageLedger) -> int:
    """Frames that are not ready when due, if playback starts with the first chunk and never waits (40 ms a frame)."""
    ready_s = ledger.ready_s()
    missed, index = 0, 0
    for chunk, ready in zip(ledger.chunks, ready_s, strict=True):
        due_s = ready_s[0] + (index + np.arange(chunk.num_frames)) / float(FPS)
        missed += int((ready > due_s + 1e-9).sum())
        index += chunk.num_frames
    return missed


def speed_values(ledger: StageLedger) -> dict[str, float | str]:
    """Every speed metric by name: its value, or in words why it has none."""
    frames = ledger.num_frames
    first = ledger.chunks[0]
    latencies_ms = [1000.0 * chunk.latency_s for chunk in ledger.chunks]
    unsplit = any(Stage.GENERATE in chunk.stage_s for chunk in ledger.chunks)
    to_first_frame = sum(s for stage, s in first.stage_s.items() if stage in PIPELINE_STAGES - {Stage.STORE})
    return {
        "fps_model": (
            "encode, denoise and decode were not timed apart"
            if unsplit
            else _rate(frames, ledger.stage_total_s(MODEL_STAGES))
        ),
        "fps_pipeline": _rate(frames, ledger.stage_total_s(PIPELINE_STAGES)),
        "fps_end_to_end": _rate(frames, ledger.wall_s),
        "ttff_pipeline_s": to_first_frame if to_first_frame > 0 else "no model stage was timed",
        "ttff_end_to_end_s": sum(ledger.setup_s.values()) + first.latency_s,
        "chunk_latency_p50_ms": float(np.percentile(latencies_ms, 50)),
        "chunk_latency_p95_ms": float(np.percentile(latencies_ms, 95)),
        "chunk_latency_p99_ms": float(np.percentile(latencies_ms, 99)),
        "missed_deadlines": float(missed_deadlines(ledger)),
    }


def speed_rows(
    ledgers: Mapping[tuple[str, str], StageLedger], *, protocol_id: str, machine: str
) -> tuple[list[MetricValue], list[Unavailable]]:
    """Per-clip rows from the ledgers of ``(system, clip_id)``; ``machine`` (hardware, threads) is their backend."""
    values: list[MetricValue] = []
    missing: list[Unavailable] = []
    for (system, clip_id), ledger in ledgers.items():
        for metric, value in speed_values(ledger).items():
            if isinstance(value, str):
                missing.append(
                    Unavailable(
                        system=system,
                        clip_id=clip_id,
                        metric=metric,
                        because=value,
                        protocol_id=protocol_id,
                        backend=machine,
                    )
                )
            else:
                values.append(
                    MetricValue(
                        system=system,
                        clip_id=clip_id,
                        metric=metric,
                        value=value,
                        n=ledger.num_frames,
                        protocol_id=protocol_id,
                        backend=machine,
                    )
                )
    return values, missing


def merged_totals(ledgers: Iterable[StageLedger]) -> dict[str, float]:
    """Seconds by stage over several clips."""
    merged: dict[str, float] = {}
    for ledger in ledgers:
        for stage, seconds in ledger.totals().items():
            merged[stage] = merged.get(stage, 0.0) + seconds
    return merged


def _rate(frames: int, seconds: float) -> float | str:
    return frames / seconds if seconds > 0 else "no model stage was timed"
