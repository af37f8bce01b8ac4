"""I3D layer by layer against its published description, and TensorFlow's padding against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lipforcing_core.metrics.networks import i3d
from lipforcing_core.metrics.networks.i3d import I3D, preprocess

BRANCHES = {  # table 1 of Szegedy et al. 2015, which Carreira and Zisserman inflate: 1x1, 3x3, "5x5", after pooling
    "Mixed_3b": (192, [64, 96, 128, 16, 32, 32]),
    "Mixed_3c": (256, [128, 128, 192, 32, 96, 64]),
    "Mixed_4b": (480, [192, 96, 208, 16, 48, 64]),
    "Mixed_4c": (512, [160, 112, 224, 24, 64, 64]),
    "Mixed_4d": (512, [128, 128, 256, 24, 64, 64]),
    "Mixed_4e": (512, [112, 144, 288, 32, 64, 64]),
    "Mixed_4f": (528, [256, 160, 320, 32, 128, 128]),
    "Mixed_5b": (832, [256, 160, 320, 32, 128, 128]),
    "Mixed_5c": (832, [384, 192, 384, 48, 128, 128]),
}
"""Input channels, and output channels of the six convolutions of a block."""

SIZES = [  # of every layer for 16 frames of 224 x 224 pixels, in order
    ("Conv3d_1a_7x7", 64, 8, 112, 112),
    ("Conv3d_2b_1x1", 64, 8, 56, 56),
    ("Conv3d_2c_3x3", 192, 8, 56, 56),
    ("Mixed_3b", 256, 8, 28, 28),
    ("Mixed_3c", 480, 8, 28, 28),
    ("Mixed_4b", 512, 4, 14, 14),
    ("Mixed_4c", 512, 4, 14, 14),
    ("Mixed_4d", 512, 4, 14, 14),
    ("Mixed_4e", 528, 4, 14, 14),
    ("Mixed_4f", 832, 4, 14, 14),
    ("Mixed_5b", 832, 2, 7, 7),
    ("Mixed_5c", 1024, 2, 7, 7),
    ("logits", 400),
]


def test_every_layer_has_its_published_size() -> None:
    with torch.device("meta"):
        network = I3D().eval()
        found: list[tuple[str | int, ...]] = []
        for name, module in network.named_children():
            module.register_forward_hook(
                lambda module, inputs, output, name=name: found.append((name, *output.shape[1:]))
            )
        assert network(torch.zeros(2, 3, 16, 224, 224)).shape == (2, 400)
        assert network.features(torch.zeros(1, 3, 9, 224, 224)).shape == (1, 1024)
    assert found[: len(SIZES)] == SIZES


def test_every_convolution_has_its_published_width_and_kernel() -> None:
    with torch.device("meta"):
        network = I3D()
    expected = {
        "Conv3d_1a_7x7": (64, 3, 7, 7, 7),
        "Conv3d_2b_1x1": (64, 64, 1, 1, 1),
        "Conv3d_2c_3x3": (192, 64, 3, 3, 3),
    }
    for name, (width, (b0, b1a, b1b, b2a, b2b, b3b)) in BRANCHES.items():
        expected |= {
            f"{name}.b0": (b0, width, 1, 1, 1),
            f"{name}.b1a": (b1a, width, 1, 1, 1),
            f"{name}.b1b": (b1b, b1a, 3, 3, 3),
            f"{name}.b2a": (b2a, width, 1, 1, 1),
            f"{name}.b2b": (b2b, b2a, 3, 3, 3),
            f"{name}.b3b": (b3b, width, 1, 1, 1),
        }
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    want = {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}
    for name, shape in expected.items():
        want |= {f"{name}.conv3d.weight": shape, f"{name}.bn.num_batches_tracked": ()}
        want |= {f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    assert shapes == want
    strides = {module.stride for name, module in network.named_modules() if isinstance(module, nn.Conv3d)}
    assert network.Conv3d_1a_7x7.conv3d.stride == (2, 2, 2)
    assert strides == {(1, 1, 1), (2, 2, 2)}
    assert sum(parameter.numel() for parameter in I3D(2).logits.parameters()) == 2 * 1024 + 2


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_visits_every_place_of_a_step_once(kernel: int, stride: int) -> None:
    """TensorFlow's "SAME": ceil(n / s) outputs; the zeros are split in two, the odd one at the end."""
    for size in range(1, 12):
        line = torch.arange(1.0, size + 1)
        missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        want = np.pad(line.numpy(), (missing // 2, missing - missing // 2))
        for axis in range(3):
            shape, ones = [1, 1, 1, 1, 1], [1, 1, 1]
            shape[2 + axis] = size
            kernels, strides = ones.copy(), ones.copy()
            kernels[axis], strides[axis] = kernel, stride
            got = i3d._pad_same(line.view(shape), tuple(kernels), tuple(strides))
            np.testing.assert_array_equal(got.flatten(), want)
            assert got.shape[2 + axis] == len(want)


def test_axes_are_padded_each_by_its_own_kernel() -> None:
    padded = i3d._pad_same(torch.ones(2, 3, 5, 6, 7), (3, 2, 4), (2, 1, 3))
    # 5 by 3 and 2: 2 missing; 6 by 2 and 1: 1 missing; 7 by 4 and 3: 3 missing.
    assert padded.shape == (2, 3, 7, 7, 10)
    assert padded[0, 0, 1:6, :6, 1:8].min() == 1
    assert padded.sum() == 2 * 3 * 5 * 6 * 7


def test_poolings_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = functional.max_pool3d

    def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        calls.append((kernel, stride))
        return plain(x, kernel, stride)

    with torch.device("meta"):
        network = I3D().eval()

    monkeypatch.setattr("torch.nn.functional.max_pool3d", pool)
    network(torch.zeros(1, 3, 16, 224, 224, device="meta"))
    between = [call for call in calls if call != ((3, 3, 3), (1, 1, 1))]
    assert between == [
        *[((1, 3, 3), (1, 2, 2)), ((1, 3, 3), (1, 2, 2))],
        *[((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))],
    ]
    assert len(calls) == 4 + 9


@torch.inference_mode()
def test_a_block_puts_its_branches_side_by_side() -> None:
    """With one channel passed on by each branch, it shows the input, twice its shifted copy, and its maximum."""
    block = i3d._Mixed(2, (1, 1, 1, 1, 1, 1)).eval()
    for unit in block.children():
        unit.conv3d.weight.zero_()
    block.b0.conv3d.weight[0, 0] = 1
    block.b1a.conv3d.weight[0, 0] = 1
    block.b1b.conv3d.weight[0, 0, 0, 1, 1] = 1  # the frame before
    block.b2a.conv3d.weight[0, 1] = 1
    block.b2b.conv3d.weight[0, 0, 1, 1, 2] = 1  # the pixel to the right
    block.b3b.conv3d.weight[0, 1] = 1
    x = torch.rand(1, 2, 4, 5, 6)
    norm = (1 + 1e-5) ** -0.5
    got = block(x)[0]
    torch.testing.assert_close(got[0], norm * x[0, 0])
    torch.testing.assert_close(got[1], functional.pad(norm**2 * x[0, 0, :-1], (0, 0, 0, 0, 1, 0)))
    torch.testing.assert_close(got[2], functional.pad(norm**2 * x[0, 1, ..., 1:], (0, 1)))
    torch.testing.assert_close(got[3], norm * functional.max_pool3d(x[:, 1], 3, 1, 1)[0])


@torch.inference_mode()
def test_a_unit_convolves_normalises_and_rectifies() -> None:
    torch.manual_seed(0)
    unit = i3d._Unit(2, 3, kernel=3, stride=2).eval()
    unit.bn.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    unit.bn.weight.copy_(torch.tensor([1.0, -2.0, 3.0]))
    x = torch.randn(1, 2, 4, 6, 5)
    padded = functional.pad(x, (1, 1, 0, 1, 0, 1))  # widths 5, 6 and 4: two missing, one and one
    plain = functional.conv3d(padded, unit.conv3d.weight, stride=2)
    mean, scale = (value[:, None, None, None] for value in (unit.bn.running_mean, unit.bn.weight))
    want = ((plain - mean) / (1 + 1e-5) ** 0.5 * scale).clamp(min=0)
    torch.testing.assert_close(unit(x), want)


@torch.inference_mode()
def test_features_are_means_over_pairs_of_steps_and_scores_are_linear_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of four steps the averages over two have the weights 1, 2, 2 and 1 of a sixth."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = I3D().eval()
    network.logits = i3d._Classes(1024, 7)
    last = torch.rand(2, 1024, 4, 7, 7)
    names: list[str] = []

    def mixed(x: Tensor, *blocks: str) -> Tensor:
        names.extend(blocks)
        return last if "5c" in blocks else x

    monkeypatch.setattr(network, "_mixed", mixed)
    for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"):
        setattr(network, name, nn.Identity())
    video = torch.rand(2, 3, 9, 224, 224)
    features = network.features(video)
    steps = last.mean((3, 4))
    torch.testing.assert_close(features, steps @ torch.tensor([1.0, 2, 2, 1]) / 6)
    weight = network.logits.conv3d.weight.flatten(1)
    torch.testing.assert_close(network(video), features @ weight.T + network.logits.conv3d.bias)
    assert names[:9] == ["3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"]


@pytest.mark.parametrize(
    ("height", "width", "resized"), [(120, 90, (299, 224)), (90, 121, (224, 302)), (60, 60, (224, 224))]
)
def test_the_longer_side_is_rounded_up_and_cut_to_its_middle(
    height: int, width: int, resized: tuple[int, int]
) -> None:
    """224 / 90 of 120 is 298.7; of 121 it is 301.2."""
    video = torch.rand(2, 3, 3, height, width)
    whole = torch.floor(video * 255) / 255
    top, left = (resized[0] - 224) // 2, (resized[1] - 224) // 2
    for clip in range(2):
        for frame in range(3):
            picture = functional.interpolate(
                whole[clip : clip + 1, :, frame], resized, mode="bilinear", align_corners=False
            )
            want = 2 * picture[0, :, top : top + 224, left : left + 224] - 1
            torch.testing.assert_close(preprocess(video)[clip, :, frame], want)
