"""Feature extractors for FID, FVD and CSIM behind one protocol.

Embedded: fixed-seed random networks, named as such. Inception-v3, I3D and ArcFace have their names here; asking for
one says which file it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from lipforcing_core.errors import BadInputError, MissingWeightsError
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


@dataclass(frozen=True, kw_only=True)
class _LearnedNetwork:
    """What has to be known of a network that is not shipped."""

    file: str
    source: str
    licence: str
    instead: str


LEARNED_NETWORKS = {
    "inception-v3": _LearnedNetwork(
        file="pt_inception-2015-12-05-6726825d.pth",
        source="https://github.com/mseitzer/pytorch-fid/releases",
        licence="Apache-2.0",
        instead="random-conv-v1",
    ),
    "i3d": _LearnedNetwork(
        file="i3d_torchscript.pt",
        source="https://github.com/JunyaoHu/common_metrics_on_video_quality (400-class Kinetics I3D)",
        licence="Apache-2.0 (network); the Kinetics terms apply to its training data",
        instead="random-conv3d-v1",
    ),
    "arcface-r100": _LearnedNetwork(
        file="glintr100.onnx",
        source="https://github.com/deepinsight/insightface (model pack antelopev2)",
        licence="InsightFace model licence: non-commercial research only",
        instead="random-conv-v1",
    ),
}


def load_extractor(name: str, *, seed: int = 0) -> FeatureExtractor:
    """The extractor called ``name``: ``random-conv-v1`` (images) or ``random-conv3d-v1`` (video).

    Raises ``MissingWeightsError`` for ``inception-v3``, ``i3d`` and ``arcface-r100``, whose weights this version
    cannot load yet, and ``BadInputError`` for any other name.
    """
    if name == "random-conv-v1":
        return RandomImageFeatures(seed)
    if name == "random-conv3d-v1":
        return RandomVideoFeatures(seed)
    if network := LEARNED_NETWORKS.get(name):
        raise MissingWeightsError(
            f"feature extractor {name} needs {network.file} from {network.source} (licence: {network.licence}), "
            f"and this version cannot load it yet; use {network.instead!r}, whose scores carry its own name."
        )
    known = ", ".join(["random-conv-v1", "random-conv3d-v1", *LEARNED_NETWORKS])
    raise BadInputError(f"unknown feature extractor {name!r}; known: {known}")


def to_unit_range(frames: np.ndarray, size: int) -> Tensor:
    """``[F, H, W, 3] uint8`` resized to size x size (area) as ``[F, 3, size, size] float32`` in [-1, 1]."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected [F, H, W, 3] uint8 frames, got {frames.dtype} {frames.shape}")
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
