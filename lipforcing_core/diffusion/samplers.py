"""From noise to latents: the teacher's Euler solver and the student's few-step chunk sampler.

Letters: B batch, C channels, T latent frames, H W latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.guidance import VelocityModel, guided_velocity
from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow, add_noise, x0_from_velocity
from lipforcing_core.models.conditions import EncodedConditions

P_contra = TypeVar("P_contra", contravariant=True)
P = TypeVar("P")


class ChunkDenoiser(Protocol[P_contra]):
    """A network that predicts the velocity of a chunk from its past, for example a ``CausalStudent``.

    The past is whatever the network takes as one: a ``KVCache``, a snapshot of it, or a stand-in's own kind.
    """

    def denoise_chunk(
        self, x_BCTHW: Tensor, t: Tensor, encoded: EncodedConditions, past: P_contra, /
    ) -> Tensor:
        """Velocity ``[B, C, T, H, W]`` of the chunk at noise level ``t``, without side effects."""
        ...


@torch.no_grad()
def euler_sample(
    model: VelocityModel,
    encoded: EncodedConditions,
    null_encoded: EncodedConditions | None,
    *,
    noise: Tensor,
    schedule: FlowSchedule = FlowSchedule(),  # noqa: B008 - frozen
    num_steps: int | None = None,
    guidance_scale: float = 1.0,
    window: SyncWindow | None = None,
) -> Tensor:
    """Solve the flow from ``noise`` ``[B, C, T, H, W]`` (t = 1) to latents with Euler steps on the shifted grid.

    ``num_steps`` overrides the schedule's. ``guidance_scale`` applies to every step; ``window`` instead applies its own
    scale to the steps inside it and none elsewhere (giving both is an error). Steps without guidance skip the
    unconditional pass. The state is kept in float32. Raises ``BadInputError`` if guidance is asked for without
    ``null_encoded``.
    """
    if window is not None and guidance_scale != 1.0:
        raise BadInputError("give either a guidance_scale for all steps or a sync window with its own scale")
    if null_encoded is None and (window is not None or guidance_scale != 1.0):
        raise BadInputError("guidance needs the unconditional conditions (Conditions.null)")
    if num_steps is not None:
        schedule = replace(schedule, num_steps=num_steps)
    batch = noise.shape[0]
    x = noise.float()
    times = schedule.timesteps
    for now, after in pairwise(times):
        t = now.expand(batch)
        scale = torch.full((batch,), guidance_scale) if window is None else window.scale(t)
        on_device = t.to(x.device)
        if null_encoded is None:
            velocity = model(x, on_device, encoded)
        else:
            velocity = guided_velocity(model, x, on_device, encoded, null_encoded, scale)
        x = x + velocity.float() * float(after - now)
    return x.to(noise.dtype)


def few_step_chunk(
    student: ChunkDenoiser[P],
    encoded_chunk: EncodedConditions,
    past: P,
    *,
    t_list: Sequence[float],
    noise: Tensor,
    generator: torch.Generator | None = None,
    renoise: Sequence[Tensor] | None = None,
    exit_step: int | None = None,
    grad: bool = False,
) -> Tensor:
    """Clean latents of the next chunk by a few calls at decreasing noise (method C.4); the past is only read.

    noise: ``[B, C, T, H, W]``, taken as the chunk at ``t_list[0]``.
    t_list: noise levels ending in 0, for example ``(0.999, 0.769, 0.0)``: one call for each but the last.
    generator: source of the fresh noise between calls; needed for more than one call unless ``renoise`` is given.
    renoise: that noise as values, shaped like ``noise``, one for each call but the last.
    exit_step: return the prediction of this call instead of the last (Self-Forcing's random exit, method D.5).
    grad: let gradients flow through the last call made; all earlier calls never have any.

    Follow it by ``student.store_chunk(x0, encoded_chunk, cache)``. Raises ``BadInputError`` for an unusable ``t_list``.
    """
    if len(t_list) < 2 or t_list[-1] != 0.0 or any(a <= b for a, b in pairwise(t_list)):
        raise BadInputError(f"t_list={tuple(t_list)} must decrease and end in 0")
    last = len(t_list) - 2 if exit_step is None else exit_step
    if not 0 <= last <= len(t_list) - 2:
        raise BadInputError(f"exit_step={exit_step} must be one of the {len(t_list) - 1} calls")
    if renoise is None:
        if last > 0 and generator is None:
            raise BadInputError("more than one call needs a generator for the fresh noise between calls")
    elif len(renoise) < last:
        raise BadInputError(f"{last} calls are followed by another, but renoise holds {len(renoise)} tensors")
    x = noise
    # a tensor: a compiled student would specialise on every number
    times = torch.tensor(t_list, dtype=torch.float64).to(noise.device)
    for call in range(last + 1):
        with torch.set_grad_enabled(grad and call == last):
            velocity = student.denoise_chunk(x, times[call], encoded_chunk, past)
            x0 = x0_from_velocity(x, velocity, t_list[call])
            if call < last:
                fresh = draw_noise(x0, generator) if renoise is None else renoise[call]
                x = add_noise(x0, fresh, t_list[call + 1])
    return x0


def draw_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise shaped like ``like``, drawn in float32 on the generator's device."""
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, device=device, dtype=torch.float32)
    return noise.to(dtype=like.dtype, device=like.device)
