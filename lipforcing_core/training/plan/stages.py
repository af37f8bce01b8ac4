"""The plan of each stage: its networks, what they need on every GPU, and how long a step takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import torch

from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.presets.load import load_preset
from lipforcing_core.presets.schema import ModelPreset, Preset, StageSettings
from lipforcing_core.training.plan import calls
from lipforcing_core.training.plan.duration import StepTime, step_time
from lipforcing_core.training.plan.gpus import GIB
from lipforcing_core.training.plan.layout import FP32, FRAGMENTED, MOMENTS, RESERVE_BYTES, Layout, Traffic
from lipforcing_core.training.plan.meter import Work
from lipforcing_core.training.plan.networks import NetworkSpec, Weights, weights_of
from lipforcing_core.training.reward_weights import weighs_together
from lipforcing_core.training.stages.distillation import Distillation

StageName = Literal["lora", "diffusion_forcing", "distill"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
"""As the stages and the sections of a preset are called."""
STAGE_WORDS: dict[str, str] = {
    "lora": "teacher (LoRA)",
    "diffusion_forcing": "student (Diffusion Forcing)",
    "distill": "distillation (SW-DMD)",
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is planned. adapters: students and critic train an adapter of the rank of ``[lora]``, not all weights."""

    preset: Preset
    layout: Layout
    adapters: bool = False


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage on every GPU.

    memory: bytes by what they are for. micro_batches: of a step, that each GPU takes. step: on the average, where
    steps differ. weights: of all networks together. teacher: the preset whose teacher is distilled, if another.
    """

    name: StageName
    settings: StageSettings
    num_steps: int
    weights: float
    trained: float
    memory: dict[str, float]
    micro_batches: int
    step: StepTime
    capacity: float
    teacher: str | None = None

    @property
    def needed(self) -> float:
        """Bytes in all."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a GPU holds it."""
        return self.needed <= self.capacity

    @property
    def total_s(self) -> float:
        """How long the stage takes."""
        return self.num_steps * self.step.total_s


def plan_stages(setup: Setup) -> tuple[StagePlan, ...]:
    """The plans of teacher, Diffusion Forcing and distillation."""
    return tuple(plan_stage(setup, name) for name in STAGE_NAMES)


def settings_of(preset: Preset, name: StageName) -> tuple[str, StageSettings]:
    """The section of a preset that says how a stage is optimised, by its name, and what it says."""
    if name == "lora":
        return name, preset.lora
    if name == "diffusion_forcing":
        return name, preset.diffusion_forcing
    return "distill.student", preset.distill.student


def least_memory(setup: Setup, name: StageName) -> dict[str, float]:
    """What a stage needs on a GPU beside what is computed, found without counting that: bytes by what they are for."""
    _, settings = settings_of(setup.preset, name)
    spec = _spec(setup, settings)
    if name == "lora":
        return _stored(setup, settings, trained=[weights_of(replace(spec, rank=setup.preset.lora.rank))])
    if name == "diffusion_forcing":
        return _stored(setup, settings, trained=[weights_of(spec)])
    frozen = NetworkSpec(model=_teacher_model(setup.preset), trained=False)
    return _stored(setup, settings, trained=[weights_of(spec)] * 2, frozen=[weights_of(frozen)])


@lru_cache(maxsize=256)
def plan_stage(setup: Setup, name: StageName) -> StagePlan:
    """The plan of one stage."""
    if name == "distill":
        return _distillation(setup)
    preset = setup.preset
    if name == "lora":
        settings: StageSettings = preset.lora
        counts = calls.count_teacher(replace(_spec(setup, settings), rank=preset.lora.rank), preset)
    else:
        settings = preset.diffusion_forcing
        counts = calls.count_forcing(replace(_spec(setup, settings), window=preset.window), preset)
    micro_batches = setup.layout.micro_batches(settings)
    once = Work().plus(counts.forward).plus(counts.backward)
    return _plan(
        setup,
        name,
        settings,
        trained=[counts.weights],
        working={"activations": counts.peak_bytes},
        work=Work().plus(once, micro_batches),
        traffic=Traffic().plus(setup.layout.traffic(counts, settings), micro_batches),
        updated=counts.weights.trained,
        num_steps=settings.steps,
    )


def _distillation(setup: Setup) -> StagePlan:
    """Critic in every iteration; student in some, on its own rollout, which critic and teacher look at."""
    preset, layout = setup.preset, setup.layout
    settings = preset.distill.student
    teacher_model = _teacher_model(preset)
    student = calls.count_rollout(replace(_spec(setup, settings), window=preset.window), preset)
    critic = calls.count_critic(_spec(setup, settings), preset)
    frozen = NetworkSpec(model=teacher_model, trained=False, weights_bf16=layout.gathers_bf16(settings))
    teacher = calls.count_look(frozen, preset)
    own_look = calls.count_look(replace(frozen, model=preset.model), preset)
    decoder_bytes, decode = calls.count_decoder(preset)

    rolled = student.counts
    more_calls = mean_last_exit(len(preset.schedule.t_list) - 1, layout.gpus)
    forward = rolled.forward.plus(student.call, more_calls)
    together = weighs_together(
        preset.distill.reward_weighting, centres=preset.distill.reward_centre_momentum is not None
    )
    rollouts = 2.0 if together and settings.accumulation > 1 else 1.0
    guided = guided_share(preset)
    if layout.gpus > 1:  # all make the pass that one of them needs
        guided = 1.0 - (1.0 - guided) ** (layout.gpus * settings.batch_size)

    every = Work().plus(forward).plus(critic.forward).plus(critic.backward)
    some = (
        Work()
        .plus(forward, rollouts)
        .plus(rolled.backward)
        .plus(own_look.forward)
        .plus(teacher.forward, 1.0 + guided)
        .plus(decode, rollouts * settings.batch_size)
    )
    call_passes = more_calls * student.call_passes
    only_forward = replace(rolled, graded_passes=0.0)
    rolling = layout.traffic(only_forward, settings, passes=call_passes)
    critic_traffic = rolling.plus(layout.traffic(critic, settings))
    student_traffic = (
        layout.traffic(rolled, settings, passes=call_passes)
        .plus(rolling, rollouts - 1.0)
        .plus(layout.traffic(replace(own_look, weights=critic.weights), settings))
        .plus(layout.traffic(teacher, settings), 1.0 + guided)
    )
    share, micro_batches = 1.0 / preset.distill.critic_per_student, layout.micro_batches(settings)

    looked_at = rolled.forward.held_bytes + max(
        own_look.forward.peak_bytes, teacher.forward.peak_bytes, decode.peak_bytes
    )
    working = max(critic.peak_bytes, rolled.peak_bytes, looked_at)
    return replace(
        _plan(
            setup,
            "distill",
            settings,
            trained=[rolled.weights, critic.weights],
            frozen=[teacher.weights],
            frozen_bytes=decoder_bytes,
            working={"KV cache": student.cache_bytes, "activations": working - student.cache_bytes},
            work=Work().plus(every.plus(some, share), micro_batches),
            traffic=Traffic().plus(critic_traffic.plus(student_traffic, share), micro_batches),
            updated=critic.weights.trained + share * rolled.weights.trained,
            num_steps=Distillation.of(preset).num_steps,
        ),
        teacher=preset.distill.teacher_preset,
    )


def mean_last_exit(num_calls: int, gpus: int) -> float:
    """The mean of the last exit (from 0) that any GPU draws: all make as many calls as the one that makes most.

    Each draws uniformly: the sum over k of P(largest >= k) = 1 - (k / num_calls)^gpus.
    """
    return sum(1.0 - (k / num_calls) ** gpus for k in range(1, num_calls))


def guided_share(preset: Preset) -> float:
    """The share of the noise levels of the distillation at which the teacher is guided, in 10 000 equal parts."""
    schedule: FlowSchedule = preset.schedule.flow()
    t = schedule.shift_uniform((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000)
    return float((Distillation.of(preset).guidance().scale(t) != 1.0).double().mean())


def _spec(setup: Setup, settings: StageSettings) -> NetworkSpec:
    return NetworkSpec(
        model=setup.preset.model,
        rank=setup.preset.lora.rank if setup.adapters else None,
        weights_bf16=setup.layout.gathers_bf16(settings),
        recompute=settings.recompute,
    )


def _teacher_model(preset: Preset) -> ModelPreset:
    named = preset.distill.teacher_preset
    return preset.model if named is None else load_preset(named).model


def _plan(
    setup: Setup,
    name: StageName,
    settings: StageSettings,
    *,
    trained: list[Weights],
    frozen: list[Weights] | None = None,
    frozen_bytes: float = 0.0,
    working: dict[str, float],
    work: Work,
    traffic: Traffic,
    updated: float,
    num_steps: int,
) -> StagePlan:
    """Put together what a GPU holds; ``updated``: weights that a step updates on the average."""
    layout, frozen = setup.layout, frozen or []
    stored = _stored(setup, settings, trained=trained, frozen=frozen)
    stored["frozen networks"] += frozen_bytes
    memory = {
        **stored,
        "gathered weights": layout.gathered_bytes([*trained, *frozen], settings),
        **working,
    }
    memory["reserve"] = RESERVE_BYTES + FRAGMENTED * sum(memory.values())
    return StagePlan(
        name=name,
        settings=settings,
        num_steps=num_steps,
        weights=sum(weights.total for weights in (*trained, *frozen)),
        trained=sum(weights.trained for weights in trained),
        memory={what: size for what, size in memory.items() if size},
        micro_batches=layout.micro_batches(settings),
        step=step_time(work, traffic, updated, layout, settings),
        capacity=layout.gpu.memory_gib * GIB,
    )


def _stored(
    setup: Setup, settings: StageSettings, *, trained: list[Weights], frozen: list[Weights] | None = None
) -> dict[str, float]:
    """Bytes of what stays on a GPU from step to step. trained: the one whose average is kept comes first."""
    stored = setup.layout.stored_bytes
    num_trained = sum(weights.trained for weights in trained)
    return {
        "parameters": stored(sum(weights.total for weights in trained)),
        "gradients": stored(num_trained),
        "optimiser": stored(num_trained, MOMENTS * FP32),
        "average": stored(trained[0].trained) if settings.ema_decay is not None else 0.0,
        "frozen networks": setup.layout.frozen_bytes(
            sum(weights.total for weights in frozen or []), settings
        ),
    }
