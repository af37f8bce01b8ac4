"""The weights from which a teacher without a public base starts."""

from __future__ import annotations

import torch

from lipforcing_core.models.wan import WanTransformer

_EXTRA_GAIN = 0.25  # what the patch embedding of the other channels may add to the carried ones
_BRANCH_GAIN = 0.1  # residual branches start small, so that what is carried arrives
_AUDIO_GAIN = 0.3
_TIME_GAIN = 0.3
_HEAD_GAIN = 0.9


@torch.no_grad()
def start_at_reference(model: WanTransformer, seed: int) -> WanTransformer:
    """Seeded weights whose first answer is "the noisy latent minus the reference": close to the velocity at high noise.

    A small network of the V2V layout spends its first hundreds of steps on learning to carry the noisy latent and
    the reference from its input to its output. Here the patch embedding writes each of the two into channels of its
    own, the residual branches start small and the head subtracts one from the other. On puppets (nano, mouth
    weight 2) the loss starts at 1.6 instead of 2.8. Nothing is added to the architecture, and every weight stays
    trainable. A network narrower than two patches carries as many values of a patch as fit.
    """
    model.init_weights(seed)
    config = model.config
    channels, (_, patch_h, patch_w) = config.out_channels, config.patch_size
    carried = min(channels * patch_h * patch_w, config.dim // 2)
    embed, head = model.patch_embedding.weight, model.head.head.weight
    embed.mul_(2 * _EXTRA_GAIN)
    embed[: 2 * carried] *= 0.5
    embed[:, :channels] = 0
    embed[: 2 * carried, channels : 2 * channels] = 0
    head.zero_()
    for index in range(carried):  # in the order of the head's outputs: row, column, channel
        place, channel = divmod(index, channels)
        row, column = divmod(place, patch_w)
        embed[index, channel, 0, row, column] = 1
        embed[carried + index, channels + channel, 0, row, column] = 1
        head[index, index] = _HEAD_GAIN
        head[index, carried + index] = -_HEAD_GAIN
    for name, parameter in model.named_parameters():
        if name.endswith(("attn.o.weight", "ffn.2.weight")):
            parameter.mul_(_BRANCH_GAIN)
        elif name.startswith("audio_cond_projs.") and name.endswith("weight"):
            parameter.mul_(_AUDIO_GAIN)
    model.get_parameter("time_embedding.2.weight").mul_(_TIME_GAIN)
    return model
