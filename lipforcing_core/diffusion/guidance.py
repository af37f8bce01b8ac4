"""Classifier-free guidance, with an unconditional pass only for the samples that need it (H.3 #18)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipforcing_core.models.conditions import EncodedConditions

VelocityModel = Callable[[Tensor, Tensor, EncodedConditions], Tensor]
"""``(x_BCTHW, t_B, encoded) -> velocity``, for example a ``WanTransformer``."""


def combine(conditional: Tensor, unconditional: Tensor, scale: Tensor | float) -> Tensor:
    """unconditional + scale (conditional - unconditional), per sample; exact at scale 1 up to rounding."""
    if isinstance(scale, Tensor):
        scale = scale.to(conditional).view(-1, *[1] * (conditional.ndim - 1))
    return unconditional + scale * (conditional - unconditional)


def guided_velocity(
    model: VelocityModel,
    x_BCTHW: Tensor,
    t_B: Tensor,
    encoded: EncodedConditions,
    null_encoded: EncodedConditions,
    scale_B: Tensor,
    *,
    always: bool = False,
) -> Tensor:
    """Guided velocity of a batch with one noise level and one guidance scale per sample.

    Samples with scale 1 get exactly the conditional prediction and no unconditional pass; the rest share one. The
    scales are read on the host, so keep them there. Linear in x0 as well: guiding velocities or x0 is the same.

    always: make an unconditional pass, to no effect, where no sample needs one, for networks of several workers.
    """
    velocity = model(x_BCTHW, t_B, encoded)
    guided = torch.nonzero(scale_B != 1.0).flatten()
    if len(guided) == 0:
        if always:
            model(x_BCTHW[:1], t_B[:1], null_encoded.select([0]))
        return velocity
    at = guided.to(x_BCTHW.device)
    unconditional = model(x_BCTHW[at], t_B[guided.to(t_B.device)], null_encoded.select(at))
    return velocity.index_copy(
        0, at, combine(velocity[at], unconditional, scale_B[guided]).to(velocity.dtype)
    )
