"""Features for FID: the last pooling of the FID Inception-v3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.filling import filled
from lipforcing_core.metrics.networks.inception import InceptionPool
from lipforcing_core.metrics.networks.pictures import check_frames, to_unit_interval

_BATCH_FRAMES = 16


class InceptionFeatures:
    """Per-frame vectors for FID: ``[F, 2048]``, the last pooling of the FID Inception-v3 in ``inception``."""

    def __init__(self, network: InceptionPool, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @classmethod
    def load(cls, path: Path | None) -> InceptionFeatures:
        """From ``pt_inception-2015-12-05-6726825d.pth``; raises as ``filled`` does."""
        network = filled(InceptionPool, path)
        return cls(network, f"inception-v3-fid@sha256:{file_sha256(str(path))[:12]}")

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[F, 2048] float32``; the network resizes to 299 x 299 (bilinear)."""
        check_frames(frames)
        starts = range(0, len(frames), _BATCH_FRAMES)
        batches = (to_unit_interval(frames[start : start + _BATCH_FRAMES]) for start in starts)
        return torch.cat([self._network(images_BCHW * 2 - 1) for images_BCHW in batches]).numpy()
