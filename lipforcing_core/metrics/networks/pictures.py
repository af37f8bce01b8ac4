"""Frames as the tensors that networks take."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def check_frames(frames: np.ndarray) -> None:
    """Raise ``ValueError`` for anything but ``[F, H, W, 3] uint8``."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected [F, H, W, 3] uint8 frames, got {frames.dtype} {frames.shape}")


def to_unit_range(frames: np.ndarray, size: int) -> Tensor:
    """``[F, H, W, 3] uint8`` resized to size x size (area) as ``[F, 3, size, size] float32`` in [-1, 1]."""
    check_frames(frames)
    resized = np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_unit_interval(frames: np.ndarray) -> Tensor:
    """``[F, H, W, 3] uint8`` as ``[F, 3, H, W] float32`` in [0, 1], at its own size."""
    check_frames(frames)
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def pair_to_unit_range(prediction: np.ndarray, truth: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """``to_unit_range`` of two clips; raises ``ValueError`` where they differ in shape."""
    if prediction.shape != truth.shape:
        raise ValueError(f"clips differ in shape: {prediction.shape} and {truth.shape}")
    return to_unit_range(prediction, size), to_unit_range(truth, size)
