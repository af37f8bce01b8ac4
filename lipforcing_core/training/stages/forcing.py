"""Stage 1: the causal student learns from real latents, every chunk at a noise level of its own (method D.4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.presets.schema import ForcingSettings, ModelPreset, Preset, WindowPreset
from lipforcing_core.training.draws import forcing_draws, step_generator
from lipforcing_core.training.loop import OnStep, StageResult
from lipforcing_core.training.losses.forcing import forcing_loss
from lipforcing_core.training.model_file import load_model
from lipforcing_core.training.stages.alone import finish, train_alone
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.strategies.protocol import Strategy

TEACHER = "teacher"
"""The name of the weights that the student starts from."""


@dataclass(frozen=True, kw_only=True)
class StudentForcing:
    """Trains the student from the merged teacher by Diffusion Forcing. t_list: its noise levels, the last one 0."""

    name: ClassVar[str] = "diffusion_forcing"
    version: ClassVar[int] = 3
    starts_from: ClassVar[tuple[str, ...]] = (TEACHER,)

    model: ModelPreset
    window: WindowPreset
    text: str
    prompt: str
    t_list: tuple[float, ...]
    settings: ForcingSettings

    @classmethod
    def of(cls, preset: Preset) -> StudentForcing:
        """The stage that a preset describes."""
        return cls(
            model=preset.model,
            window=preset.window,
            text=preset.backends.text,
            prompt=preset.schedule.prompt,
            t_list=preset.schedule.t_list,
            settings=preset.diffusion_forcing,
        )

    @property
    def num_steps(self) -> int:
        """One step an update."""
        return self.settings.steps

    def run(
        self, inputs: StageInputs, out_dir: Path, *, strategy: Strategy, on_step: OnStep | None = None
    ) -> StageResult:
        """As for every stage."""
        settings, device = self.settings, strategy.device
        prompts = inputs.prompts_on(device)
        student = strategy.build(
            partial(CausalStudent, self.model.config(), self.window.config()),
            partial(load_model, path=inputs.init[TEACHER]),
            trained=True,
            precision=settings.precision,
            recompute=settings.recompute,
        )

        def loss_of(network: CausalStudent, micro: int) -> Tensor:
            batch = inputs.data.batch(settings.batch_size, settings.seed, micro).to(device)
            draws = forcing_draws(
                step_generator(settings.seed, self.name, micro),
                batch.latents_BCTHW.shape,
                t_list=self.t_list,
                chunks=network.chunks(batch.latents_BCTHW.shape[2]),
            )
            return forcing_loss(network, batch, prompts, draws.to(device), settings=settings)

        metrics_path = train_alone(
            self, student, loss_of, settings, inputs, out_dir, strategy=strategy, on_step=on_step
        )
        return finish(self, student, out_dir, metrics_path, strategy)
