"""Distribution matching: teacher and critic look at a noised rollout, and their difference is its gradient (D.5).

The teacher (frozen) is guided in the sync window, the critic (trained to denoise what the student makes) never.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lipforcing_core.diffusion.guidance import guided_velocity
from lipforcing_core.diffusion.schedule import GuidanceLaw, add_noise, x0_from_velocity
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.training.draws import MatchingDraws
from lipforcing_core.training.networks import VelocityNetwork
from lipforcing_core.training.precision import ComputePrecision, compute_precision

EPSILON = 1e-6
"""Keeps the normaliser above 0 where the rollout is exactly what the teacher predicts."""


def critic_loss(
    critic: VelocityNetwork,
    rollout_BCTHW: Tensor,
    conditions: Conditions,
    draws: MatchingDraws,
    *,
    objective: Literal["x0", "flow"],
    precision: ComputePrecision,
) -> Tensor:
    """Mean squared error of the critic on a noised rollout, without guidance (a scalar).

    objective: of x0_hat, as released, or of the velocity, as in Self-Forcing.
    """
    x0, noise = rollout_BCTHW.detach(), draws.noise_BCTHW
    x_t = add_noise(x0, noise, draws.t_B)
    with compute_precision(precision, x_t.device):
        velocity = critic(x_t, draws.t_B, critic.encode_conditions(conditions)).float()
    if objective == "flow":
        return (velocity - (noise - x0)).square().mean()
    return (x0_from_velocity(x_t, velocity, draws.t_B) - x0).square().mean()


def rollout_loss(
    rollout_BCTHW: Tensor,
    critic: VelocityNetwork,
    teacher: VelocityNetwork,
    conditions: Conditions,
    negative_text_BLD: Tensor,
    draws: MatchingDraws,
    *,
    guidance: GuidanceLaw,
    precision: ComputePrecision,
    always_guide: bool = False,
) -> Tensor:
    """The distribution matching loss ``[B]`` of a rollout; gradients reach the rollout alone.

    always_guide: as for ``teacher_prediction``.
    """
    x_t = add_noise(rollout_BCTHW.detach(), draws.noise_BCTHW, draws.t_B)
    fake = critic_prediction(critic, x_t, draws.t_B, conditions, precision=precision)
    real = teacher_prediction(
        teacher,
        x_t,
        draws.t_B,
        conditions,
        negative_text_BLD,
        guidance=guidance,
        precision=precision,
        always_guide=always_guide,
    )
    return matching_loss(rollout_BCTHW, fake=fake, real=real)


def matching_loss(rollout_BCTHW: Tensor, *, fake: Tensor, real: Tensor, epsilon: float = EPSILON) -> Tensor:
    """0.5 mean (X - sg(X - (fake - real) / n))^2 of each sample ``[B]``, n = mean|X - real| + epsilon (method D.5).

    fake, real: the x0 predictions of critic and teacher. The gradient with respect to X is (fake - real) / (n x
    elements of a sample).
    """
    every = (1, 2, 3, 4)
    x0 = rollout_BCTHW.detach()
    size = (x0 - real).abs().mean(dim=every, keepdim=True) + epsilon
    target = x0 - (fake - real) / size
    return 0.5 * (rollout_BCTHW - target.detach()).square().mean(dim=every)


@torch.no_grad()
def teacher_prediction(
    teacher: VelocityNetwork,
    x_t: Tensor,
    t_B: Tensor,
    conditions: Conditions,
    negative_text_BLD: Tensor,
    *,
    guidance: GuidanceLaw,
    precision: ComputePrecision,
    always_guide: bool = False,
) -> Tensor:
    """The teacher's x0, guided where the law says so, without gradient (method D.5, step 4.3).

    The unconditional side has the empty prompt and no audio; its pass is made for the guided samples alone, which
    changes nothing in the result. always_guide: also where there is none, since another worker has some.
    """
    with compute_precision(precision, x_t.device):
        velocity = guided_velocity(
            teacher,
            x_t,
            t_B,
            teacher.encode_conditions(conditions),
            teacher.encode_conditions(conditions.null(negative_text_BLD)),
            guidance.scale(t_B.cpu()),
            always=always_guide,
        )
    return x0_from_velocity(x_t, velocity.float(), t_B)


@torch.no_grad()
def critic_prediction(
    critic: VelocityNetwork, x_t: Tensor, t_B: Tensor, conditions: Conditions, *, precision: ComputePrecision
) -> Tensor:
    """The critic's x0, never guided and without gradient."""
    with compute_precision(precision, x_t.device):
        velocity = critic(x_t, t_B, critic.encode_conditions(conditions))
    return x0_from_velocity(x_t, velocity.float(), t_B)
