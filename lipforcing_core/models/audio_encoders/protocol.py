"""What an audio encoder is: features per video frame from a 16 kHz waveform."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class AudioEncoder(Protocol):
    """What the rest of the project asks of an audio encoder."""

    backend_id: str
    feature_dim: int
    lookahead_s: float  # how far beyond the end of a frame its features listen

    def encode(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """Features ``[num_frames, feature_dim]`` float32 of the frames 0 ... num_frames - 1."""
        ...

    def encode_range(self, waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Features of the frames ``[start, stop)``; sound outside the waveform counts as silence."""
        ...
