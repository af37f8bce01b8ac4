"""A benchmark as warehouse rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from lipforcing_core.presets import Preset
from tasks.warehousing import RunInfo

SAMPLES = {"denoise_s": "chunk_denoise_s", "one_call_s": "call_s", "teacher_clip_s": "teacher_clip_s"}
"""Lists of raw samples in a result, and the metric that each is in the warehouse."""


def benchmark_run(preset: Preset, device: str, repeats: int) -> RunInfo:
    """A new run: two benchmarks of the same preset are two measurements."""
    return RunInfo(
        run_id=f"benchmark-{uuid.uuid4().hex[:16]}",
        flow="benchmark",
        config={"preset": preset, "device": device, "repeats": repeats},
        preset=preset.name,
    )


def benchmark_rows(preset: Preset, result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a sample; ``result`` is what ``benchmarks.streaming.measure`` gives."""
    device = f"{result['device']}, {result['threads']} threads"
    for name, metric in SAMPLES.items():
        system = f"{preset.name} teacher" if name == "teacher_clip_s" else f"{preset.name} student"
        for index, value in enumerate(result[name]):
            yield {
                "system": system,
                "device": device,
                "speed_kind": "model",
                "metric": metric,
                "sample": index,
                "value": value,
            }
