"""The Wan VAE: one pass and streams agree, nothing looks ahead, and the published numbers are kept."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor, nn

from lipforcing_core.errors import BadInputError
from lipforcing_core.models.causal_codec import FeatureCache
from lipforcing_core.models.wan_vae import WanVAE, WanVAECodec, WanVAEConfig

CONFIG = WanVAEConfig(
    dim=8,
    z_dim=4,
    dim_mult=(1, 2, 2, 2),
    num_res_blocks=1,
    latent_mean=(0.5, -0.25, 0.0, 1.0),
    latent_std=(2.0, 0.5, 1.0, 0.25),
)
FRAMES, LATENTS = 21, 6


def tiny_vae() -> WanVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanVAE(CONFIG).eval()


@pytest.fixture(scope="module")
def codec() -> WanVAECodec:
    return WanVAECodec(tiny_vae(), "tiny")


def random_video(*, batch: int = 1, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return torch.rand((batch, 3, frames, 16, 24), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_latents(*, batch: int = 1, seed: int = 2) -> Tensor:
    return torch.randn((batch, CONFIG.z_dim, LATENTS, 2, 3), generator=torch.Generator().manual_seed(seed))


def cut(clip: Tensor, sizes: list[int]) -> list[Tensor]:
    return [clip[:, :, start:stop] for start, stop in pairwise(accumulate(sizes, initial=0))]


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[21], [1, 4, 4, 4, 4, 4], [9, 12], [1, 20], [5, 4, 12]])
def test_encoding_in_any_pieces_equals_one_pass(codec: WanVAECodec, sizes: list[int]) -> None:
    video, network = random_video(), tiny_vae()
    cache: FeatureCache = {}
    one_pass = network.encode(video)
    assert one_pass.shape == (1, 4, LATENTS, 2, 3)
    pieces = [network.encode(part, cache) for part in cut(video, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = codec.stream_encoder()
    pushed = torch.cat([stream.push(part) for part in cut(video, sizes)], dim=2)
    assert torch.equal(pushed, codec.encode(video))
    torch.testing.assert_close(pushed, one_pass, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[6], [1] * 6, [3, 3], [1, 5], [2, 1, 3]])
def test_decoding_in_any_pieces_equals_one_pass(codec: WanVAECodec, sizes: list[int]) -> None:
    latent, network = random_latents(), tiny_vae()
    cache: FeatureCache = {}
    one_pass = network.decode(latent)
    assert one_pass.shape == (1, 3, FRAMES, 16, 24)
    pieces = [network.decode(part, cache) for part in cut(latent, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = codec.stream_decoder()
    shown = [stream.push(part) for part in cut(latent, sizes)]
    assert [part.shape[2] for part in shown] == [4 * sizes[0] - 3, *(4 * size for size in sizes[1:])]
    pushed = torch.cat(shown, dim=2)
    assert torch.equal(pushed, codec.decode(latent))
    torch.testing.assert_close(pushed, one_pass.clamp(-1, 1), rtol=1e-5, atol=1e-5)


def test_two_streams_do_not_disturb_each_other(codec: WanVAECodec) -> None:
    videos = [random_video(seed=seed) for seed in (3, 4)]
    encoders = [codec.stream_encoder(), codec.stream_encoder()]
    coded: list[list[Tensor]] = [[], []]
    for pair in zip(*(cut(video, [9, 12]) for video in videos), strict=True):
        for one, encoder, part in zip(coded, encoders, pair, strict=True):
            one.append(encoder.push(part))
    for one, video in zip(coded, videos, strict=True):
        assert torch.equal(torch.cat(one, dim=2), codec.encode(video))
    latents = [random_latents(seed=seed) for seed in (5, 6)]
    decoders = [codec.stream_decoder(), codec.stream_decoder()]
    shown: list[list[Tensor]] = [[], []]
    for t in range(LATENTS):
        for one, decoder, latent in zip(shown, decoders, latents, strict=True):
            one.append(decoder.push(latent[:, :, t : t + 1]))
    for one, latent in zip(shown, latents, strict=True):
        assert torch.equal(torch.cat(one, dim=2), codec.decode(latent))


@torch.no_grad()
def test_nothing_looks_ahead() -> None:
    network, video, latent = tiny_vae(), random_video(), random_latents()
    changed = torch.cat([video[:, :, :9], random_video(frames=12, seed=7)], dim=2)
    before, after = network.encode(video), network.encode(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3], after[:, :, 3])
    changed = torch.cat([latent[:, :, :3], random_latents(seed=8)[:, :, 3:]], dim=2)
    shown, shown_after = network.decode(latent), network.decode(changed)
    assert torch.equal(shown[:, :, :9], shown_after[:, :, :9])
    assert not torch.equal(shown[:, :, 9], shown_after[:, :, 9])


def test_the_past_is_remembered(codec: WanVAECodec) -> None:
    """The counterpart of causality: a stream that lost its past would pass that test."""
    video = random_video()
    changed = video.clone()
    changed[:, :, 8] *= -1
    assert not torch.equal(codec.encode(video)[:, :, 3], codec.encode(changed)[:, :, 3])
    latent = random_latents()
    swapped = latent.clone()
    swapped[:, :, 2] *= -1
    assert not torch.equal(codec.decode(latent)[:, :, 9:13], codec.decode(swapped)[:, :, 9:13])


def test_a_batch_equals_its_samples(codec: WanVAECodec) -> None:
    video, latent = random_video(batch=2, frames=9), random_latents(batch=2)
    alone = torch.cat([codec.encode(sample[None]) for sample in video])
    torch.testing.assert_close(codec.encode(video), alone, rtol=1e-5, atol=1e-5)
    alone = torch.cat([codec.decode(sample[None]) for sample in latent])
    torch.testing.assert_close(codec.decode(latent), alone, rtol=1e-5, atol=1e-5)


def test_pixels_are_clamped() -> None:
    network = tiny_vae()
    with torch.no_grad():
        conv = network.decoder.head[-1]
        conv.weight.mul_(100)
    pixels = WanVAECodec(network, "loud").decode(random_latents())
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert network.decode(random_latents()).abs().max() > 1


def test_the_cache_does_not_grow() -> None:
    network, video = tiny_vae().requires_grad_(False), random_video()
    cache: FeatureCache = {}
    network.encode(video[:, :, :9], cache)
    sizes = {module: value.shape for module, value in cache.items()}
    network.encode(video[:, :, 9:], cache)
    assert {module: value.shape for module, value in cache.items()} == sizes
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in cache.values())


def test_gradients_reach_the_latents_and_streams_keep_none(codec: WanVAECodec) -> None:
    latent = random_latents().requires_grad_()
    codec.decode(latent).square().mean().backward()
    assert latent.grad is not None
    assert latent.grad.flatten(3).abs().sum(dim=(0, 1, 3)).gt(0).all()
    assert not codec.encode(random_video()).requires_grad


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
        network = WanVAE(CONFIG)
    network.load_state_dict(tiny_vae().state_dict(), assign=True)
    network = network.bfloat16().float()
    plain = WanVAE(WanVAEConfig(**(vars(CONFIG) | {"latent_mean": (0.0,) * 4, "latent_std": (1.0,) * 4})))
    plain.load_state_dict(network.state_dict())
    video, (mean, std) = random_video(frames=5), (CONFIG.latent_mean, CONFIG.latent_std)
    got = network.encode(video)
    for channel, raw in enumerate(plain.encode(video)[0]):
        torch.testing.assert_close(got[0, channel], (raw - mean[channel]) / std[channel])
    torch.testing.assert_close(network.decode(got), plain.decode(plain.encode(video)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 16, 24), (1, 3, 9, 12, 24), (1, 1, 9, 16, 24), (1, 3, 0, 16, 24)]
)
def test_refuses_videos_it_cannot_code(codec: WanVAECodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes 4k \\+ 1 RGB"):
        codec.encode(torch.zeros(shape))


def test_a_started_stream_takes_whole_groups_only(codec: WanVAECodec) -> None:
    stream = codec.stream_encoder()
    stream.push(random_video(frames=1))
    for frames in (0, 1, 6):
        with pytest.raises(BadInputError, match=f"4k further RGB frames.*{frames} frames"):
            stream.push(random_video(frames=frames))


@pytest.mark.parametrize("shape", [(1, 5, 2, 2, 3), (1, 4, 0, 2, 3)])
def test_refuses_latents_it_cannot_decode(codec: WanVAECodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes latents"):
        codec.decode(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"z_dim": 3}, {"temporal_downsample": (True, True)}])
def test_refuses_settings_that_contradict_each_other(change: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=r"needs? 3 values"):
        WanVAEConfig(**(vars(CONFIG) | change))


def test_a_codec_needs_the_stride_of_the_project() -> None:
    network = WanVAE(WanVAEConfig(**(vars(CONFIG) | {"temporal_downsample": (False, False, True)})))
    with pytest.raises(BadInputError, match="stride 4 x 8; the network has 2 x 8"):
        WanVAECodec(network, "short")


def test_attention_where_the_settings_ask_for_it() -> None:
    """Scales are counted as in the reference: the decoder's first level is 1/4, not 1/8."""
    network = WanVAE(WanVAEConfig(**(vars(CONFIG) | {"attn_scales": (0.25,)})))
    attending = {name.removesuffix(".to_qkv.bias") for name in network.state_dict() if "to_qkv.bias" in name}
    where = {"encoder.downsamples.5", "decoder.upsamples.1", "decoder.upsamples.3"}
    assert attending == where | {"encoder.middle.1", "decoder.middle.1"}
    assert network.encode(random_video(frames=5)).shape == (1, 4, 2, 2, 3)
