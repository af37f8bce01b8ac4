"""I3D (Carreira and Zisserman 2017), the Kinetics-400 network on RGB behind FVD, and the preparation of its input.

Attribute names follow the public file ``i3d_pretrained_400.pt``. Convolutions and poolings pad with zeros to
TensorFlow's "same" size, worked out from the size of each input, with the odd element at the end.

FVD takes the logits as features. The preparation here is the usual one: the whole frame, shorter side to 224 pixels,
values in [-1, 1]. LatentSync's evaluation deviates from it (method G.2): face boxes resized to 224 pixels and values
left in [0, 1], with another file of this network. Values of the two do not compare.

Legend: B clips, C channels, F frames, H W pixels, T frames left after the strides.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_CLASSES = 400
SIZE = 224
MIN_FRAMES = 9  # the last pooling spans two steps of eight frames each

_Triple = tuple[int, int, int]

_MIXED = {  # outputs of: 1x1x1; 1x1x1 and 3x3x3 of the second and of the third branch; 1x1x1 after pooling
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


class I3D(nn.Module):
    """The network in inference form, without dropout; use it in evaluation mode."""

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = _Unit(64, 64, kernel=1)
        self.Conv3d_2c_3x3 = _Unit(64, 192, kernel=3)
        width = 192
        for name, widths in _MIXED.items():
            self.add_module(f"Mixed_{name}", _Mixed(width, widths))
            width = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = _Classes(width, num_classes)

    def forward(self, video_BCFHW: Tensor) -> Tensor:
        """Class scores before softmax ``[B, 400]``, mean over time, of ``[B, 3, F, 224, 224]`` in [-1, 1].

        Raises ``ValueError`` for another size or fewer than 9 frames.
        """
        scores_BK: Tensor = self.logits(self.features(video_BCFHW))
        return scores_BK

    def features(self, video_BCFHW: Tensor) -> Tensor:
        """What the class scores are a linear function of: ``[B, 1024]``, mean over space and time; see ``forward``."""
        shape = tuple(video_BCFHW.shape)
        if len(shape) != 5 or shape[1] != 3 or shape[2] < MIN_FRAMES or shape[3:] != (SIZE, SIZE):
            raise ValueError(
                f"I3D takes [B, 3, F, {SIZE}, {SIZE}] with at least {MIN_FRAMES} frames, got {shape}"
            )
        x = self.Conv3d_1a_7x7(video_BCFHW)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = self._mixed(x, "3b", "3c")
        x = _max_pool(x, (3, 3, 3), (2, 2, 2))
        x = self._mixed(x, "4b", "4c", "4d", "4e", "4f")
        x = _max_pool(x, (2, 2, 2), (2, 2, 2))
        x = self._mixed(x, "5b", "5c")
        return functional.avg_pool3d(x, (2, 7, 7), stride=1).mean((2, 3, 4))

    def _mixed(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(f"Mixed_{name}")(x)
        return x


def preprocess(video_BCFHW: Tensor) -> Tensor:
    """Input of the network, ``[B, 3, F, 224, 224] float32`` in [-1, 1], from ``[B, 3, F, H, W] float`` in [0, 1].

    Values are truncated to 8 bits, the shorter side is resized to 224 pixels (bilinear, no antialiasing; the longer
    one rounded up) and the centre is kept, as in the public FVD code of common_metrics_on_video_quality.
    """
    video_BCFHW = (video_BCFHW * 255).to(torch.uint8).float() / 255
    height, width = video_BCFHW.shape[3:]
    scale = SIZE / min(height, width)
    target = (SIZE, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), SIZE)
    images_NCHW = video_BCFHW.transpose(1, 2).flatten(0, 1)
    images_NCHW = functional.interpolate(images_NCHW, size=target, mode="bilinear", align_corners=False)
    top, left = (target[0] - SIZE) // 2, (target[1] - SIZE) // 2
    images_NCHW = images_NCHW[:, :, top : top + SIZE, left : left + SIZE]
    video_BFCHW = torch.unflatten(images_NCHW, 0, (len(video_BCFHW), -1))
    return (video_BFCHW.transpose(1, 2) - 0.5) * 2


class _Unit(nn.Module):
    """Convolution without bias, batch norm and ReLU, on input padded to the same size."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        kernel, stride = self.conv3d.kernel_size, self.conv3d.stride
        return functional.relu(self.bn(self.conv3d(_pad_same(x_BCTHW, kernel, stride))))


class _Mixed(nn.Module):
    """Inception block: four branches side by side; ``widths`` as in ``_MIXED``."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(in_channels, widths[0], kernel=1)
        self.b1a = _Unit(in_channels, widths[1], kernel=1)
        self.b1b = _Unit(widths[1], widths[2], kernel=3)
        self.b2a = _Unit(in_channels, widths[3], kernel=1)
        self.b2b = _Unit(widths[3], widths[4], kernel=3)
        self.b3b = _Unit(in_channels, widths[5], kernel=1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        pooled = _max_pool(x_BCTHW, (3, 3, 3), (1, 1, 1))
        branches = (
            self.b0(x_BCTHW),
            self.b1b(self.b1a(x_BCTHW)),
            self.b2b(self.b2a(x_BCTHW)),
            self.b3b(pooled),
        )
        return torch.cat(branches, dim=1)


class _Classes(nn.Module):
    """The classifier: a 1x1x1 convolution, applied to features ``[B, 1024]``."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, num_classes, 1)

    def forward(self, features_BC: Tensor) -> Tensor:
        scores_BK: Tensor = self.conv3d(features_BC[:, :, None, None, None]).flatten(1)
        return scores_BK


def _max_pool(x_BCTHW: Tensor, kernel: _Triple, stride: _Triple) -> Tensor:
    return functional.max_pool3d(_pad_same(x_BCTHW, kernel, stride), kernel, stride)


def _pad_same(x_BCTHW: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around each axis so that a step of ``stride`` visits ``ceil(size / stride)`` places."""
    padding: list[int] = []
    for size, k, s in zip(x_BCTHW.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        missing = max(k - (size % s or s), 0)
        padding += [missing // 2, missing - missing // 2]
    return functional.pad(x_BCTHW, padding)
