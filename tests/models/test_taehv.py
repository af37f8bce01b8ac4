"""The tiny autoencoder: one pass and streams agree, nothing looks ahead, both paddings, larger checkpoints."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor

from lipforcing_core.errors import BadInputError
from lipforcing_core.models.causal_codec import FeatureCache
from lipforcing_core.models.taehv import TaehvCodec, TaehvConfig, TinyAutoencoder, trim_time_kernel

CONFIG = TaehvConfig(latent_channels=4, encoder_width=8, decoder_widths=(16, 12, 8, 8))
FRAMES, LATENTS = 21, 6


def tiny_autoencoder() -> TinyAutoencoder:
    """Random weights whose pixels lie within [0, 1] and differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TinyAutoencoder(CONFIG).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.mul_(2.0 if name.endswith("weight") else 1.0)
        network.decoder[-1].weight.mul_(0.2)
        network.decoder[-1].bias.fill_(0.5)
    return network


@pytest.fixture(scope="module")
def codec() -> TaehvCodec:
    return TaehvCodec(tiny_autoencoder(), "tiny")


def random_video(*, batch: int = 1, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return torch.rand((batch, 3, frames, 16, 24), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_latents(*, batch: int = 1, seed: int = 2) -> Tensor:
    shape = (batch, CONFIG.latent_channels, LATENTS, 2, 3)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cut(clip: Tensor, sizes: list[int]) -> list[Tensor]:
    return [clip[:, :, start:stop] for start, stop in pairwise(accumulate(sizes, initial=0))]


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[21], [1, 4, 4, 4, 4, 4], [9, 12], [1, 20], [5, 4, 12]])
def test_encoding_in_any_pieces_equals_one_pass(codec: TaehvCodec, sizes: list[int]) -> None:
    video, network = random_video(), tiny_autoencoder()
    cache: FeatureCache = {}
    one_pass = network.encode((video + 1) / 2)
    assert one_pass.shape == (1, 4, LATENTS, 2, 3)
    pieces = [network.encode((part + 1) / 2, cache) for part in cut(video, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = codec.stream_encoder()
    pushed = torch.cat([stream.push(part) for part in cut(video, sizes)], dim=2)
    assert torch.equal(pushed, codec.encode(video))
    torch.testing.assert_close(pushed, one_pass, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[6], [1] * 6, [3, 3], [1, 5], [2, 1, 3]])
def test_decoding_in_any_pieces_equals_one_pass(codec: TaehvCodec, sizes: list[int]) -> None:
    latent, network = random_latents(), tiny_autoencoder()
    cache: FeatureCache = {}
    one_pass = network.decode(latent)
    assert one_pass.shape == (1, 3, FRAMES, 16, 24)
    assert one_pass.std() > 0.05
    pieces = [network.decode(part, cache) for part in cut(latent, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = codec.stream_decoder()
    shown = [stream.push(part) for part in cut(latent, sizes)]
    assert [part.shape[2] for part in shown] == [4 * sizes[0] - 3, *(4 * size for size in sizes[1:])]
    pushed = torch.cat(shown, dim=2)
    assert torch.equal(pushed, codec.decode(latent))
    torch.testing.assert_close(pushed, one_pass * 2 - 1, rtol=1e-5, atol=1e-5)


def test_two_streams_do_not_disturb_each_other(codec: TaehvCodec) -> None:
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
    network, video, latent = tiny_autoencoder(), random_video(), random_latents()
    changed = torch.cat([video[:, :, :9], random_video(frames=12, seed=7)], dim=2)
    before, after = network.encode(video), network.encode(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3], after[:, :, 3])
    changed = torch.cat([latent[:, :, :3], random_latents(seed=8)[:, :, 3:]], dim=2)
    shown, shown_after = network.decode(latent), network.decode(changed)
    assert torch.equal(shown[:, :, :9], shown_after[:, :, :9])
    assert not torch.equal(shown[:, :, 9], shown_after[:, :, 9])


def test_the_past_is_remembered(codec: TaehvCodec) -> None:
    """The counterpart of causality: a stream that lost its past would pass that test."""
    video = random_video()
    changed = video.clone()
    changed[:, :, 8] *= -1
    assert not torch.equal(codec.encode(video)[:, :, 3], codec.encode(changed)[:, :, 3])
    latent = random_latents()
    swapped = latent.clone()
    swapped[:, :, 2] *= -1
    assert not torch.equal(codec.decode(latent)[:, :, 9:13], codec.decode(swapped)[:, :, 9:13])


def test_a_batch_equals_its_samples(codec: TaehvCodec) -> None:
    video, latent = random_video(batch=2, frames=9), random_latents(batch=2)
    alone = torch.cat([codec.encode(sample[None]) for sample in video])
    torch.testing.assert_close(codec.encode(video), alone, rtol=1e-5, atol=1e-5)
    alone = torch.cat([codec.decode(sample[None]) for sample in latent])
    torch.testing.assert_close(codec.decode(latent), alone, rtol=1e-5, atol=1e-5)


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


def test_the_cache_does_not_grow() -> None:
    network, video = tiny_autoencoder().requires_grad_(False), random_video()
    cache: FeatureCache = {}
    network.encode(video[:, :, :9], cache)
    sizes = {module: value.shape for module, value in cache.items()}
    network.encode(video[:, :, 9:], cache)
    assert {module: value.shape for module, value in cache.items()} == sizes
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in cache.values())


def test_gradients_reach_the_latents_and_streams_keep_none(codec: TaehvCodec) -> None:
    latent = random_latents().requires_grad_()
    codec.decode(latent).square().mean().backward()
    assert latent.grad is not None
    assert latent.grad.flatten(3).abs().sum(dim=(0, 1, 3)).gt(0).all()
    assert not codec.encode(random_video()).requires_grad


def test_bfloat16_stays_close(codec: TaehvCodec) -> None:
    half = TaehvCodec(tiny_autoencoder().bfloat16(), "half")
    video, latent = random_video(), random_latents()
    for got, want in (
        (half.encode(video), codec.encode(video)),
        (half.decode(latent), codec.decode(latent)),
    ):
        assert got.dtype == torch.float32
        assert 0 < (got - want).norm() / want.norm() < 0.02


@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 16, 24), (1, 3, 9, 12, 24), (1, 1, 9, 16, 24), (1, 3, 0, 16, 24)]
)
def test_refuses_videos_it_cannot_code(codec: TaehvCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes 4k \\+ 1 RGB"):
        codec.encode(torch.zeros(shape))


def test_a_started_stream_takes_whole_groups_only(codec: TaehvCodec) -> None:
    stream = codec.stream_encoder()
    stream.push(random_video(frames=1))
    with pytest.raises(BadInputError, match="4k further RGB frames"):
        stream.push(random_video(frames=6))
    network, cache = tiny_autoencoder(), FeatureCache()
    network.encode(random_video(frames=5), cache)
    with pytest.raises(BadInputError, match="4k further RGB frames"):
        network.encode(random_video(frames=6), cache)


@pytest.mark.parametrize("shape", [(1, 5, 2, 2, 3), (1, 4, 0, 2, 3)])
def test_refuses_latents_it_cannot_decode(codec: TaehvCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes latents"):
        codec.decode(torch.zeros(shape))


def test_a_larger_time_kernel_keeps_its_last_channels() -> None:
    wanted = {name: value.shape for name, value in TinyAutoencoder(CONFIG).state_dict().items()}
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
