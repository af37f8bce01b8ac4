"""The teacher by flow matching (method D.3): all weights where no public base exists, then a low-rank adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.models.lora import (
    FULLY_TRAINED,
    adapter_start,
    inject_lora,
    is_adapter_tensor,
    merge_lora,
)
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets.schema import LoraSettings, ModelPreset, Preset, TeacherSettings
from lipforcing_core.training.draws import step_generator, teacher_draws
from lipforcing_core.training.initial import start_at_reference
from lipforcing_core.training.loop import OnStep, StageResult
from lipforcing_core.training.losses.flow import flow_loss
from lipforcing_core.training.model_file import load_model
from lipforcing_core.training.stages.alone import finish, train_alone
from lipforcing_core.training.stages.protocol import Stage, StageInputs
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.tensors import put, put_all

BASE = "base"
"""The name of the weights that the adapter is trained on."""


@dataclass(frozen=True, kw_only=True)
class TeacherBase:
    """Trains every weight from a seeded initialisation: the stage that stands for a public base checkpoint.

    text: the text encoder that the prompt goes through. shift: of the noise schedule.
    """

    name: ClassVar[str] = "base"
    version: ClassVar[int] = 3
    starts_from: ClassVar[tuple[str, ...]] = ()

    model: ModelPreset
    text: str
    prompt: str
    shift: float
    settings: TeacherSettings

    @classmethod
    def of(cls, preset: Preset) -> TeacherBase | None:
        """The stage that a preset describes; None where it starts from a public base."""
        if preset.base is None:
            return None
        return cls(
            model=preset.model,
            text=preset.backends.text,
            prompt=preset.schedule.prompt,
            shift=preset.schedule.shift,
            settings=preset.base,
        )

    @property
    def num_steps(self) -> int:
        """One step an update."""
        return self.settings.steps

    def run(
        self, inputs: StageInputs, out_dir: Path, *, strategy: Strategy, on_step: OnStep | None = None
    ) -> StageResult:
        """As for every stage."""
        make, settings = partial(WanTransformer, self.model.config()), self.settings

        def fill(network: WanTransformer) -> None:
            made_on_cpu = start_at_reference(make(), settings.seed)  # a seed means the same everywhere
            put_all(network, made_on_cpu.state_dict())

        network = strategy.build(
            make, fill, trained=True, precision=settings.precision, recompute=settings.recompute
        )
        loss_of = _loss_of(self, self.shift, settings, inputs, strategy)
        metrics_path = train_alone(
            self, network, loss_of, settings, inputs, out_dir, strategy=strategy, on_step=on_step
        )
        return finish(self, network, out_dir, metrics_path, strategy)


@dataclass(frozen=True, kw_only=True)
class TeacherLora:
    """Finetunes the base by a low-rank adapter, and merges it into the weights that are written.

    Low rank on attention and FFN; audio and patch embedding are trained fully; the rest is frozen (D.3).
    """

    name: ClassVar[str] = "lora"
    version: ClassVar[int] = 3
    starts_from: ClassVar[tuple[str, ...]] = (BASE,)

    model: ModelPreset
    text: str
    prompt: str
    shift: float
    settings: LoraSettings

    @classmethod
    def of(cls, preset: Preset) -> TeacherLora:
        """The stage that a preset describes."""
        return cls(
            model=preset.model,
            text=preset.backends.text,
            prompt=preset.schedule.prompt,
            shift=preset.schedule.shift,
            settings=preset.lora,
        )

    @property
    def num_steps(self) -> int:
        """One step an update."""
        return self.settings.steps

    def run(
        self, inputs: StageInputs, out_dir: Path, *, strategy: Strategy, on_step: OnStep | None = None
    ) -> StageResult:
        """As for every stage."""
        settings = self.settings

        def make() -> WanTransformer:
            network = WanTransformer(self.model.config())
            inject_lora(network, rank=settings.rank, alpha=settings.alpha, also_train=FULLY_TRAINED)
            return network

        def fill(network: WanTransformer) -> None:
            load_model(network, inputs.init[BASE], leave=is_adapter_tensor)
            for target, value in adapter_start(network, torch.Generator().manual_seed(settings.seed)):
                put(target, value)

        network = strategy.build(
            make, fill, trained=True, precision=settings.precision, recompute=settings.recompute
        )
        loss_of = _loss_of(self, self.shift, settings, inputs, strategy)
        metrics_path = train_alone(
            self, network, loss_of, settings, inputs, out_dir, strategy=strategy, on_step=on_step
        )
        merge_lora(network)
        return finish(self, network, out_dir, metrics_path, strategy)


def _loss_of(
    stage: Stage, shift: float, settings: TeacherSettings, inputs: StageInputs, strategy: Strategy
) -> Callable[[WanTransformer, int], Tensor]:
    """The loss of a network on a micro-batch, by its number."""
    schedule, device = FlowSchedule(shift=shift), strategy.device
    prompts = inputs.prompts_on(device)

    def loss_of(network: WanTransformer, micro: int) -> Tensor:
        batch = inputs.data.batch(settings.batch_size, settings.seed, micro).to(device)
        draws = teacher_draws(
            step_generator(settings.seed, stage.name, micro),
            batch.latents_BCTHW.shape,
            schedule=schedule,
            text_dropout=settings.text_dropout,
            audio_dropout=settings.audio_dropout,
        )
        return flow_loss(network, batch, prompts, draws.to(device), shift=shift, settings=settings)

    return loss_of
