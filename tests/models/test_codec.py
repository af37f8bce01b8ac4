"""The block codec: what linear algebra promises, and that a stream gives the bits of the one-shot call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.models.codecs.block import BlockCodec, CodecFit


def _clips(seed: int = 0, num_clips: int = 3, frames: int = 24, size: int = 64) -> list[np.ndarray]:
    """Smooth moving stripes: few degrees of freedom, so that a few principal components say it all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    clips = []
    for _ in range(num_clips):
        phase, speed = rng.uniform(0, 6, 3), rng.uniform(0.05, 0.3, 3)
        video = [np.sin(3 * x[..., None] + 2 * y[..., None] + phase + speed * t) for t in range(frames)]
        clips.append(((np.stack(video) * 0.8 + 1) * 127.5).round().astype(np.uint8))
    return clips


def _video(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


@pytest.fixture(scope="module")
def codec() -> BlockCodec:
    return BlockCodec.fit(_clips())


def test_shapes_follow_4t_minus_3(codec: BlockCodec) -> None:
    latent = codec.encode(_video(_clips()[0][:21]))
    assert latent.shape == (1, 16, 6, 8, 8)
    assert codec.decode(latent).shape == (1, 3, 21, 64, 64)


def test_reconstructs_smooth_video(codec: BlockCodec) -> None:
    video = _video(_clips(seed=9, num_clips=1)[0][:21])
    error = (codec.decode(codec.encode(video)) - video).square().mean()
    assert 10 * torch.log10(4 / error) > 35


def test_first_latent_codes_frame_zero_alone(codec: BlockCodec) -> None:
    video = _video(_clips()[0][:9])
    changed = video.clone()
    changed[:, :, 1:] = 0
    assert torch.equal(codec.encode(video)[:, :, 0], codec.encode(changed)[:, :, 0])
    still = video[:, :, :1].expand(-1, -1, 5, -1, -1)
    latent = codec.encode(still)
    assert torch.equal(latent[:, :, 0], latent[:, :, 1])


def test_is_causal(codec: BlockCodec) -> None:
    video = _video(_clips()[0][:21])
    changed = video.clone()
    changed[:, :, 13:] *= -1
    assert torch.equal(codec.encode(video)[:, :, :4], codec.encode(changed)[:, :, :4])
    assert not torch.equal(codec.encode(video)[:, :, 4], codec.encode(changed)[:, :, 4])


def test_streams_give_the_bits_of_one_shot(codec: BlockCodec) -> None:
    video = _video(_clips()[0][:21])
    latent = codec.encode(video)
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    pushed = [encoder.push(video[:, :, a:b]) for a, b in ((0, 9), (9, 13), (13, 21))]
    assert torch.equal(torch.cat(pushed, dim=2), latent)
    shown = [decoder.push(latent[:, :, a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    assert [part.shape[2] for part in shown] == [1, 12, 8]
    assert torch.equal(torch.cat(shown, dim=2), codec.decode(latent))


def test_a_batch_equals_its_samples(codec: BlockCodec) -> None:
    video = torch.cat([_video(clip[:9]) for clip in _clips()])
    alone = torch.cat([codec.encode(sample[None]) for sample in video])
    torch.testing.assert_close(codec.encode(video), alone)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_mean_channel_variance_is_one(whitening: float) -> None:
    clips = _clips()
    codec = BlockCodec.fit(clips, CodecFit(whitening=whitening))
    # Every block of the fit, as the encoder sees it after its first frame.
    latents = torch.cat([codec.encode(_video(np.concatenate([c[:1], c])))[:, :, 1:] for c in clips])
    variance = latents.double().var(dim=(0, 2, 3, 4), correction=0)
    assert variance.mean() == pytest.approx(1, rel=0.02)
    if whitening == 1:
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0.05, atol=0.05)


def test_motion_weight_spends_channels_on_motion() -> None:
    rng = np.random.default_rng(3)
    clips = [rng.integers(0, 256, (1, 64, 64, 3)).repeat(8, axis=0) for _ in range(8)]
    for clip in clips:  # strong still texture everywhere, a little flicker in one corner
        clip[:, :8, :8] = 128 + 30 * np.sin(np.arange(8) * 1.5)[:, None, None, None]
    clips = [clip.astype(np.uint8) for clip in clips]
    errors = []
    for weight in (1.0, 20.0):
        codec = BlockCodec.fit(clips, CodecFit(num_channels=2, motion_weight=weight))
        video = _video(np.concatenate([clips[0][:1], clips[0]]))
        error = codec.decode(codec.encode(video)) - video
        errors.append(error[:, :, 1:, :8, :8].square().mean().item())
    assert errors[1] < 0.5 * errors[0]


def test_fit_is_deterministic_and_saves(codec: BlockCodec, tmp_path: Path) -> None:
    again = BlockCodec.fit(iter(_clips()))
    assert again.backend_id == codec.backend_id
    assert BlockCodec.fit(_clips(seed=1)).backend_id != codec.backend_id
    codec.save(tmp_path / "codec.safetensors")
    loaded = BlockCodec.load(tmp_path / "codec.safetensors")
    assert loaded.backend_id == codec.backend_id
    video = _video(_clips()[0][:9])
    assert torch.equal(loaded.encode(video), codec.encode(video))


@pytest.mark.parametrize("shape", [(1, 3, 8, 64, 64), (1, 3, 9, 60, 64), (1, 1, 9, 64, 64)])
def test_refuses_sizes_it_cannot_code(codec: BlockCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="codec takes"):
        codec.encode(torch.zeros(shape))


def test_a_started_stream_takes_whole_groups_only(codec: BlockCodec) -> None:
    encoder = codec.stream_encoder()
    encoder.push(torch.zeros(1, 3, 1, 64, 64))
    with pytest.raises(BadInputError, match="4k further RGB"):
        encoder.push(torch.zeros(1, 3, 3, 64, 64))


def test_refuses_to_fit_on_too_little() -> None:
    with pytest.raises(BadInputError, match="at least 768"):
        BlockCodec.fit([np.zeros((4, 8, 8, 3), np.uint8)])


def test_refuses_other_files(tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    path.write_bytes(b"not a codec")
    with pytest.raises(IncompatibleCheckpointError, match="block codec"):
        BlockCodec.load(path)
