"""The teacher's loss: flow matching with a weight on the mouth (method D.3).

L = w(t) mean( M (v - (eps - x0))^2 ) with M = ``mouth_weight`` inside the latent mask. For guidance the text is
replaced by the empty prompt and the audio by zeros, independently and per sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule, add_noise
from lipforcing_core.presets.schema import TeacherSettings
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.draws import TeacherDraws
from lipforcing_core.training.networks import VelocityNetwork
from lipforcing_core.training.precision import compute_precision

GRID_STEPS = 1000
"""Steps of the grid that the bell-shaped weights are defined on."""


def flow_loss(
    network: VelocityNetwork,
    batch: Batch,
    prompts: Prompts,
    draws: TeacherDraws,
    *,
    shift: float,
    settings: TeacherSettings,
) -> Tensor:
    """The training loss of one batch (a scalar). ``shift`` is that of the noise schedule."""
    x0, t_B = batch.latents_BCTHW, draws.t_B
    text_BLD = torch.where(draws.text_dropped_B.view(-1, 1, 1), prompts.negative_text_BLD, prompts.text_BLD)
    conditions = batch.silenced(draws.audio_dropped_B).conditions(text_BLD)
    x_t = add_noise(x0, draws.noise_BCTHW, t_B)
    with compute_precision(settings.precision, x_t.device):
        velocity = network(x_t, t_B, network.encode_conditions(conditions))
    error = (velocity.float() - (draws.noise_BCTHW - x0)).square()
    weight_B = torch.ones_like(t_B)
    if settings.timestep_weighting == "gaussian":
        weight_B = FlowSchedule(shift=shift, num_steps=GRID_STEPS).loss_weights(t_B)
    return (weight_B * weigh_mouth(error, batch.keep_mask_HW, settings.mouth_weight)).mean()


def weigh_mouth(error_BCTHW: Tensor, keep_mask_HW: Tensor, mouth_weight: float) -> Tensor:
    """Mean error of each sample ``[B]``, with ``mouth_weight`` where the mask says generate (D.3: M = 2)."""
    weight_HW = torch.where(keep_mask_HW > 0.5, 1.0, mouth_weight).to(error_BCTHW)
    return (error_BCTHW * weight_HW).mean(dim=(1, 2, 3, 4))
