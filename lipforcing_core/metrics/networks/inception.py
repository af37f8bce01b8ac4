"""Inception-v3 (Szegedy et al. 2016) as FID was defined with it: the TensorFlow network of 2015-12-05.

Attribute names follow ``pt_inception-2015-12-05-6726825d.pth``, its port by pytorch-fid. It differs from
torchvision's Inception-v3 in its weights, its 1008 classes, its missing auxiliary classifier, and its pooling:
averages at the border count real pixels only, and the last block (7c) pools by maximum.

Legend: B images, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_CLASSES = 1008
NUM_FEATURES = 2048
SIZE = 299

_Size = int | tuple[int, int]
_Pool = Callable[[Tensor], Tensor]


class InceptionPool(nn.Module):
    """The network up to its last pooling; use it in evaluation mode.

    ``fc`` computes nothing here. It is part of the file, and its 1008 classes tell this network from others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, padding=0)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, _average_3x3)
        self.Mixed_7c = _BlockE(2048, _maximum_3x3)
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Pooled features ``[B, 2048]``, none negative, of RGB ``[B, 3, H, W]`` in [-1, 1].

        Images are resized to 299 x 299 (bilinear, no antialiasing) as pytorch-fid does; other tools resize with
        other filters and give other distances.
        """
        x = functional.interpolate(images_BCHW, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = _halve(x)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = _halve(x)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7a(x)
        x = self.Mixed_7c(self.Mixed_7b(x))
        features_BC: Tensor = x.mean((2, 3))
        return features_BC


class _Unit(nn.Module):
    """Convolution without bias, batch norm and ReLU; padded to the same size unless ``padding`` says otherwise."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: _Size,
        *,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        pad = (height // 2, width // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(
            in_channels, out_channels, (height, width), stride=stride, padding=pad, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x_BCHW)))


class _BlockA(nn.Module):
    """35 x 35 pixels: 1x1, 5x5, twice 3x3, and an average of ``pool_channels``."""

    def __init__(self, in_channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(in_channels, 64, 1)
        self.branch5x5_1 = _Unit(in_channels, 48, 1)
        self.branch5x5_2 = _Unit(48, 64, 5)
        self.branch3x3dbl_1 = _Unit(in_channels, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3)
        self.branch3x3dbl_3 = _Unit(96, 96, 3)
        self.branch_pool = _Unit(in_channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch1x1(x), five, three, self.branch_pool(_average_3x3(x))), dim=1)


class _BlockB(nn.Module):
    """35 to 17 pixels: 3x3, twice 3x3, and a maximum, all with stride 2."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Unit(in_channels, 384, 3, stride=2, padding=0)
        self.branch3x3dbl_1 = _Unit(in_channels, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), double, _halve(x)), dim=1)


class _BlockC(nn.Module):
    """17 x 17 pixels: 1x1, one and two 7x7 split into rows and columns of ``width`` channels, and an average."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(in_channels, 192, 1)
        self.branch7x7_1 = _Unit(in_channels, width, 1)
        self.branch7x7_2 = _Unit(width, width, (1, 7))
        self.branch7x7_3 = _Unit(width, 192, (7, 1))
        self.branch7x7dbl_1 = _Unit(in_channels, width, 1)
        self.branch7x7dbl_2 = _Unit(width, width, (7, 1))
        self.branch7x7dbl_3 = _Unit(width, width, (1, 7))
        self.branch7x7dbl_4 = _Unit(width, width, (7, 1))
        self.branch7x7dbl_5 = _Unit(width, 192, (1, 7))
        self.branch_pool = _Unit(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat((self.branch1x1(x), single, double, self.branch_pool(_average_3x3(x))), dim=1)


class _BlockD(nn.Module):
    """17 to 8 pixels: 3x3, 7x7 and 3x3, and a maximum, all with stride 2."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(in_channels, 192, 1)
        self.branch3x3_2 = _Unit(192, 320, 3, stride=2, padding=0)
        self.branch7x7x3_1 = _Unit(in_channels, 192, 1)
        self.branch7x7x3_2 = _Unit(192, 192, (1, 7))
        self.branch7x7x3_3 = _Unit(192, 192, (7, 1))
        self.branch7x7x3_4 = _Unit(192, 192, 3, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat((three, self.branch7x7x3_4(seven), _halve(x)), dim=1)


class _BlockE(nn.Module):
    """8 x 8 pixels: 1x1, 3x3 and twice 3x3 that end in a row beside a column, and ``pool``."""

    def __init__(self, in_channels: int, pool: _Pool) -> None:
        super().__init__()
        self.branch1x1 = _Unit(in_channels, 320, 1)
        self.branch3x3_1 = _Unit(in_channels, 384, 1)
        self.branch3x3_2a = _Unit(384, 384, (1, 3))
        self.branch3x3_2b = _Unit(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Unit(in_channels, 448, 1)
        self.branch3x3dbl_2 = _Unit(448, 384, 3)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1))
        self.branch_pool = _Unit(in_channels, 192, 1)
        self._pool = pool

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = (
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self._pool(x)),
        )
        return torch.cat(branches, dim=1)


def _average_3x3(x_BCHW: Tensor) -> Tensor:
    return functional.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


def _maximum_3x3(x_BCHW: Tensor) -> Tensor:
    return functional.max_pool2d(x_BCHW, 3, stride=1, padding=1)


def _halve(x_BCHW: Tensor) -> Tensor:
    return functional.max_pool2d(x_BCHW, 3, stride=2)
