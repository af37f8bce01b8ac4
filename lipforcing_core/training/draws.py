"""The random draws of a training step as values: one function makes them, the losses use them.

Every draw is a function of (seed, stage, step) and of shapes, made on the CPU and then moved, so it is the same on
every machine, after every restart, and on every device. A loss that is given its draws has no chance left in it.

Letters: B batch, C channels, T latent frames, H W latent size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule

Device = torch.device | str
Chunks = Sequence[tuple[int, int]]
D = TypeVar("D", bound="_Draws")


class _Draws:
    def to(self: D, device: Device) -> D:
        """The same values on a device."""
        values = {field.name: _moved(getattr(self, field.name), device) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **values)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class TeacherDraws(_Draws):
    """Of one flow-matching batch: noise level ``[B]``, noise ``[B, C, T, H, W]``, who loses text or audio ``[B]``."""

    t_B: Tensor
    noise_BCTHW: Tensor
    text_dropped_B: Tensor
    audio_dropped_B: Tensor


@dataclass(frozen=True, kw_only=True)
class ForcingDraws(_Draws):
    """Of one Diffusion Forcing batch: noise level of every latent ``[B, T]`` and noise ``[B, C, T, H, W]``."""

    t_BT: Tensor
    noise_BCTHW: Tensor


@dataclass(frozen=True, kw_only=True)
class RolloutDraws(_Draws):
    """Of one Self-Forcing rollout.

    noise_BCTHW: standard normal, from which all chunks start. exit_step: the call at which every chunk ends, from 0.
    renoise: for every chunk the noise after each of its first ``exit_step`` calls.
    """

    noise_BCTHW: Tensor
    exit_step: int
    renoise: tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, kw_only=True)
class MatchingDraws(_Draws):
    """Noise level ``[B]`` and noise ``[B, C, T, H, W]`` at which critic and teacher look at a rollout."""

    t_B: Tensor
    noise_BCTHW: Tensor


@dataclass(frozen=True, kw_only=True)
class RoleDraws(_Draws):
    """What one network's turn in the distillation draws: a rollout, and where it is looked at."""

    rollout: RolloutDraws
    matching: MatchingDraws


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step of one stage: the same on every machine and after every restart."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def teacher_draws(
    generator: torch.Generator,
    shape: Sequence[int],
    *,
    schedule: FlowSchedule,
    text_dropout: float,
    audio_dropout: float,
) -> TeacherDraws:
    """Draws for latents of this shape, ``[B, C, T, H, W]``; the two dropouts are independent."""
    size = shape[0]
    return TeacherDraws(
        t_B=schedule.sample_t(size, generator),
        noise_BCTHW=torch.randn(*shape, generator=generator),
        text_dropped_B=dropped(torch.rand(size, generator=generator), text_dropout),
        audio_dropped_B=dropped(torch.rand(size, generator=generator), audio_dropout),
    )


def dropped(uniform_B: Tensor, probability: float) -> Tensor:
    """Which samples lose a condition: those whose uniform draw is below the probability."""
    return uniform_B < probability


def forcing_draws(
    generator: torch.Generator, shape: Sequence[int], *, t_list: Sequence[float], chunks: Chunks
) -> ForcingDraws:
    """Draws for latents of this shape: uniform over ``t_list`` (0 included), one level per chunk."""
    index_BK = torch.randint(len(t_list), (shape[0], len(chunks)), generator=generator)
    return ForcingDraws(
        t_BT=chunk_levels(index_BK, t_list=t_list, chunks=chunks),
        noise_BCTHW=torch.randn(*shape, generator=generator),
    )


def chunk_levels(index_BK: Tensor, *, t_list: Sequence[float], chunks: Chunks) -> Tensor:
    """The noise level of every latent ``[B, T]`` from a position in ``t_list`` for every chunk ``[B, chunks]``."""
    lengths = torch.tensor([stop - start for start, stop in chunks])
    return torch.tensor(t_list)[index_BK].repeat_interleave(lengths, dim=1)


def role_draws(
    generator: torch.Generator,
    shape: Sequence[int],
    *,
    chunks: Chunks,
    num_calls: int,
    schedule: FlowSchedule,
) -> RoleDraws:
    """Draws for one rollout of this shape in ``num_calls`` calls a chunk, and for the look at it."""
    rollout = rollout_draws(generator, shape, chunks=chunks, num_calls=num_calls)
    t_B = schedule.sample_t(shape[0], generator)
    noise = torch.randn(*shape, generator=generator)
    return RoleDraws(rollout=rollout, matching=MatchingDraws(t_B=t_B, noise_BCTHW=noise))


def rollout_draws(
    generator: torch.Generator, shape: Sequence[int], *, chunks: Chunks, num_calls: int
) -> RolloutDraws:
    """Draws for one rollout: the exit is uniform over the calls, and one for all chunks."""
    noise = torch.randn(*shape, generator=generator)
    exit_step = int(torch.randint(num_calls, (), generator=generator))
    batch, channels, _, *size = shape
    renoise = tuple(
        tuple(
            torch.randn(batch, channels, stop - start, *size, generator=generator) for _ in range(exit_step)
        )
        for start, stop in chunks
    )
    return RolloutDraws(noise_BCTHW=noise, exit_step=exit_step, renoise=renoise)


def _moved(value: Any, device: Device) -> Any:
    if isinstance(value, Tensor | _Draws):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value
