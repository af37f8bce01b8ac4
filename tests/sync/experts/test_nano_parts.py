"""NanoSyncNet's layers, the region that it sees, and its standardised inputs by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lipforcing_core.sync.experts import nano
from lipforcing_core.sync.experts.nano import NanoExpert, NanoSyncNet, log_mel, mouth_region, standardise
from lipforcing_core.sync.mfcc import filterbank
from lipforcing_core.sync.offset import Edges, offset_search

SHAPES = {  # of every layer for one clip of 9 frames, and 36 columns of sound
    "frame.0": (9, 16, 20, 24),
    "frame.3": (9, 32, 10, 12),
    "frame.6": (9, 48, 5, 6),
    "frame.10": (9, 64),
    "lips.2": (1, 128, 7),
    "lips.5": (1, 128, 5),
    "lips.8": (1, 64, 5),
    "sound.0": (1, 64, 34),
    "sound.3": (1, 96, 16),
    "sound.6": (1, 96, 7),
    "sound.9": (1, 128, 5),
    "sound.12": (1, 64, 5),
}


def test_every_layer_has_the_size_that_the_shipped_weights_were_trained_for() -> None:
    network = NanoSyncNet().eval()
    found: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: found.update({name: tuple(output.shape)})
            )
    with torch.inference_mode():
        lips = network.embed_lips(torch.rand(1, 9, 3, 40, 48))
        sound = network.embed_sound(torch.rand(1, 26, 36))
    assert found == SHAPES
    assert lips.shape == sound.shape == (1, 5, 64)
    torch.testing.assert_close(lips.norm(dim=2), torch.full((1, 5), 10.0))
    torch.testing.assert_close(sound.norm(dim=2), torch.full((1, 5), 10.0))


def test_convolutions_before_a_norm_have_no_bias_and_pictures_are_padded() -> None:
    network = NanoSyncNet()
    without = [name for name, m in network.named_modules() if getattr(m, "bias", 0) is None]
    assert without == [
        "frame.0",
        "frame.3",
        "frame.6",
        "lips.2",
        "lips.5",
        "sound.0",
        "sound.3",
        "sound.6",
        "sound.9",
    ]
    assert {network.get_submodule(f"frame.{k}").padding for k in (0, 3, 6)} == {(1, 1)}
    kinds = [type(m).__name__ for m in network.lips]
    assert kinds == [*("BatchNorm1d", "ReLU"), *("Conv1d", "BatchNorm1d", "ReLU") * 2, "Conv1d"]


@torch.inference_mode()
def test_frames_of_several_clips_do_not_mix() -> None:
    torch.manual_seed(0)
    network = NanoSyncNet().eval()
    mouths = torch.randn(2, 8, 3, 40, 48)
    both = network.embed_lips(mouths)
    for clip in range(2):
        torch.testing.assert_close(both[clip : clip + 1], network.embed_lips(mouths[clip : clip + 1]))
    moved = torch.cat([mouths[:, 1:], mouths[:, :1]], dim=1)
    torch.testing.assert_close(network.embed_lips(moved)[:, :-1], both[:, 1:])


@pytest.mark.parametrize(
    ("side", "box"), [(128, (24, 56, 104, 112)), (256, (48, 112, 208, 224)), (100, (19, 44, 81, 88))]
)
def test_the_mouth_region_is_cut_and_averaged_by_area(side: int, box: tuple[int, int, int, int]) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    x0, y0, x1, y1 = box
    want = cv2.resize(np.ascontiguousarray(crop[y0:y1, x0:x1]), (48, 40), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(mouth_region(crop), want)


def test_pictures_are_standardised_by_clip_and_colour() -> None:
    """A deviation of 3 and the 1 that is added to it leave three quarters."""
    half = torch.tensor([-3.0, 3.0]).repeat(5000)
    clip = torch.stack([half + 100, half + 20, 2 * half]).reshape(3, 5, 40, 50).transpose(0, 1)[None]
    got = standardise(torch.cat([clip, torch.full_like(clip, 7.0)]))
    torch.testing.assert_close(got[0, :, 0].abs(), torch.full((5, 40, 50), 0.75), atol=1e-4, rtol=0)
    torch.testing.assert_close(got[0, :, 0], got[0, :, 1])
    torch.testing.assert_close(got[0, :, 2].abs(), torch.full((5, 40, 50), 6 / 7), atol=1e-4, rtol=0)
    assert (got[1] == 0).all()


def test_log_mel_of_a_loud_sound_by_its_definition() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.3, 8000).astype(np.float32)
    scaled = waveform / np.sqrt(np.mean(waveform.astype(np.float64) ** 2)) * 0.1
    want = (np.log(filterbank(scaled)[0] + 10_000) - 13) / 3
    got = log_mel(waveform)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_allclose(log_mel(0.01 * waveform), got, atol=1e-3)


def test_what_is_nearly_silent_is_amplified_a_hundred_times_at_most() -> None:
    waveform = np.random.default_rng(0).normal(0, 1e-4, 8000).astype(np.float32)
    want = (np.log(filterbank(100 * waveform)[0] + 10_000) - 13) / 3
    np.testing.assert_allclose(log_mel(waveform), want, atol=1e-4)
    silent = log_mel(np.zeros(8000, np.float32))
    np.testing.assert_allclose(silent, (np.log(10_000) - 13) / 3, atol=1e-5)


def test_columns_of_windows() -> None:
    assert [nano.columns_of(count) for count in (1, 2, 31)] == [20, 24, 140]


def test_the_score_leaves_out_shifts_that_do_not_overlap() -> None:
    torch.manual_seed(0)
    network = NanoSyncNet().train()
    expert = NanoExpert(network, "mine")
    assert not network.training
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    waveform = rng.normal(0, 0.1, 22 * 640 + 5).astype(np.float32)
    lips, sound = expert.embed_video(frames), expert.embed_audio(waveform, 24)
    assert (lips.shape, sound.shape) == ((20, 64), (17, 64))
    assert (lips.dtype, sound.dtype) == (np.float32, np.float32)
    score = expert.score(frames, waveform)
    assert score == offset_search(lips, sound, backend="mine", edges=Edges.OVERLAP)
    assert score != offset_search(lips, sound, backend="mine", edges=Edges.ZERO_PADDED)
    assert expert.reward_score(frames, waveform) == score.confidence
