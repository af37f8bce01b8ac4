"""Features for FVD: the class scores of I3D over windows of frames.

Legend: B clips, C channels, F frames, H W pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.filling import filled
from lipforcing_core.metrics.networks.i3d import I3D, NUM_CLASSES, preprocess
from lipforcing_core.metrics.networks.pictures import check_frames, to_unit_interval
from lipforcing_core.metrics.networks.protocol import WINDOW_FRAMES, WINDOW_STRIDE


class I3DFeatures:
    """Vectors for FVD, one per window of 16 frames every 8 frames: ``[n, 400]``, the class scores of I3D.

    A clip of F frames gives ``(F - 16) // 8 + 1`` windows, none where F is below 16. Frames enter whole, prepared by
    ``i3d.preprocess``.
    """

    def __init__(self, network: I3D, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @classmethod
    def load(cls, path: Path | None) -> I3DFeatures:
        """From ``i3d_pretrained_400.pt``; raises as ``filled`` does."""
        network = filled(I3D, path)
        return cls(network, f"i3d-400@sha256:{file_sha256(str(path))[:12]}")

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[n, 400] float32``; one window at a time, so memory is bounded."""
        check_frames(frames)
        if len(frames) < WINDOW_FRAMES:
            return np.zeros((0, NUM_CLASSES), dtype=np.float32)
        starts = range(0, len(frames) - WINDOW_FRAMES + 1, WINDOW_STRIDE)
        windows = (to_unit_interval(frames[start : start + WINDOW_FRAMES]) for start in starts)
        videos = (window_FCHW.transpose(0, 1)[None] for window_FCHW in windows)
        return torch.cat([self._network(preprocess(video_BCFHW)) for video_BCFHW in videos]).numpy()
