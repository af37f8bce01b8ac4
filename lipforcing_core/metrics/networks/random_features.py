"""Features of fixed-seed random networks, named as such: the embedded stand-ins for Inception and I3D."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.metrics.networks.pictures import to_unit_range
from lipforcing_core.metrics.networks.protocol import WINDOW_FRAMES, WINDOW_STRIDE
from lipforcing_core.metrics.networks.random_conv import RandomConvNet

RANDOM_SCALE = 30.0  # puts Frechet distances of random features at a scale that tables can print


class RandomImageFeatures:
    """Per-frame vectors of a random image network: ``[F, 64]``.

    Frames are resized to 128 x 128 (area) and scaled to [-1, 1]; of each layer's channels the mean and the standard
    deviation over space are taken (224 numbers), projected on 64 fixed random orthonormal directions and scaled.
    """

    SIZE = 128
    DIM = 64

    def __init__(self, seed: int = 0) -> None:
        self.backend_id = f"random-conv-v1@seed{seed}"
        widths = (16, 32, 64)
        self._net = RandomConvNet(widths=widths, kernels=((5, 5), (3, 3), (3, 3)), seed=seed)
        self._project = _orthonormal(2 * sum(widths), self.DIM, seed + 1)

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[F, 64] float32``."""
        video_FCHW = to_unit_range(frames, self.SIZE)
        parts = [_mean_and_spread(self._net(batch)) for batch in video_FCHW.split(16)]
        return (RANDOM_SCALE * torch.cat(parts) @ self._project).numpy()


class RandomVideoFeatures:
    """Vectors of a random space-time network, one per window of 16 frames every 8 frames: ``[n, 32]``.

    Frames are resized to 64 x 64 (area) and scaled to [-1, 1], then pooled as in ``RandomImageFeatures`` and projected
    on 32 directions. A clip of F frames gives ``(F - 16) // 8 + 1`` windows, none where F is below 16.
    """

    SIZE = 64
    DIM = 32

    def __init__(self, seed: int = 0) -> None:
        self.backend_id = f"random-conv3d-v1@seed{seed}"
        widths = (16, 32, 32)
        self._net = RandomConvNet(widths=widths, kernels=((3, 5, 5), (3, 3, 3), (3, 3, 3)), seed=seed)
        self._project = _orthonormal(2 * sum(widths), self.DIM, seed + 1)

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[n, 32] float32``."""
        if len(frames) < WINDOW_FRAMES:
            return np.zeros((0, self.DIM), dtype=np.float32)
        video_FCHW = to_unit_range(frames, self.SIZE)
        windows_BFCHW = video_FCHW.unfold(0, WINDOW_FRAMES, WINDOW_STRIDE).permute(0, 4, 1, 2, 3)
        parts = [
            _mean_and_spread(self._net(batch.transpose(1, 2).contiguous()))
            for batch in windows_BFCHW.split(2)
        ]
        return (RANDOM_SCALE * torch.cat(parts) @ self._project).numpy()


def _mean_and_spread(activations: list[Tensor]) -> Tensor:
    """Mean and standard deviation over all but batch and channel, of all layers side by side: ``[B, 2 sum(C)]``."""
    parts = []
    for layer in activations:
        x = layer.flatten(2)
        mean = x.mean(2)
        parts += [mean, (x - mean[..., None]).square().mean(2).sqrt()]
    return torch.cat(parts, dim=1)


def _orthonormal(rows: int, columns: int, seed: int) -> Tensor:
    """``[rows, columns]`` with orthonormal columns, from the seed; signs fixed, so that any LAPACK agrees."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, columns)))
    return torch.from_numpy((q * np.sign(np.diag(r))).astype(np.float32))
