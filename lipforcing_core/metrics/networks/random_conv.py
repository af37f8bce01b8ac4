"""Fixed-seed random convolutional networks: the embedded stand-ins for learned feature networks.

They need no download and give the same numbers on every machine up to float rounding, since the weights are drawn
by numpy's PCG64 from the seed. Random features order degradations such as blur, noise and shifts sensibly, but know
nothing of faces or people: their scores compare only with scores of the same backend id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

NEGATIVE_SLOPE = 0.2
PLAIN_SHARE = 4
"""One filter in so many keeps its mean and sees brightness and colour; the others see contrast only."""


class RandomConvNet(nn.Module):
    """A stack of random convolutions, each followed by a leaky ReLU; returns the activations of every layer.

    ``widths`` and ``kernels`` describe the layers; a kernel is (height, width) for images or (time, height, width)
    for video. Every filter has unit norm times sqrt(2 / (1 + slope^2)), so activations keep their scale through the
    stack. Strides are 2 along every axis but the first time axis, where they are 1.
    """

    def __init__(self, *, widths: Sequence[int], kernels: Sequence[tuple[int, ...]], seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self._is_video = len(kernels[0]) == 3
        self._strides: list[tuple[int, ...]] = []
        channels = 3
        for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            weight = torch.from_numpy(_filters(rng, (width, channels, *kernel)))
            self.register_buffer(f"weight_{index}", weight, persistent=False)
            time_stride = (1 if index == 0 else 2,) if self._is_video else ()
            self._strides.append((*time_stride, 2, 2))
            channels = width
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[B, 3, H, W]`` or ``[B, 3, F, H, W]`` in [-1, 1] to one activation tensor per layer."""
        convolve = nn.functional.conv3d if self._is_video else nn.functional.conv2d
        activations = []
        for index, stride in enumerate(self._strides):
            weight = self.get_buffer(f"weight_{index}")
            padding = tuple(size // 2 for size in weight.shape[2:])
            x = nn.functional.leaky_relu(convolve(x, weight, stride=stride, padding=padding), NEGATIVE_SLOPE)
            activations.append(x)
        return activations


def _filters(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    filters = rng.standard_normal(shape)
    flat = filters.reshape(shape[0], -1)
    contrast = np.arange(shape[0]) % PLAIN_SHARE != 0
    flat[contrast] -= flat[contrast].mean(axis=1, keepdims=True)
    flat *= np.sqrt(2 / (1 + NEGATIVE_SLOPE**2)) / np.linalg.norm(flat, axis=1, keepdims=True)
    return filters.astype(np.float32)
