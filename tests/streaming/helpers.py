"""A face that a stand-in detector always finds, on drifting texture; small videos and speech-like noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.encode import VideoWriter, write_wav

SIDE = 192


class FixedFace:
    """Finds a face at the same place in every frame that is not black, and none in a frame with a margin."""

    backend_id = "fixed"

    def detect(self, frame: np.ndarray) -> list[Face]:
        if frame.mean() < 10 or len(frame) > SIDE:
            return []
        return [Face(box_xyxy=(48.0, 48.0, 144.0, 144.0), score=1.0, points=None)]


def texture(num_frames: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise that drifts, ``[F, SIDE, SIDE, 3] uint8``."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (num_frames + 24, 24, 3)).astype(np.float32)
    canvas = np.kron(coarse, np.ones((1, 8, 1)))
    rows = [np.repeat(canvas[i : i + 24], 8, axis=0) for i in range(num_frames)]
    return np.stack(rows).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray) -> Path:
    with VideoWriter(path, width=frames.shape[2], height=frames.shape[1]) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_speech(path: Path, seconds: float, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    write_wav(path, (0.1 * rng.standard_normal(round(seconds * 16000))).astype(np.float32))
    return path
