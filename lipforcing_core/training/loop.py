"""The loop that all stages share: resume, step, log, checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lipforcing_core.base.products import atomic_path
from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.checkpoint import TrainState

METRICS_FILE = "metrics.jsonl"
STATES_FOLDER = "states"


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

    One row per value goes to ``metrics.jsonl`` (step, stage, name, value). Rows that a killed run had written after its
    last state are dropped before they are made again, so no row appears twice. Returns the metrics path.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    states, metrics_path = out_dir / STATES_FOLDER, out_dir / METRICS_FILE
    state.restore(states)
    _keep_rows(metrics_path, last_step=state.step)
    with open(metrics_path, "a", encoding="utf-8") as metrics:
        while state.step < num_steps:
            values = step(state.step)
            state.step += 1
            for name, value in values.items():
                row = {"step": state.step, "stage": stage, "name": name, "value": value}
                metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            if state.step % checkpoint_every == 0 or state.step == num_steps:
                state.save(states)
            if on_step is not None:
                on_step(StepMetrics(stage=stage, step=state.step, num_steps=num_steps, values=values))
    return metrics_path


def make_optimiser(
    module: nn.Module, settings: StageSettings, learning_rate: float | None = None
) -> Optimizer:
    """AdamW over the parameters of a module that require a gradient."""
    return AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=settings.learning_rate if learning_rate is None else learning_rate,
        betas=settings.betas,
        eps=1e-8,
        weight_decay=settings.weight_decay,
    )


def learning_rate_factor(settings: StageSettings, step: int) -> float:
    """The share of the full learning rate at a step (from 0): linear warm-up, then constant or cosine to 0.1."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.lr_schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done)))


def accumulate(settings: StageSettings, index: int, loss_of: Callable[[int], Tensor]) -> float:
    """Add up the gradients of the micro-batches of step ``index``; returns the mean of their losses."""
    total = 0.0
    for part in range(settings.accumulation):
        loss = loss_of(index * settings.accumulation + part) / settings.accumulation
        loss.backward()
        total += loss.item()
    return total


def train_step(
    module: nn.Module,
    optimiser: Optimizer,
    settings: StageSettings,
    index: int,
    loss_of: Callable[[int], Tensor],
) -> dict[str, float]:
    """Step ``index`` of a module that is trained alone; ``loss_of`` gives the loss of a micro-batch by its number."""
    loss = accumulate(settings, index, loss_of)
    rate = settings.learning_rate * learning_rate_factor(settings, index)
    norm = update(optimiser, module, learning_rate=rate, clip_norm=settings.clip_norm)
    return {"loss": loss, "grad_norm": norm, "learning_rate": rate}


def update(optimiser: Optimizer, module: nn.Module, *, learning_rate: float, clip_norm: float) -> float:
    """Clip the gradient, take one optimiser step, clear the gradient; returns the norm before clipping."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    parameters = [parameter for parameter in module.parameters() if parameter.grad is not None]
    norm = float(nn.utils.clip_grad_norm_(parameters, clip_norm, error_if_nonfinite=True))
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm


def compute_precision(settings: StageSettings, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for the network calls of a stage; parameters, losses and optimiser stay in fp32.

    device: where the tensors of these calls are. Autocast of another device would leave them in fp32 without a word.
    """
    if settings.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def read_metrics(path: Path) -> list[dict[str, object]]:
    """The rows of a metrics file, in the order written."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


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
