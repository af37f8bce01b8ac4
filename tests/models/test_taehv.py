"""The tiny autoencoder: both paddings, clamping, larger checkpoints."""

from __future__ import annotations

import pytest
import torch

from lipforcing_core.models.codecs.taehv import TaehvCodec, TinyAutoencoder, trim_time_kernel
from tests.models.tiny_codecs import TAEHV, random_latents, random_video, tiny_autoencoder


@pytest.fixture(scope="module")
def codec() -> TaehvCodec:
    return TaehvCodec(tiny_autoencoder(), "tiny")


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 6, 8, 9])
def test_both_paddings_repeat_an_edge_frame(frames: int) -> None:
    network, video = tiny_autoencoder(), (random_video(frames=frames) + 1) / 2
    missing = -frames % 4
    front = torch.cat([video[:, :, :1]] * missing + [video], dim=2)
    end = torch.cat([video] + [video[:, :, -1:]] * missing, dim=2)
    assert torch.equal(network.encode(video), network.encode(front))
    assert torch.equal(network.encode(video, padding="end"), network.encode(end))


def test_pixels_are_clamped() -> None:
    network = tiny_autoencoder()
    with torch.no_grad():
        network.decoder[-1].weight.mul_(1000)
    pixels = network.decode(random_latents())
    assert (pixels.min(), pixels.max()) == (0, 1)
    pixels = TaehvCodec(network, "loud").decode(random_latents())
    assert (pixels.min(), pixels.max()) == (-1, 1)


def test_large_latents_are_clamped_softly(codec: TaehvCodec) -> None:
    latent = random_latents().sign() * 100
    torch.testing.assert_close(codec.decode(latent), codec.decode(2 * latent))
    small = random_latents() * 0.1
    assert not torch.equal(codec.decode(small), codec.decode(2 * small))


def test_bfloat16_stays_close(codec: TaehvCodec) -> None:
    half = TaehvCodec(tiny_autoencoder().bfloat16(), "half")
    video, latent = random_video(), random_latents()
    for got, want in (
        (half.encode(video), codec.encode(video)),
        (half.decode(latent), codec.decode(latent)),
    ):
        assert got.dtype == torch.float32
        assert 0 < (got - want).norm() / want.norm() < 0.02


def test_a_larger_time_kernel_keeps_its_last_channels() -> None:
    wanted = {name: value.shape for name, value in TinyAutoencoder(TAEHV).state_dict().items()}
    name = "decoder.7.conv.weight"
    assert wanted[name] == (16, 16, 1, 1)
    stored = torch.arange(2 * 16 * 16.0).reshape(32, 16, 1, 1)
    assert torch.equal(trim_time_kernel(name, stored, wanted[name]), stored[16:])
    for other, tensor in (
        (name, stored[:16]),  # fits
        (name, stored[:8]),  # too small
        (name, stored[:, :8]),  # of another width
        ("decoder.3.conv.0.weight", torch.zeros(32, 32, 3, 3)),  # no time growth
        ("encoder.2.conv.weight", torch.zeros(16, 16, 1, 1)),
    ):
        assert trim_time_kernel(other, tensor, wanted[other]) is tensor
