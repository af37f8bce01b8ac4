"""The Wan VAE: precision, normalisation and settings of the published network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.wan_vae import WanVAE, WanVAECodec, WanVAEConfig
from tests.models.tiny_codecs import VAE, random_latents, random_video, tiny_vae


@pytest.fixture(scope="module")
def codec() -> WanVAECodec:
    return WanVAECodec(tiny_vae(), "tiny")


def test_pixels_are_clamped() -> None:
    network = tiny_vae()
    with torch.no_grad():
        conv = network.decoder.head[-1]
        conv.weight.mul_(100)
    pixels = WanVAECodec(network, "loud").decode(random_latents())
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert network.decode(random_latents()).abs().max() > 1


@torch.no_grad()
def test_official_precision_and_bfloat16_stay_close() -> None:
    video, latent = random_video(), random_latents()
    exact, network = tiny_vae(), tiny_vae()
    network.encoder.bfloat16()
    network.conv1.bfloat16()
    encoded = network.encode(video)
    assert encoded.dtype == torch.float32
    assert 0 < relative_error(encoded, exact.encode(video)) < 0.02
    assert torch.equal(network.decode(latent), exact.decode(latent))
    codec = WanVAECodec(network.bfloat16(), "half")
    assert codec.decode(latent).dtype == torch.float32
    assert 0 < relative_error(codec.decode(latent), exact.decode(latent)) < 0.02


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


def test_nearest_upsampling_needs_no_float32() -> None:
    x_NCHW = torch.randn((2, 3, 5, 7), generator=torch.Generator().manual_seed(9)).bfloat16()
    double = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
    assert torch.equal(double(x_NCHW), double(x_NCHW.float()).bfloat16())
    assert torch.equal(double(x_NCHW), x_NCHW.repeat_interleave(2, 2).repeat_interleave(2, 3))


@torch.no_grad()
def test_normalisation_survives_meta_construction_and_casts() -> None:
    with torch.device("meta"):
        network = WanVAE(VAE)
    network.load_state_dict(tiny_vae().state_dict(), assign=True)
    network = network.bfloat16().float()
    plain = WanVAE(WanVAEConfig(**(vars(VAE) | {"latent_mean": (0.0,) * 4, "latent_std": (1.0,) * 4})))
    plain.load_state_dict(network.state_dict())
    video, (mean, std) = random_video(frames=5), (VAE.latent_mean, VAE.latent_std)
    got = network.encode(video)
    for channel, raw in enumerate(plain.encode(video)[0]):
        torch.testing.assert_close(got[0, channel], (raw - mean[channel]) / std[channel])
    torch.testing.assert_close(network.decode(got), plain.decode(plain.encode(video)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"z_dim": 3}, {"temporal_downsample": (True, True)}])
def test_refuses_settings_that_contradict_each_other(change: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=r"needs? 3 values"):
        WanVAEConfig(**(vars(VAE) | change))


def test_a_codec_needs_the_stride_of_the_project() -> None:
    network = WanVAE(WanVAEConfig(**(vars(VAE) | {"temporal_downsample": (False, False, True)})))
    with pytest.raises(BadInputError, match="stride 4 x 8; the network has 2 x 8"):
        WanVAECodec(network, "short")


def test_attention_where_the_settings_ask_for_it() -> None:
    """Scales are counted as in the reference: the decoder's first level is 1/4, not 1/8."""
    network = WanVAE(WanVAEConfig(**(vars(VAE) | {"attn_scales": (0.25,)})))
    attending = {name.removesuffix(".to_qkv.bias") for name in network.state_dict() if "to_qkv.bias" in name}
    where = {"encoder.downsamples.5", "decoder.upsamples.1", "decoder.upsamples.3"}
    assert attending == where | {"encoder.middle.1", "decoder.middle.1"}
    assert network.encode(random_video(frames=5)).shape == (1, 4, 2, 2, 3)
