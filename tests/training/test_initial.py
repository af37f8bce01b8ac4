"""The starting point of a teacher without a public base: its first answer is nearly right, and it is seeded."""

from __future__ import annotations

import torch

from lipforcing_core.diffusion.schedule import add_noise
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.training.initial import start_at_reference

CONFIG = DiTConfig(dim=160, ffn_dim=64, num_heads=4, num_layers=4, text_dim=8, text_len=4, audio_dim=16)


def test_first_answer_is_the_way_from_the_reference_to_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    reference, noise = draw(2, 16, 1, 8, 8), draw(2, 16, 3, 8, 8)
    still = reference.expand_as(noise)
    model = start_at_reference(WanTransformer(CONFIG), seed=0)
    conditions = Conditions(
        text_BLD=draw(2, 4, 8),
        audio_BND=draw(2, 9, 16),
        reference_BC1HW=reference,
        keep_mask_HW=torch.ones(8, 8),
        masked_video_BCTHW=still,
        reference_sequence_BCTHW=still,
    )
    with torch.no_grad():
        velocity = model(add_noise(still, noise, 0.9), 0.9, model.encode_conditions(conditions))
    truth = noise - still
    assert (velocity - truth).square().mean() < 0.25 * truth.square().mean()


def test_is_seeded() -> None:
    first, again, other = (
        start_at_reference(WanTransformer(CONFIG), seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.0.self_attn.q.weight"], other["blocks.0.self_attn.q.weight"])


def test_a_narrow_network_carries_what_fits() -> None:
    narrow = DiTConfig(dim=24, ffn_dim=32, num_heads=2, num_layers=4, text_dim=8, text_len=4, audio_dim=16)
    model = start_at_reference(WanTransformer(narrow), seed=0)
    head = model.head.head.weight
    assert int((head != 0).sum()) == 24
