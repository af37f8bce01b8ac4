"""SyncNet-v2 layer by layer against its published description, and what the expert hands to it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.experts import syncnet_v2
from lipforcing_core.sync.experts.protocol import check_crops, num_windows
from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2, SyncNetV2Expert, mfcc_windows
from lipforcing_core.sync.mfcc import mfcc
from lipforcing_core.sync.offset import Edges, offset_search

SOUND = [  # every module of the tower in order: kind, and the size of what it gives for 13 cepstra by 20 columns
    *[("Conv2d", 64, 13, 20), ("BatchNorm2d", 64, 13, 20), ("ReLU", 64, 13, 20), ("MaxPool2d", 64, 13, 20)],
    *[
        ("Conv2d", 192, 13, 20),
        ("BatchNorm2d", 192, 13, 20),
        ("ReLU", 192, 13, 20),
        ("MaxPool2d", 192, 11, 9),
    ],
    *[("Conv2d", 384, 11, 9), ("BatchNorm2d", 384, 11, 9), ("ReLU", 384, 11, 9)],
    *[("Conv2d", 256, 11, 9), ("BatchNorm2d", 256, 11, 9), ("ReLU", 256, 11, 9)],
    *[("Conv2d", 256, 11, 9), ("BatchNorm2d", 256, 11, 9), ("ReLU", 256, 11, 9), ("MaxPool2d", 256, 5, 4)],
    *[("Conv2d", 512, 1, 1), ("BatchNorm2d", 512, 1, 1), ("ReLU", 512, 1, 1)],
]
LIPS = [  # of five frames of 224 x 224 pixels; time ends with the first convolution
    *[("Conv3d", 96, 1, 109, 109), ("BatchNorm3d", 96, 1, 109, 109), ("ReLU", 96, 1, 109, 109)],
    ("MaxPool3d", 96, 1, 54, 54),
    *[("Conv3d", 256, 1, 26, 26), ("BatchNorm3d", 256, 1, 26, 26), ("ReLU", 256, 1, 26, 26)],
    ("MaxPool3d", 256, 1, 13, 13),
    *[("Conv3d", 256, 1, 13, 13), ("BatchNorm3d", 256, 1, 13, 13), ("ReLU", 256, 1, 13, 13)] * 3,
    ("MaxPool3d", 256, 1, 6, 6),
    *[("Conv3d", 512, 1, 1, 1), ("BatchNorm3d", 512, 1, 1, 1), ("ReLU", 512, 1, 1, 1)],
]
KERNELS = {
    "netcnnaud": [(1, 3, 3), (64, 3, 3), (192, 3, 3), (384, 3, 3), (256, 3, 3), (256, 5, 4)],
    "netcnnlip": [
        *[(3, 5, 7, 7), (96, 1, 5, 5), (256, 1, 3, 3)],
        *[(256, 1, 3, 3), (256, 1, 3, 3), (256, 1, 6, 6)],
    ],
}
"""Input channels and kernel of every convolution."""
POOLS = {
    "netcnnaud": [(1, 1, 0), (3, (1, 2), 0), (3, 2, 0)],
    "netcnnlip": [
        *[((1, 3, 3), (1, 2, 2), 0), ((1, 3, 3), (1, 2, 2), (0, 1, 1))],
        ((1, 3, 3), (1, 2, 2), 0),
    ],
}
"""Kernel, stride and padding of every pooling."""
STEPS = {
    "netcnnaud": [((1, 1), (1, 1))] * 5 + [((1, 1), (0, 0))],
    "netcnnlip": [
        *[((1, 2, 2), (0, 0, 0)), ((1, 2, 2), (0, 1, 1)), ((1, 1, 1), (0, 1, 1))],
        *[((1, 1, 1), (0, 1, 1)), ((1, 1, 1), (0, 1, 1)), ((1, 1, 1), (0, 0, 0))],
    ],
}
"""Stride and padding of every convolution."""


def sizes(tower: nn.Sequential, x: Tensor) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = []
    for module in tower:
        x = module(x)
        found.append((type(module).__name__, *x.shape[1:]))
    return found


def test_every_layer_has_its_published_size() -> None:
    with torch.device("meta"):
        network = SyncNetV2().eval()
        assert sizes(network.netcnnaud, torch.zeros(2, 1, 13, 20)) == SOUND
        assert sizes(network.netcnnlip, torch.zeros(2, 3, 5, 224, 224)) == LIPS
        assert network.forward_audio(torch.zeros(2, 1, 13, 20)).shape == (2, 1024)
        assert network.forward_lip(torch.zeros(2, 3, 5, 224, 224)).shape == (2, 1024)
        assert network.lip_features(torch.zeros(2, 3, 5, 224, 224)).shape == (2, 512)
    for name in KERNELS:
        convolutions = [m for m in getattr(network, name) if isinstance(m, nn.Conv2d | nn.Conv3d)]
        assert [tuple(m.weight.shape[1:]) for m in convolutions] == KERNELS[name]
        assert [(m.stride, m.padding) for m in convolutions] == STEPS[name]
        assert all(m.bias is not None for m in convolutions)
        pools = [m for m in getattr(network, name) if isinstance(m, nn.MaxPool2d | nn.MaxPool3d)]
        assert [(m.kernel_size, m.stride, m.padding) for m in pools] == POOLS[name]
    for head in (network.netfcaud, network.netfclip):
        assert [type(m).__name__ for m in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert [tuple(head[k].weight.shape) for k in (0, 1, 3)] == [(512, 512), (512,), (1024, 512)]
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert num_parameters == 13_631_616


@torch.inference_mode()
def test_both_ways_end_in_their_own_head() -> None:
    torch.manual_seed(0)
    network = SyncNetV2().eval()
    lips, sound = torch.rand(1, 3, 5, 224, 224), torch.rand(1, 1, 13, 20)
    torch.testing.assert_close(
        network.forward_lip(lips), network.netfclip(network.netcnnlip(lips).flatten(1))
    )
    torch.testing.assert_close(
        network.forward_audio(sound), network.netfcaud(network.netcnnaud(sound).flatten(1))
    )


def test_the_expert_runs_the_network_without_gradients() -> None:
    torch.manual_seed(0)
    network = SyncNetV2().train()
    expert = SyncNetV2Expert(network, "random")
    rng = np.random.default_rng(0)
    sound = expert.embed_audio(rng.normal(0, 0.1, 8 * 640).astype(np.float32), 8)
    lips = expert.embed_video(rng.integers(0, 256, (6, 224, 224, 3), dtype=np.uint8))
    assert (sound.shape, lips.shape) == ((3, 1024), (2, 1024))
    assert (sound.dtype, lips.dtype) == (np.float32, np.float32)
    assert not network.training


class Tape(nn.Module):
    """Stands in for the network: embeddings are the mean, the first and the last number of each window."""

    def __init__(self) -> None:
        super().__init__()
        self.lips: list[Tensor] = []
        self.sounds: list[Tensor] = []

    def forward_lip(self, frames_NCFHW: Tensor) -> Tensor:
        self.lips.append(frames_NCFHW.clone())
        flat = frames_NCFHW.flatten(1)
        return torch.stack([flat.mean(1), flat[:, 0], flat[:, -1]], dim=1)

    def forward_audio(self, mfcc_N1CT: Tensor) -> Tensor:
        self.sounds.append(mfcc_N1CT.clone())
        flat = mfcc_N1CT.flatten(1)
        return torch.stack([flat.mean(1), flat[:, 0], flat[:, -1]], dim=1)


def expert_on_tape() -> tuple[SyncNetV2Expert, Tape]:
    tape = Tape().train()
    expert = SyncNetV2Expert(tape, "tape")  # type: ignore[arg-type]
    assert not tape.training
    assert expert.backend_id == "tape"
    return expert, tape


def test_lip_windows_are_five_frames_in_blue_green_red() -> None:
    expert, tape = expert_on_tape()
    frames = np.zeros((22, 224, 224, 3), np.uint8)
    frames[:] = (10 * np.arange(22))[:, None, None, None] + np.array([0, 1, 2])
    frames[..., 5, 7, 0] = 250
    assert expert.embed_video(frames).shape == (18, 3)
    assert [tuple(batch.shape) for batch in tape.lips] == [(16, 3, 5, 224, 224), (2, 3, 5, 224, 224)]
    windows = torch.cat(tape.lips)
    assert windows.dtype == torch.float32
    for number in (0, 7, 15, 16, 17):
        want = np.stack([frames[number + k, ..., ::-1].transpose(2, 0, 1) for k in range(5)], axis=1)
        np.testing.assert_array_equal(windows[number], want)


def test_crops_of_another_size_are_resized_bilinearly() -> None:
    expert, tape = expert_on_tape()
    frames = np.random.default_rng(0).integers(0, 256, (5, 97, 97, 3), dtype=np.uint8)
    expert.embed_video(frames)
    for k in range(5):
        want = cv2.resize(frames[k], (224, 224), interpolation=cv2.INTER_LINEAR)[..., ::-1]
        np.testing.assert_array_equal(tape.lips[0][0, :, k].permute(1, 2, 0), want)


def test_sound_windows_are_twenty_columns_every_fourth() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 640 * 300).astype(np.float32)
    cepstra = mfcc(waveform).astype(np.float32)
    windows = mfcc_windows(waveform, 290)
    assert windows.shape == (290, 1, 13, 20)
    for number in (0, 1, 100, 289):
        np.testing.assert_array_equal(windows[number, 0], cepstra[4 * number : 4 * number + 20].T)
    expert, tape = expert_on_tape()
    assert expert.embed_audio(waveform, 280).shape == (275, 3)
    assert [len(batch) for batch in tape.sounds] == [256, 19]
    np.testing.assert_array_equal(torch.cat(tape.sounds), windows[:275])


def test_published_score_pads_and_the_reward_does_not() -> None:
    expert, _ = expert_on_tape()
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    waveform = rng.normal(0, 0.1, 28 * 640).astype(np.float32)
    lips, sound = expert.embed_video(frames), expert.embed_audio(waveform, 30)
    assert (len(lips), len(sound)) == (26, 23)
    padded, overlap = (offset_search(lips, sound, backend="tape", edges=edges) for edges in Edges)
    assert expert.score(frames, waveform) == padded
    assert expert.reward_score(frames, waveform) == overlap.confidence
    assert overlap.confidence != padded.confidence


def test_batches_cover_everything_once() -> None:
    assert syncnet_v2._batches(5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert syncnet_v2._batches(4, 2) == [(0, 2), (2, 4)]
    assert syncnet_v2._batches(1, 16) == [(0, 1)]


@pytest.mark.parametrize(
    ("num_frames", "num_samples", "count"),
    [(6, 6 * 640, 1), (6, 99_999, 1), (99, 6 * 640 + 639, 1), (81, 81 * 640, 76), (30, 25 * 640 - 1, 19)],
)
def test_windows_that_have_both_picture_and_sound(num_frames: int, num_samples: int, count: int) -> None:
    assert num_windows(num_frames, num_samples) == count
    with pytest.raises(BadInputError, match="at least 6 frames with their sound, not 5 frames and 9999"):
        num_windows(5, 9999)
    with pytest.raises(BadInputError, match="not 9 frames and 3839 samples"):
        num_windows(9, 3839)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((4, 8, 8, 3), np.uint8),
        ((5, 8, 9, 3), np.uint8),
        ((5, 8, 8, 4), np.uint8),
        ((5, 8, 8), np.uint8),
        ((5, 8, 8, 3), np.int16),
    ],
)
def test_what_is_no_stack_of_crops(shape: tuple[int, ...], kind: type) -> None:
    check_crops(np.zeros((5, 8, 8, 3), np.uint8))
    with pytest.raises(BadInputError, match="at least 5 aligned crops"):
        check_crops(np.zeros(shape, kind))
