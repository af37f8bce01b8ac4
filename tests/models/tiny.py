"""A transformer of a few thousand weights, and random conditions for it."""

from __future__ import annotations

import torch

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.window import WindowConfig

HEIGHT, WIDTH = 4, 6


def tiny_config(**changes: object) -> DiTConfig:
    settings: dict[str, object] = {
        "dim": 24,
        "ffn_dim": 40,
        "num_heads": 2,
        "num_layers": 4,
        "text_dim": 8,
        "text_len": 5,
        "audio_dim": 6,
        "in_channels": 17,
        "out_channels": 4,
        "freq_dim": 32,
    }
    return DiTConfig(**(settings | changes))  # type: ignore[arg-type]


def tiny_student(seed: int = 0, *, window: WindowConfig | None = None, **changes: object) -> CausalStudent:
    """A student with random weights everywhere, the output layer included."""
    model = CausalStudent(tiny_config(**changes), window or WindowConfig())
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator)
    torch.nn.init.normal_(model.head.head.weight, std=0.3, generator=generator)
    return model.eval()


def random_conditions(
    num_latents: int,
    *,
    batch: int = 2,
    seed: int = 1,
    starts_clip: bool = True,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Conditions:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Conditions(
        text_BLD=normal(batch, 5, 8),
        audio_BND=normal(batch, 4 * num_latents - (3 if starts_clip else 0), 6),
        reference_BC1HW=normal(batch, 4, 1, *size),
        keep_mask_HW=(normal(*size) > 0).float(),
        masked_video_BCTHW=normal(batch, 4, num_latents, *size),
        reference_sequence_BCTHW=normal(batch, 4, num_latents, *size),
    )


def random_latents(
    num_latents: int, *, batch: int = 2, seed: int = 2, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 4, num_latents, *size), generator=generator)
