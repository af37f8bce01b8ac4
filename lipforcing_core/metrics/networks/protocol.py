"""What a feature network is: it turns a clip into vectors for FID, FVD or CSIM."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

WINDOW_FRAMES = 16


WINDOW_STRIDE = 8


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


def check_frames(frames: np.ndarray) -> None:
    """Raise ``ValueError`` for anything but ``[F, H, W, 3] uint8``."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected [F, H, W, 3] uint8 frames, got {frames.dtype} {frames.shape}")


def to_unit_range(frames: np.ndarray, size: int) -> Tensor:
    """``[F, H, W, 3] uint8`` resized to size x size (area) as ``[F, 3, size, size] float32`` in [-1, 1]."""
    check_frames(frames)
    resized = np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 127.5 - 1.0
