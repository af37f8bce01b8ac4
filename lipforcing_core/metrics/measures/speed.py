"""Measures of speed in three meanings that are never mixed, from the ledger of where the time of a clip went.

*Model only*: the denoising network and its cache update. *Pipeline*: encode, denoise, decode and cache update, which
is what the paper times (method E.4). *End to end*: everything a user waits for.
"""

from __future__ import annotations

import numpy as np

from lipforcing_core.base.ledger import MODEL_STAGES, PIPELINE_STAGES, Stage, StageLedger
from lipforcing_core.media.clock import FPS
from lipforcing_core.metrics.measures.protocol import Direction, SpeedMeasure
from lipforcing_core.metrics.values import UndefinedMeasure


def _rate(frames: int, seconds: float) -> float:
    if seconds <= 0:
        raise UndefinedMeasure("no model stage was timed")
    return frames / seconds


def _fps_model(ledger: StageLedger) -> float:
    if any(Stage.GENERATE in chunk.stage_s for chunk in ledger.chunks):
        raise UndefinedMeasure("encode, denoise and decode were not timed apart")
    return _rate(ledger.num_frames, ledger.stage_total_s(MODEL_STAGES))


FPS_MODEL = SpeedMeasure(
    name="fps_model",
    label="FPS (model only)",
    unit="frames/s",
    direction=Direction.HIGHER,
    summary="Frames over the time of the denoising network alone, its cache update included.",
    compute=_fps_model,
)

FPS_PIPELINE = SpeedMeasure(
    name="fps_pipeline",
    label="FPS",
    unit="frames/s",
    direction=Direction.HIGHER,
    published_name="FPS",
    summary="Frames over the time of encoding, denoising, decoding and cache update, as the paper times it; "
    "face tracking, pasting and files are not in it.",
    compute=lambda ledger: _rate(ledger.num_frames, ledger.stage_total_s(PIPELINE_STAGES)),
)

FPS_END_TO_END = SpeedMeasure(
    name="fps_end_to_end",
    label="FPS (end to end)",
    unit="frames/s",
    direction=Direction.HIGHER,
    summary="Frames over the whole wall time, from opening the files to the finished file.",
    compute=lambda ledger: _rate(ledger.num_frames, ledger.wall_s),
)


def _time_to_first_frame(ledger: StageLedger) -> float:
    """Seconds of the first chunk in the pipeline's stages; its cache update comes after its frames are out."""
    stages = PIPELINE_STAGES - {Stage.STORE}
    seconds = sum(s for stage, s in ledger.chunks[0].stage_s.items() if stage in stages)
    if seconds <= 0:
        raise UndefinedMeasure("no model stage was timed")
    return seconds


TTFF_PIPELINE_S = SpeedMeasure(
    name="ttff_pipeline_s",
    label="TTFF",
    unit="s",
    direction=Direction.LOWER,
    published_name="TTFF",
    summary="From the first encode to the end of the first chunk's decode, as the paper times it.",
    compute=_time_to_first_frame,
)

TTFF_END_TO_END_S = SpeedMeasure(
    name="ttff_end_to_end_s",
    label="TTFF (end to end)",
    unit="s",
    direction=Direction.LOWER,
    summary="From opening the files to the first frames being ready to show.",
    compute=lambda ledger: sum(ledger.setup_s.values()) + ledger.chunks[0].latency_s,
)


def _latency_ms(ledger: StageLedger, percentile: float) -> float:
    """A percentile over chunks of the time from the start of a chunk to its frames being ready."""
    return float(np.percentile([1000.0 * chunk.latency_s for chunk in ledger.chunks], percentile))


CHUNK_LATENCY_P50_MS = SpeedMeasure(
    name="chunk_latency_p50_ms",
    label="Chunk latency, median",
    unit="ms",
    direction=Direction.LOWER,
    summary="Median time from the start of a chunk to its frames being ready.",
    compute=lambda ledger: _latency_ms(ledger, 50),
)

CHUNK_LATENCY_P95_MS = SpeedMeasure(
    name="chunk_latency_p95_ms",
    label="Chunk latency, p95",
    unit="ms",
    direction=Direction.LOWER,
    summary="95th percentile of the time from the start of a chunk to its frames being ready.",
    compute=lambda ledger: _latency_ms(ledger, 95),
)

CHUNK_LATENCY_P99_MS = SpeedMeasure(
    name="chunk_latency_p99_ms",
    label="Chunk latency, p99",
    unit="ms",
    direction=Direction.LOWER,
    summary="99th percentile of the time from the start of a chunk to its frames being ready.",
    compute=lambda ledger: _latency_ms(ledger, 99),
)


def missed_deadlines(ledger: StageLedger) -> int:
    """Frames that are not ready when due, if playback starts with the first chunk and never waits (40 ms a frame)."""
    ready_s = ledger.ready_s()
    missed, index = 0, 0
    for chunk, ready in zip(ledger.chunks, ready_s, strict=True):
        due_s = ready_s[0] + (index + np.arange(chunk.num_frames)) / float(FPS)
        missed += int((ready > due_s + 1e-9).sum())
        index += chunk.num_frames
    return missed


MISSED_DEADLINES = SpeedMeasure(
    name="missed_deadlines",
    label="Missed deadlines",
    unit="frames",
    direction=Direction.LOWER,
    summary="Frames not ready when due, 40 ms apart, if playback starts with the first chunk and never waits.",
    compute=missed_deadlines,
)
