"""Between the pixels of files, 0 to 255, and the range of codecs, -1 to 1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_model_range(frames: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """``[f, S, S, 3] uint8`` to ``[1, 3, f, S, S] float32`` in [-1, 1] on ``device``."""
    return torch.from_numpy(frames).to(device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0


def to_pixels(video_BCFHW: Tensor) -> np.ndarray:
    """``[1, 3, f, S, S]`` in about [-1, 1], on any device, to ``[f, S, S, 3] uint8``, clamped and rounded."""
    pixels = ((video_BCFHW[0].clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
