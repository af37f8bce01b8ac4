"""Speed from a stage ledger: frames per second and time to first frame in three meanings that are never mixed.

*Model only*: the denoising network and its cache update. *Pipeline*: encode, denoise, decode and cache update, which
is what the paper times (method E.4). *End to end*: everything a user waits for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from lipforcing_core.base.ledger import MODEL_STAGES, PIPELINE_STAGES, Stage, StageLedger
from lipforcing_core.media.clock import FPS
from lipforcing_core.metrics.values import MetricValue, Unavailable


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
