"""What both causal codecs promise: one pass and streams agree, nothing looks ahead, memory is bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.causal_codec import CausalCodec, FeatureCache
from lipforcing_core.models.codecs.taehv import TaehvCodec
from lipforcing_core.models.codecs.wan_vae import WanVAECodec
from tests.models.tiny_codecs import (
    CHANNELS,
    FRAMES,
    LATENTS,
    cut,
    random_latents,
    random_video,
    tiny_autoencoder,
    tiny_vae,
)


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A codec, and its network's own calls with pixels in [-1, 1]."""

    codec: CausalCodec
    encode: Callable[[Tensor, FeatureCache], Tensor]
    decode: Callable[[Tensor, FeatureCache], Tensor]


@pytest.fixture(scope="module", params=["wan-vae", "taehv"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    if request.param == "wan-vae":
        vae = tiny_vae()
        return Tiny(
            codec=WanVAECodec(vae, "tiny"),
            encode=vae.encode,
            decode=lambda latent, cache: vae.decode(latent, cache).clamp(-1, 1),
        )
    network = tiny_autoencoder()
    return Tiny(
        codec=TaehvCodec(network, "tiny"),
        encode=lambda video, cache: network.encode((video + 1) / 2, cache),
        decode=lambda latent, cache: network.decode(latent, cache) * 2 - 1,
    )


@pytest.mark.parametrize("sizes", [[21], [1, 4, 4, 4, 4, 4], [9, 12], [1, 20], [5, 4, 12]])
def test_encoding_in_any_pieces_equals_one_pass(tiny: Tiny, sizes: list[int]) -> None:
    video = random_video()
    cache: FeatureCache = {}
    one_pass = tiny.encode(video, {})
    assert one_pass.shape == (1, CHANNELS, LATENTS, 2, 3)
    pieces = [tiny.encode(part, cache) for part in cut(video, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = tiny.codec.stream_encoder()
    pushed = torch.cat([stream.push(part) for part in cut(video, sizes)], dim=2)
    assert torch.equal(pushed, tiny.codec.encode(video))
    torch.testing.assert_close(pushed, one_pass, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [[6], [1] * 6, [3, 3], [1, 5], [2, 1, 3]])
def test_decoding_in_any_pieces_equals_one_pass(tiny: Tiny, sizes: list[int]) -> None:
    latent = random_latents()
    cache: FeatureCache = {}
    one_pass = tiny.decode(latent, {})
    assert one_pass.shape == (1, 3, FRAMES, 16, 24)
    assert one_pass.std() > 0.05
    pieces = [tiny.decode(part, cache) for part in cut(latent, sizes)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), one_pass, rtol=1e-5, atol=1e-5)
    stream = tiny.codec.stream_decoder()
    shown = [stream.push(part) for part in cut(latent, sizes)]
    assert [part.shape[2] for part in shown] == [4 * sizes[0] - 3, *(4 * size for size in sizes[1:])]
    pushed = torch.cat(shown, dim=2)
    assert torch.equal(pushed, tiny.codec.decode(latent))
    torch.testing.assert_close(pushed, one_pass, rtol=1e-5, atol=1e-5)


def test_two_streams_do_not_disturb_each_other(tiny: Tiny) -> None:
    videos = [random_video(seed=seed) for seed in (3, 4)]
    encoders = [tiny.codec.stream_encoder(), tiny.codec.stream_encoder()]
    coded: list[list[Tensor]] = [[], []]
    for pair in zip(*(cut(video, [9, 12]) for video in videos), strict=True):
        for one, encoder, part in zip(coded, encoders, pair, strict=True):
            one.append(encoder.push(part))
    for one, video in zip(coded, videos, strict=True):
        assert torch.equal(torch.cat(one, dim=2), tiny.codec.encode(video))
    latents = [random_latents(seed=seed) for seed in (5, 6)]
    decoders = [tiny.codec.stream_decoder(), tiny.codec.stream_decoder()]
    shown: list[list[Tensor]] = [[], []]
    for t in range(LATENTS):
        for one, decoder, latent in zip(shown, decoders, latents, strict=True):
            one.append(decoder.push(latent[:, :, t : t + 1]))
    for one, latent in zip(shown, latents, strict=True):
        assert torch.equal(torch.cat(one, dim=2), tiny.codec.decode(latent))


def test_nothing_looks_ahead(tiny: Tiny) -> None:
    video, latent = random_video(), random_latents()
    changed = torch.cat([video[:, :, :9], random_video(frames=12, seed=7)], dim=2)
    before, after = tiny.encode(video, {}), tiny.encode(changed, {})
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3], after[:, :, 3])
    changed = torch.cat([latent[:, :, :3], random_latents(seed=8)[:, :, 3:]], dim=2)
    shown, shown_after = tiny.decode(latent, {}), tiny.decode(changed, {})
    assert torch.equal(shown[:, :, :9], shown_after[:, :, :9])
    assert not torch.equal(shown[:, :, 9], shown_after[:, :, 9])


def test_the_past_is_remembered(tiny: Tiny) -> None:
    """The counterpart of causality: a stream that lost its past would pass that test."""
    video = random_video()
    changed = video.clone()
    changed[:, :, 8] *= -1
    assert not torch.equal(tiny.codec.encode(video)[:, :, 3], tiny.codec.encode(changed)[:, :, 3])
    latent = random_latents()
    swapped = latent.clone()
    swapped[:, :, 2] *= -1
    assert not torch.equal(tiny.codec.decode(latent)[:, :, 9:13], tiny.codec.decode(swapped)[:, :, 9:13])


def test_a_batch_equals_its_samples(tiny: Tiny) -> None:
    video, latent = random_video(batch=2, frames=9), random_latents(batch=2)
    alone = torch.cat([tiny.codec.encode(sample[None]) for sample in video])
    torch.testing.assert_close(tiny.codec.encode(video), alone, rtol=1e-5, atol=1e-5)
    alone = torch.cat([tiny.codec.decode(sample[None]) for sample in latent])
    torch.testing.assert_close(tiny.codec.decode(latent), alone, rtol=1e-5, atol=1e-5)


def test_the_cache_does_not_grow(tiny: Tiny) -> None:
    video = random_video()
    cache: FeatureCache = {}
    tiny.encode(video[:, :, :9], cache)
    sizes = {module: value.shape for module, value in cache.items()}
    tiny.encode(video[:, :, 9:], cache)
    assert {module: value.shape for module, value in cache.items()} == sizes
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in cache.values())


def test_gradients_reach_the_latents_and_streams_keep_none(tiny: Tiny) -> None:
    latent = random_latents().requires_grad_()
    tiny.codec.decode(latent).square().mean().backward()
    assert latent.grad is not None
    assert latent.grad.flatten(3).abs().sum(dim=(0, 1, 3)).gt(0).all()
    assert not tiny.codec.encode(random_video()).requires_grad


@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 16, 24), (1, 3, 9, 12, 24), (1, 1, 9, 16, 24), (1, 3, 0, 16, 24)]
)
def test_refuses_videos_it_cannot_code(tiny: Tiny, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes 4k \\+ 1 RGB"):
        tiny.codec.encode(torch.zeros(shape))


def test_a_started_stream_takes_whole_groups_only(tiny: Tiny) -> None:
    stream = tiny.codec.stream_encoder()
    stream.push(random_video(frames=1))
    for frames in (0, 1, 6):
        with pytest.raises(BadInputError, match=f"4k further RGB frames.*{frames} frames"):
            stream.push(random_video(frames=frames))
    cache: FeatureCache = {}
    tiny.encode(random_video(frames=5), cache)
    with pytest.raises(BadInputError, match="4k further RGB frames"):
        tiny.encode(random_video(frames=6), cache)


@pytest.mark.parametrize("shape", [(1, 5, 2, 2, 3), (1, 4, 0, 2, 3)])
def test_refuses_latents_it_cannot_decode(tiny: Tiny, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes latents"):
        tiny.codec.decode(torch.zeros(shape))
