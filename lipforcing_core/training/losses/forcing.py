"""Diffusion Forcing: every chunk of a real clip at a noise level of its own (method D.4).

All latents of a chunk share t, drawn from the student's own levels and 0; a chunk at t = 0 is clean
context, as the cache holds it at inference, and gives no gradient since x0_hat - x0 = -t (v_hat - v).
"""

from __future__ import annotations

from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.presets.schema import ForcingSettings
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.draws import ForcingDraws
from lipforcing_core.training.losses.flow import weigh_mouth
from lipforcing_core.training.networks import ClipStudent
from lipforcing_core.training.precision import compute_precision


def forcing_loss(
    student: ClipStudent, batch: Batch, prompts: Prompts, draws: ForcingDraws, *, settings: ForcingSettings
) -> Tensor:
    """The training loss of one batch (a scalar).

    ``settings.objective``: ``x0``, as released, is 0.5 x the mean squared error of x0_hat; ``flow``, as the paper
    says, is the mean squared error of the velocity.
    """
    x0, noise, t_BT = batch.latents_BCTHW, draws.noise_BCTHW, draws.t_BT
    x_t = add_noise(x0, noise, t_BT)
    with compute_precision(settings.precision, x_t.device):
        encoded = student.encode_conditions(batch.conditions(prompts.text_BLD))
        velocity = student.forward_full(x_t, t_BT, encoded)
    if settings.objective == "flow":
        error = (velocity.float() - (noise - x0)).square()
        return weigh_mouth(error, batch.keep_mask_HW, settings.mouth_weight).mean()
    error = (x0_from_velocity(x_t, velocity.float(), t_BT) - x0).square()
    return 0.5 * weigh_mouth(error, batch.keep_mask_HW, settings.mouth_weight).mean()
