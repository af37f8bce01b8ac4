"""Small drawn talking heads whose truth is known, and a sync expert that sees brightness."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.encode import VideoWriter, write_wav
from lipforcing_core.metrics.aggregate import aggregate
from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.item import evaluate_item
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord, record_prediction
from lipforcing_core.metrics.protocol import CropMode, Protocol
from lipforcing_core.metrics.suite import Evaluation, assemble, check_request

NUM_FRAMES = 26
SIZE = 96
Score = namedtuple("Score", "confidence distance offset_frames")

PRECROPPED = Protocol(
    name="precropped",
    crop_mode=CropMode.PRECROPPED,
    size=256,
    alignment="none",
    scored_codec="H.264 CRF 0",
    reinsertion="aligned crop",
)


class BrightnessExpert:
    """Sync-C is the correlation of frame brightness and loudness, times ten."""

    backend_id = "brightness@test"

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> Score:
        if len(frames) < 6:
            raise BadInputError("a sync score needs at least 6 frames")
        loud = np.abs(waveform.reshape(len(frames), 640)).mean(axis=1)
        bright = frames.mean(axis=(1, 2, 3))
        if np.ptp(bright) < 1.0e-9:
            return Score(confidence=float("nan"), distance=5.0, offset_frames=0)
        c = float(np.corrcoef(bright, loud)[0, 1])
        return Score(confidence=-10 * c, distance=5 + c, offset_frames=0)


def gaps(seed: int) -> np.ndarray:
    """A lip gap per frame in [0, 1], closed for nine frames somewhere."""
    rng = np.random.default_rng(seed)
    curve = np.convolve(rng.random(NUM_FRAMES + 2), np.ones(3) / 3, mode="valid")
    curve = (curve - curve.min()) / np.ptp(curve)
    start = int(rng.integers(0, NUM_FRAMES - 9))
    curve[start : start + 9] = 0
    return curve


def head(seed: int, mouth: np.ndarray, size: int = SIZE) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(110, 200, (8, 8, 3), dtype=np.uint8), (size, size))
    frames = []
    for gap in mouth:
        frame = picture.copy()
        if gap > 0.02:
            axes = (round(0.15 * size), max(1, round(0.09 * size * gap)))
            cv2.ellipse(frame, (size // 2, round(0.67 * size)), axes, 0, 0, 360, (30, 10, 10), -1)
        frames.append(frame)
    return frames


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width=width, height=height, crf=0) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_speech(path: Path, loudness: np.ndarray) -> Path:
    carrier = np.sin(np.arange(len(loudness) * 640) / 10)
    write_wav(path, (0.8 * np.repeat(loudness, 640) * carrier).astype(np.float32))
    return path


def make_item(folder: Path, index: int) -> EvalItem:
    folder.mkdir()
    spoken, own, other = gaps(10 * index), gaps(10 * index + 1), gaps(10 * index + 2)
    write_video(folder / "blurred.mp4", [cv2.GaussianBlur(f, (0, 0), 2) for f in head(index, spoken)])
    return EvalItem(
        clip_id=f"clip{index}",
        identity=f"person{index}",
        truth_video=write_video(folder / "truth.mp4", head(index, spoken)),
        source_video=write_video(folder / "source.mp4", head(index, own)),
        driving_audio=write_speech(folder / "driving.wav", spoken),
        unrelated_audio=write_speech(folder / "unrelated.wav", other),
    )


def predictions_of(item: EvalItem) -> list:
    folder = item.truth_video.parent
    return [
        record_prediction(item.clip_id, "oracle", folder / "truth.mp4"),
        record_prediction(item.clip_id, "student", folder / "blurred.mp4"),
        record_prediction(item.clip_id, "student", folder / "blurred.mp4", driven_by=DrivenBy.UNRELATED),
        record_prediction(item.clip_id, "copy", folder / "source.mp4", driven_by=DrivenBy.OWN),
    ]


def evaluate_all(
    items: list[EvalItem],
    predictions: list[PredictionRecord],
    protocol: Protocol,
    backends: Backends,
    *,
    pairs: Iterable[tuple[str, str]] = (),
) -> Evaluation:
    """What the task of the same name does, in this process."""
    check_request(items, predictions, protocol, tuple(pairs))
    results = [evaluate_item(item, predictions, protocol, backends) for item in items]
    whole = aggregate(results, protocol, backends, pairs=tuple(pairs))
    return assemble(items, predictions, protocol, results, whole)
