"""The two causal codecs in small, with random weights, and clips for them: 21 frames of 24 x 16 pixels, 6 latents."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from lipforcing_core.models.codecs.taehv import TaehvConfig, TinyAutoencoder
from lipforcing_core.models.codecs.wan_vae import WanVAE, WanVAEConfig

VAE = WanVAEConfig(
    dim=8,
    z_dim=4,
    dim_mult=(1, 2, 2, 2),
    num_res_blocks=1,
    latent_mean=(0.5, -0.25, 0.0, 1.0),
    latent_std=(2.0, 0.5, 1.0, 0.25),
)
TAEHV = TaehvConfig(latent_channels=4, encoder_width=8, decoder_widths=(16, 12, 8, 8))
FRAMES, LATENTS, CHANNELS = 21, 6, 4


def tiny_vae() -> WanVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanVAE(VAE).eval()


def tiny_autoencoder() -> TinyAutoencoder:
    """Random weights whose pixels lie within [0, 1] and differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TinyAutoencoder(TAEHV).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.mul_(2.0 if name.endswith("weight") else 1.0)
        network.decoder[-1].weight.mul_(0.2)
        network.decoder[-1].bias.fill_(0.5)
    return network


def random_video(*, batch: int = 1, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return torch.rand((batch, 3, frames, 16, 24), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_latents(*, batch: int = 1, seed: int = 2) -> Tensor:
    return torch.randn((batch, CHANNELS, LATENTS, 2, 3), generator=torch.Generator().manual_seed(seed))


def cut(clip: Tensor, sizes: list[int]) -> list[Tensor]:
    return [clip[:, :, start:stop] for start, stop in pairwise(accumulate(sizes, initial=0))]
