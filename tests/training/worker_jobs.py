"""What workers do in the tests: whole stages of the tiny preset, and a look at how a network is spread over them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.text_encoders.hashed import HashTextEncoder
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.prompts import encode_prompts
from lipforcing_core.training import model_file
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.draws import rollout_draws, step_generator
from lipforcing_core.training.loop import StepMetrics
from lipforcing_core.training.model_file import load_model
from lipforcing_core.training.rollout import roll_out
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.strategies.one_device import OneDevice
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.sharded import Sharded
from tests.training.conftest import tiny_preset
from tests.training.fakes import FakeReward
from tests.training.test_stages import stage_of


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a stage of the tiny preset; ``changes`` to the settings of the stage.

    stop: what a worker does after step 3, by its rank: ``"interrupt"`` or ``"kill"``.
    """

    stage: str
    out_dir: Path
    changes: dict[str, Any] = field(default_factory=dict)
    stop: dict[int, str] = field(default_factory=dict)


def preset_with(stage: str, changes: dict[str, Any]) -> Preset:
    """Three micro-batches, which two workers cannot share evenly, an average, and centred rewards."""
    values = tiny_preset().model_dump()
    values["distill"] |= {"reward_centre_momentum": 0.9, "reward_beta": 2.0}
    settings = values["distill"]["student"] if stage == "distill" else values[stage]
    settings |= {"accumulation": 3, "batch_size": 1, "ema_decay": 0.5} | changes
    return Preset.model_validate(values)


def run(job: Run, clip_files: Sequence[Path], base: Path) -> list[int]:
    """The steps that were made, on all workers of the group, or alone where there is none."""
    every = {"checkpoint_every": 2 if job.stop else 4}  # says nothing of the result, and takes time
    preset = preset_with(job.stage, every | job.changes)
    encoder = HashTextEncoder(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    inputs = StageInputs(
        data=LatentWindows(list(clip_files), preset.video),
        prompts=encode_prompts(encoder, preset.schedule.prompt),
        init=dict.fromkeys(("base", "teacher", "student", "critic"), base),
        reward=FakeReward(),
    )
    several = dist.is_initialized()
    strategy: Strategy = Sharded("cpu") if several else OneDevice()
    steps: list[int] = []

    def watch(metrics: StepMetrics) -> None:
        steps.append(metrics.step)
        how = job.stop.get(strategy.workers.rank) if metrics.step == 3 else None
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "interrupt":
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as shown, suppress(KeyboardInterrupt):
        stage_of(job.stage, preset).run(inputs, job.out_dir, strategy=strategy, on_step=watch)
    assert not [warning for warning in shown if "FSDP" in str(warning.message)]
    return steps


def run_all(jobs: Sequence[Run], clip_files: Sequence[Path], base: Path) -> list[list[int]]:
    """One after the other."""
    return [run(job, clip_files, base) for job in jobs]


def spread_and_run_all(
    jobs: Sequence[Run], clip_files: Sequence[Path], base: Path
) -> tuple[Spread, list[list[int]]]:
    """In one go, since it takes a worker a few seconds to start."""
    return spread(base, clip_files), run_all(jobs, clip_files, base)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a network lies on a worker.

    held, all_held: numbers of weights here and in the whole network. read: how many were read from its file.
    held_after: how many are here after calls without a backward pass. dtypes: of a trained and of a frozen network
    under bf16.
    """

    held: int
    all_held: int
    read: int
    held_after: int
    dtypes: tuple[torch.dtype, torch.dtype]


def spread(base: Path, clip_files: Sequence[Path]) -> Spread:
    """Build a student from a file, and let it generate."""
    preset, strategy = tiny_preset(), Sharded("cpu")
    read: list[int] = []

    def build(*, trained: bool, precision: Any = "fp32") -> CausalStudent:
        return strategy.build(
            lambda: CausalStudent(preset.model.config(), preset.window.config()),
            lambda network: load_model(network, base),
            trained=trained,
            precision=precision,
        )

    opened = model_file.safe_open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_file, "safe_open", lambda *a, **k: Counted(opened(*a, **k), read.append))
        student = build(trained=True)
    held = held_by(student)
    encoder = HashTextEncoder(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    prompts = encode_prompts(encoder, preset.schedule.prompt)
    batch = LatentWindows(list(clip_files), preset.video).batch(1, seed=0, step=strategy.workers.rank)
    shape = batch.latents_BCTHW.shape
    draws = rollout_draws(step_generator(0, "r", 0), shape, chunks=student.chunks(shape[2]), num_calls=2)
    roll_out(student, batch.conditions(prompts.text_BLD), draws, t_list=(0.9, 0.5, 0.0), with_grad=False)
    return Spread(
        held=held,
        all_held=sum(parameter.numel() for parameter in student.parameters()),
        read=sum(read),
        held_after=held_by(student),
        dtypes=(
            build(trained=True, precision="bf16").head.head.weight.dtype,
            build(trained=False, precision="bf16").head.head.weight.dtype,
        ),
    )


def held_by(network: nn.Module) -> int:
    """How many weights a worker holds."""
    return sum(
        (parameter.to_local() if isinstance(parameter, DTensor) else parameter).numel()
        for parameter in network.parameters()
    )


class Counted:
    """A safetensors file that says how many values are read from it, and gives no tensor whole."""

    def __init__(self, stored: Any, count: Callable[[int], object]) -> None:
        self._stored, self._count = stored, count

    def __enter__(self) -> Counted:
        self._stored.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._stored.__exit__(*error)

    def keys(self) -> list[str]:
        return list(self._stored.keys())

    def get_slice(self, name: str) -> CountedSlice:
        return CountedSlice(self._stored.get_slice(name), self._count)


@dataclass
class CountedSlice:
    stored: Any
    count: Callable[[int], object]

    def get_shape(self) -> list[int]:
        return list(self.stored.get_shape())

    def __getitem__(self, part: Any) -> torch.Tensor:
        value: torch.Tensor = self.stored[part]
        self.count(value.numel())
        return value
