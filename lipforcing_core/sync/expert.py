"""The protocol of a sync expert, and the loader of the two that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from lipforcing_core.errors import BadInputError
from lipforcing_core.sync.offset import SyncScore

SAMPLES_PER_FRAME = 640
WINDOW_FRAMES = 5
EXPERT_NAMES = ("nano", "syncnet-v2")


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


def load_sync_expert(name: str = "nano", weights: Path | None = None) -> SyncExpert:
    """The expert called ``name``.

    ``nano`` uses the shipped weights unless a file is given. ``syncnet-v2`` needs the file of the public network;
    raises ``MissingWeightsError`` saying where it comes from otherwise, ``IncompatibleCheckpointError`` where the file
    does not fit, and ``BadInputError`` for another name.
    """
    if name == "nano":
        from lipforcing_core.sync.nano import NanoExpert

        return NanoExpert.load(weights)
    if name == "syncnet-v2":
        from lipforcing_core.sync.syncnet_v2 import SyncNetV2Expert

        return SyncNetV2Expert.load(weights)
    raise BadInputError(f"unknown sync expert {name!r}; known: {', '.join(EXPERT_NAMES)}")


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
