"""Self-Forcing rollout: the student generates chunk by chunk on its own past, as it will when it streams (D.5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import Conditions


def roll_out(
    student: CausalStudent,
    conditions: Conditions,
    *,
    t_list: Sequence[float],
    generator: torch.Generator,
    with_grad: bool,
) -> Tensor:
    """Latents ``[B, C, T, H, W]`` of the student, ended at a random step of ``t_list``.

    One exit index is drawn for all chunks. Of the calls of a chunk only the one at the exit has a gradient, and
    the past it attends to has none: the store call at t = 0 runs without.
    """
    video = conditions.masked_video_BCTHW
    assert video is not None, "training batches always hold the masked video"
    batch, _, num_latents, height, width = video.shape
    noise = torch.randn(video.shape, generator=generator)
    exit_step = int(torch.randint(len(t_list) - 1, (), generator=generator))
    with torch.set_grad_enabled(with_grad):
        encoded = student.encode_conditions(conditions)
    cache = student.new_cache(batch, height, width)
    outputs = []
    for start, stop in student.window.chunks(num_latents):
        x0 = few_step_chunk(
            student,
            encoded.chunk(start, stop),
            cache,
            t_list=t_list,
            noise=noise[:, :, start:stop],
            generator=generator,
            exit_step=exit_step,
            grad=with_grad,
        )
        outputs.append(x0)
        if stop < num_latents:
            student.store_chunk(x0.detach(), encoded.chunk(start, stop), cache)
    return torch.cat(outputs, dim=2)
