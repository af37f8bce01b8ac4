"""Feature extractors for FID, FVD and CSIM behind one protocol.

Embedded: fixed-seed random networks, named as such. Inception-v3, I3D and ArcFace (``learned``) need a file each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from lipforcing_core.errors import BadInputError
from lipforcing_core.metrics.random_conv import RandomConvNet

WINDOW_FRAMES = 16
WINDOW_STRIDE = 8
RANDOM_SCALE = 30.0  # puts Frechet distances of random features at a scale that tables can print


class FeatureExtractor(Protocol):
    """Turns a clip into feature vectors; the backend id goes on every score made from them."""

    @property
    def backend_id(self) -> str:
        """Which network, in which version, with which weights."""
        ...

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[n, d] float32``: a vector per frame, or per window for video.

        n is 0 where a clip is too short for one window.
        """
        ...


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


LEARNED_EXTRACTORS = {
    "inception-v3-fid": "random-conv-v1",
    "i3d-400": "random-conv3d-v1",
    "arcface-r100": "random-conv-v1",
}
"""Names of learned extractors, as in the registry of weights, and what stands in for each without its file."""


def load_extractor(name: str, *, seed: int = 0, weights: Path | None = None) -> FeatureExtractor:
    """The extractor called ``name``.

    Random, from ``seed``: ``random-conv-v1`` (images), ``random-conv3d-v1`` (video). Learned, from the file
    ``weights``: ``inception-v3-fid`` (images), ``i3d-400`` (video), ``arcface-r100`` (faces).

    Raises ``MissingWeightsError`` where a learned one has no file, ``IncompatibleCheckpointError`` where the file does
    not fit it, and ``BadInputError`` for any other name.
    """
    if name == "random-conv-v1":
        return RandomImageFeatures(seed)
    if name == "random-conv3d-v1":
        return RandomVideoFeatures(seed)
    if name in LEARNED_EXTRACTORS:
        from lipforcing_core.metrics.learned import load_learned  # it imports the protocol from here

        return load_learned(name, weights)
    known = ", ".join(["random-conv-v1", "random-conv3d-v1", *LEARNED_EXTRACTORS])
    raise BadInputError(f"unknown feature extractor {name!r}; known: {known}")


def check_frames(frames: np.ndarray) -> None:
    """Raise ``ValueError`` for anything but ``[F, H, W, 3] uint8``."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected [F, H, W, 3] uint8 frames, got {frames.dtype} {frames.shape}")


def to_unit_range(frames: np.ndarray, size: int) -> Tensor:
    """``[F, H, W, 3] uint8`` resized to size x size (area) as ``[F, 3, size, size] float32`` in [-1, 1]."""
    check_frames(frames)
    resized = np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 127.5 - 1.0


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
