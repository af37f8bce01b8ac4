"""What a sync expert is, and the windows of picture and sound that all of them compare."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.sync.offset import SyncScore

WINDOW_FRAMES = 5


class SyncExpert(Protocol):
    """Says how well lips and sound belong together.

    Frames are aligned face crops [F, S, S, 3] uint8 RGB at 25 fps (``faces.align``), of any size S; waveforms are
    mono float32 in [-1, 1] at 16 kHz. Window i covers frames i to i + 4 and the 0.2 s of sound from frame i on.
    """

    @property
    def backend_id(self) -> str:
        """Name and content hash of the weights; scores of different ids must not be compared."""
        ...

    def embed_video(self, frames: np.ndarray) -> np.ndarray:
        """Lip embeddings [F - 4, E] float32."""
        ...

    def embed_audio(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """Sound embeddings [n, E] float32 with n = min(num_frames, samples // 640) - 5."""
        ...

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        """Sync-C, Sync-D and offset of a clip."""
        ...

    def reward_score(self, frames: np.ndarray, waveform: np.ndarray) -> float:
        """Sync-C of a short clip, shifts shortened instead of padded (method D.5)."""
        ...


def num_windows(num_frames: int, num_samples: int) -> int:
    """Windows that have both picture and sound: min(frames, samples // 640) - 5 (method F.6).

    Raises ``BadInputError`` where there is none.
    """
    count = min(num_frames, num_samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
    if count < 1:
        raise BadInputError(
            f"a sync score needs at least 6 frames with their sound, not {num_frames} frames "
            f"and {num_samples} samples"
        )
    return count


def check_crops(frames: np.ndarray) -> None:
    """Raise ``BadInputError`` unless ``frames`` are at least 5 square uint8 RGB crops."""
    square = frames.ndim == 4 and frames.shape[1] == frames.shape[2] and frames.shape[3] == 3
    if not square or frames.dtype != np.uint8 or len(frames) < WINDOW_FRAMES:
        raise BadInputError(
            f"a sync expert needs at least 5 aligned crops [F, S, S, 3] uint8, not {frames.shape} {frames.dtype}"
        )
