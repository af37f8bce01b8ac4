"""The loop that all stages share: resume, step, log, checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.products import atomic_path
from lipforcing_core.training.checkpoint import TrainState

METRICS_FILE = "metrics.jsonl"
STATES_FOLDER = "states"
_TAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one step measured; ``step`` counts from 1 and is the number of steps done."""

    stage: str
    step: int
    num_steps: int
    values: Mapping[str, float]


OnStep = Callable[[StepMetrics], None]
StepFunction = Callable[[int], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a finished stage left behind."""

    stage: str
    steps: int
    model_path: Path
    metrics_path: Path


def run_steps(
    stage: str,
    num_steps: int,
    state: TrainState,
    step: StepFunction,
    out_dir: Path,
    *,
    checkpoint_every: int,
    on_step: OnStep | None = None,
) -> Path:
    """Run ``step(0) ... step(num_steps - 1)``, continuing from the newest state in ``out_dir``.

    One row per value goes to ``metrics.jsonl`` (step, stage, name, value), which worker 0 writes. Rows that a killed
    run had written after its last state are dropped before they are made again, so no row appears twice. Every
    worker calls ``on_step``. Returns the metrics path.
    """
    states, metrics_path = out_dir / STATES_FOLDER, out_dir / METRICS_FILE
    first = state.strategy.workers.rank == 0
    if first:
        out_dir.mkdir(parents=True, exist_ok=True)
    state.restore(states)
    if first:
        _keep_rows(metrics_path, last_step=state.step)
    with open(metrics_path, "a", encoding="utf-8") if first else nullcontext() as metrics, state.writing():
        while state.step < num_steps:
            values = step(state.step)
            state.step += 1
            if metrics is not None:
                metrics.writelines(_rows(stage, state.step, values))
                metrics.flush()
            if state.step % checkpoint_every == 0 or state.step == num_steps:
                state.save(states)
            if on_step is not None:
                on_step(StepMetrics(stage=stage, step=state.step, num_steps=num_steps, values=values))
    return metrics_path


def _rows(stage: str, step: int, values: Mapping[str, float]) -> Iterable[str]:
    for name, value in values.items():
        yield json.dumps({"step": step, "stage": stage, "name": name, "value": value}) + "\n"


def read_metrics(path: Path) -> list[dict[str, object]]:
    """The rows of a metrics file, in the order written."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def steps_done(path: Path) -> int:
    """The last complete step in a metrics file that may be being written; 0 where there is none yet."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return 0
    for line in reversed(lines[:-1]):  # what follows the last newline is incomplete
        with suppress(json.JSONDecodeError):  # the first line of the tail may be cut
            return int(json.loads(line)["step"])
    return 0


def _keep_rows(path: Path, *, last_step: int) -> None:
    """Drop rows after ``last_step`` and a line that was cut off by a crash."""
    if not path.exists():
        return
    with atomic_path(path) as temporary, open(path, encoding="utf-8") as lines:
        temporary.write_text("".join(_rows_up_to(lines, last_step)), encoding="utf-8")


def _rows_up_to(lines: Iterable[str], last_step: int) -> Iterable[str]:
    for line in lines:
        if line.endswith("\n") and json.loads(line)["step"] <= last_step:
            yield line
