"""The starting point of a teacher without a public base: its first answer is nearly right, and it is seeded."""

from __future__ import annotations

import torch

from lipforcing_core.diffusion.schedule import add_noise
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.training.initial import start_at_reference
from tests.training.conftest import tiny_preset

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


def test_what_is_scaled_and_by_how_much() -> None:
    """Everything that is not carried is a known share of the ordinary initialisation."""
    preset = tiny_preset()
    config = preset.model.config()
    plain = WanTransformer(config).init_weights(7).state_dict()
    ours = start_at_reference(WanTransformer(config), 7).state_dict()
    carried, channels = 12, 16
    embed, usual = ours["patch_embedding.weight"], plain["patch_embedding.weight"]
    torch.testing.assert_close(embed[2 * carried :, channels:], 0.5 * usual[2 * carried :, channels:])
    torch.testing.assert_close(
        embed[: 2 * carried, 2 * channels :], 0.25 * usual[: 2 * carried, 2 * channels :]
    )
    assert not embed[2 * carried :, :channels].any()
    written = torch.zeros_like(embed[: 2 * carried, : 2 * channels])
    head = torch.zeros_like(ours["head.head.weight"])
    for index in range(carried):  # one patch holds 16 channels, so all are of its first corner
        written[index, index, 0, 0, 0] = 1
        written[carried + index, channels + index, 0, 0, 0] = 1
        head[index, index], head[index, carried + index] = 0.9, -0.9
    torch.testing.assert_close(embed[: 2 * carried, : 2 * channels], written)
    torch.testing.assert_close(ours["head.head.weight"], head)
    shares = {"attn.o.weight": 0.1, "ffn.2.weight": 0.1, "time_embedding.2.weight": 0.3}
    for name, value in ours.items():
        if name.startswith(("patch_embedding.weight", "head.head.weight")):
            continue
        share = next((share for end, share in shares.items() if name.endswith(end)), 1.0)
        if name.startswith("audio_cond_projs.") and name.endswith("weight"):
            share = 0.3
        torch.testing.assert_close(value, share * plain[name])


def test_a_wide_network_carries_the_whole_patch() -> None:
    values = tiny_preset().model_dump()
    values["model"] |= {"dim": 136, "num_heads": 2}
    config = Preset.model_validate(values).model.config()
    model = start_at_reference(WanTransformer(config), 0)
    head = model.head.head.weight
    assert torch.equal(head[:, :64], 0.9 * torch.eye(64))
    assert torch.equal(head[:, 64:128], -0.9 * torch.eye(64))
    assert not head[:, 128:].any()
    embed = model.patch_embedding.weight
    for index in (0, 17, 35, 63):
        place, channel = divmod(index, 16)
        row, column = divmod(place, 2)
        assert embed[index, :16].nonzero().tolist() == [[channel, 0, row, column]]
        assert embed[64 + index, 16:32].nonzero().tolist() == [[channel, 0, row, column]]
