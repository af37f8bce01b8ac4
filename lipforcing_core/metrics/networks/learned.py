"""Feature extractors with learned networks, and how their files are found.

Legend: B images or clips, C channels, F frames, H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.arcface import ArcFaceFeatures, open_arcface
from lipforcing_core.metrics.networks.i3d import I3D, NUM_CLASSES, preprocess
from lipforcing_core.metrics.networks.inception import InceptionPool
from lipforcing_core.metrics.networks.protocol import (
    WINDOW_FRAMES,
    WINDOW_STRIDE,
    FeatureExtractor,
    check_frames,
)
from lipforcing_core.weights.load import load_network
from lipforcing_core.weights.registry import given_weight

_BATCH_FRAMES = 16

LEARNED_EXTRACTORS = {
    "inception-v3-fid": "random-conv-v1",
    "i3d-400": "random-conv3d-v1",
    "arcface-r100": "random-conv-v1",
}
"""Names of learned extractors, as in the registry of weights, and what stands in for each without its file."""

_Network = TypeVar("_Network", bound=nn.Module)


class InceptionFeatures:
    """Per-frame vectors for FID: ``[F, 2048]``, the last pooling of the FID Inception-v3 in ``inception``."""

    def __init__(self, network: InceptionPool, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[F, 2048] float32``; the network resizes to 299 x 299 (bilinear)."""
        check_frames(frames)
        starts = range(0, len(frames), _BATCH_FRAMES)
        batches = (_to_unit_interval(frames[start : start + _BATCH_FRAMES]) for start in starts)
        return torch.cat([self._network(images_BCHW * 2 - 1) for images_BCHW in batches]).numpy()


class I3DFeatures:
    """Vectors for FVD, one per window of 16 frames every 8 frames: ``[n, 400]``, the class scores of I3D.

    A clip of F frames gives ``(F - 16) // 8 + 1`` windows, none where F is below 16. Frames enter whole, prepared by
    ``i3d.preprocess``.
    """

    def __init__(self, network: I3D, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[n, 400] float32``; one window at a time, so memory is bounded."""
        check_frames(frames)
        if len(frames) < WINDOW_FRAMES:
            return np.zeros((0, NUM_CLASSES), dtype=np.float32)
        starts = range(0, len(frames) - WINDOW_FRAMES + 1, WINDOW_STRIDE)
        windows = (_to_unit_interval(frames[start : start + WINDOW_FRAMES]) for start in starts)
        videos = (window_FCHW.transpose(0, 1)[None] for window_FCHW in windows)
        return torch.cat([self._network(preprocess(video_BCFHW)) for video_BCFHW in videos]).numpy()


def load_learned(name: str, weights: Path | None) -> FeatureExtractor:
    """The extractor called ``name``, one of ``LEARNED_EXTRACTORS``, with the weights of a local file.

    Its backend id is the name and the first digits of the file's hash. Raises ``MissingWeightsError`` where the file
    is absent and ``IncompatibleCheckpointError`` where it does not fit the network.
    """
    path = given_weight(name, weights, instead=LEARNED_EXTRACTORS[name])
    backend_id = f"{name}@sha256:{file_sha256(path)[:12]}"
    if name == "arcface-r100":
        return ArcFaceFeatures(open_arcface(path), backend_id)
    if name == "inception-v3-fid":
        return InceptionFeatures(_filled(InceptionPool, path), backend_id)
    return I3DFeatures(_filled(I3D, path), backend_id)


def _filled(kind: type[_Network], path: Path) -> _Network:
    with torch.device("meta"):
        network = kind()
    load_network(network, path, dtype=torch.float32)
    return network.requires_grad_(False)


def _to_unit_interval(frames: np.ndarray) -> Tensor:
    """``[F, H, W, 3] uint8`` as ``[F, 3, H, W] float32`` in [0, 1], at its own size."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
