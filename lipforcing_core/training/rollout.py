"""Self-Forcing rollout: the student generates chunk by chunk on its own past, as it will when it streams (D.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.diffusion.schedule import T_MAX
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.training.draws import RolloutDraws
from lipforcing_core.training.networks import ChunkStudent


def roll_out(
    student: ChunkStudent[Any, Any],
    conditions: Conditions,
    draws: RolloutDraws,
    *,
    t_list: Sequence[float],
    with_grad: bool,
    idle_calls: int = 0,
) -> Tensor:
    """Latents ``[B, C, T, H, W]`` of the student, ended at the drawn call of ``t_list``.

    Of the calls of a chunk only the one at the exit has a gradient, and the past it attends to has none: it is a
    snapshot of what the store calls at t = 0 left, and they run without. The last chunk is not stored, since nothing
    follows. As in the released training the initial noise is scaled by the largest time, 0.999.

    idle_calls: calls of the student before those of each chunk, to no effect, while other workers make theirs.
    """
    noise = T_MAX * draws.noise_BCTHW
    batch, _, num_latents, height, width = noise.shape
    with torch.set_grad_enabled(with_grad):
        encoded = student.encode_conditions(conditions)
    cache = student.new_cache(batch, height, width)
    outputs, first_time = [], torch.tensor(t_list[0], dtype=torch.float64, device=noise.device)
    for (start, stop), renoise in zip(student.chunks(num_latents), draws.renoise, strict=True):
        chunk, past = encoded.chunk(start, stop), cache.snapshot()
        with torch.no_grad():
            for _ in range(idle_calls):
                student.denoise_chunk(noise[:, :, start:stop], first_time, chunk, past)
        x0 = few_step_chunk(
            student,
            chunk,
            past,
            t_list=t_list,
            noise=noise[:, :, start:stop],
            renoise=renoise,
            exit_step=draws.exit_step,
            grad=with_grad,
        )
        outputs.append(x0)
        if stop < num_latents:
            with torch.no_grad():
                student.store_chunk(x0.detach(), chunk, cache)
    return torch.cat(outputs, dim=2)
