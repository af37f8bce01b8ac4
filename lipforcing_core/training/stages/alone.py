"""What the stages share that train one network by one loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from lipforcing_core.base.products import file_sha256
from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.checkpoint import TrainState
from lipforcing_core.training.ema import ExponentialAverage
from lipforcing_core.training.loop import OnStep, StageResult, run_steps
from lipforcing_core.training.model_file import MODEL_FILE, save_model
from lipforcing_core.training.optimisation import accumulate, learning_rate_factor, make_optimiser, update
from lipforcing_core.training.stages.protocol import Stage, StageInputs, stage_key
from lipforcing_core.training.strategies.protocol import Strategy

M = TypeVar("M", bound=nn.Module)


def train_alone(
    stage: Stage,
    network: M,
    loss_of: Callable[[M, int], Tensor],
    settings: StageSettings,
    inputs: StageInputs,
    out_dir: Path,
    *,
    strategy: Strategy,
    on_step: OnStep | None,
) -> Path:
    """Train a network, continuing where an earlier run of the same stage stopped.

    loss_of: the loss of a network on a micro-batch, by its number over all steps. In the end the weights of the network
    are the result (their exponential average where the settings ask for one). Returns the path of the metrics.
    """
    optimiser = make_optimiser(network, settings)
    average = average_of(network, settings)

    def step(index: int) -> dict[str, float]:
        loss = accumulate(strategy, settings, index, lambda micro: loss_of(network, micro))
        rate = settings.learning_rate * learning_rate_factor(settings, index)
        norm = update(strategy, optimiser, network, learning_rate=rate, clip_norm=settings.clip_norm)
        if average is not None:
            average.follow(network, index + 1)
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate}

    state = TrainState(
        key=run_key(stage, inputs),
        strategy=strategy,
        modules={"network": network},
        optimisers={"network": optimiser},
        others={} if average is None else {"average": average},
    )
    metrics_path = run_steps(
        stage.name,
        stage.num_steps,
        state,
        step,
        out_dir,
        checkpoint_every=settings.checkpoint_every,
        on_step=on_step,
    )
    if average is not None:
        average.put_into(network)
    return metrics_path


def average_of(network: nn.Module, settings: StageSettings) -> ExponentialAverage | None:
    """The exponential average that the settings ask for, if any."""
    if settings.ema_decay is None:
        return None
    return ExponentialAverage(network, decay=settings.ema_decay, start=settings.ema_start)


def finish(
    stage: Stage, network: nn.Module, out_dir: Path, metrics_path: Path, strategy: Strategy
) -> StageResult:
    """Write the weights of a finished stage."""
    path = out_dir / MODEL_FILE
    save_model(strategy, network, path)
    return StageResult(stage=stage.name, steps=stage.num_steps, model_path=path, metrics_path=metrics_path)


def run_key(stage: Stage, inputs: StageInputs) -> str:
    """The key of a run's states: the stage, its data, and the content of the weights it starts from."""
    parents = {name: file_sha256(inputs.init[name]) for name in stage.starts_from}
    if inputs.reward is not None:
        parents["reward"] = inputs.reward.backend_id
    return stage_key(stage, inputs.data.key, parents)
