"""A corpus with a known truth, and scorers that can read that truth.

The "face" of a test video is a red square whose blue channel follows the loudness of the sound, so a scorer can
measure how far the two are apart; a grey frame has no face.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sound.activity.protocol import SpeechActivity
from lipforcing_core.sync.offset import SyncScore

from .scripted import Steps

WIDTH, HEIGHT = 320, 240

Curate = Callable[..., SourceOutcome]


class SquareDetector:
    """Finds the red squares."""

    backend_id = "square-v1"
    calls = 0

    def detect(self, frame: np.ndarray) -> list[Face]:
        type(self).calls += 1
        red = (frame[..., 0] > 150) & (frame[..., 1] < 80)
        columns = np.flatnonzero(red.any(axis=0))
        squares = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
        return [_face(red, square) for square in squares if red[:, square].sum() >= 500]


def _face(red: np.ndarray, columns: np.ndarray) -> Face:
    rows = np.flatnonzero(red[:, columns].any(axis=1))
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Face(box_xyxy=tuple(map(float, edges)), score=1.0)  # type: ignore[arg-type]


class BlueExpert:
    """Correlates the blue channel of the crop with the loudness of the sound, as a SyncNet would embeddings."""

    backend_id = "blue-v1"
    calls = 0

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        type(self).calls += 1
        size = frames.shape[1]
        centre = slice(size * 3 // 8, size * 5 // 8)
        seen = frames[:, centre, centre, 2].mean(axis=(1, 2))
        heard = np.sqrt((waveform[: len(frames) * 640].reshape(-1, 640) ** 2).mean(axis=1))
        inner = slice(15, len(frames) - 15)
        distances = []
        for offset in range(15, -16, -1):
            shifted = np.roll(heard, offset)
            alike = np.corrcoef(seen[inner], shifted[inner])[0, 1] if heard.any() else 0.0
            distances.append(1 - float(alike))
        best = int(np.argmin(distances))
        return SyncScore(
            confidence=10 * (float(np.median(distances)) - distances[best]),
            distance=distances[best],
            offset_frames=15 - best,
            num_windows=len(seen),
            backend=self.backend_id,
            distances=tuple(distances),
        )


class DetailQuality:
    """Rates the noise in the picture."""

    backend_id = "detail-v1"
    calls = 0

    def score(self, frames: np.ndarray) -> QualityScore:
        type(self).calls += 1
        value = float(np.abs(np.diff(frames[..., 1].astype(int), axis=2)).mean())
        return QualityScore(value=value, backend=self.backend_id, higher_is_better=True)


class EverySoundSpeaks:
    """Takes all sound for speech."""

    backend_id = "speaks-v1"

    def activity(self, waveform_S: np.ndarray) -> SpeechActivity:
        hops = np.ones(-(-len(waveform_S) // 512), dtype=np.float32)
        return SpeechActivity(probability_N=hops, hop=512, num_samples=len(waveform_S))


def speech(num_frames: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes with every frame: float32 [640 * num_frames]."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0.02, 0.5, num_frames), 640)
    return (level * rng.uniform(-1, 1, num_frames * 640)).astype(np.float32)


def make_video(
    path: Path,
    shots: list[str],
    *,
    offset_frames: int = 0,
    sound: str = "speech",
    seed: int = 0,
    shot_frames: int = 60,
) -> Path:
    """Render shots: ``face``, ``grey`` (no face), ``flat`` (a face without detail), ``half`` (the face leaves),
    ``still`` (nothing moves), ``right speaks`` (two faces)."""
    num_frames = shot_frames * len(shots)
    waveform = speech(num_frames, seed)
    level = np.sqrt((waveform.reshape(-1, 640) ** 2).mean(axis=1))
    other = np.random.default_rng(seed + 1).uniform(0.02, 0.3, num_frames)
    rng = np.random.default_rng(seed)
    grain = rng.integers(-40, 40, (HEIGHT, WIDTH))
    picture = path.with_name(f"{path.stem}-silent.mp4")
    with VideoWriter(picture, width=WIDTH, height=HEIGHT, crf=4) as writer:
        for k in range(num_frames):
            shot, kind = k // shot_frames, shots[k // shot_frames]
            frame = np.full((HEIGHT, WIDTH, 3), 40 + 150 * (shot % 2), dtype=np.int64)
            frame[::2] += 10 * shot
            if kind == "right speaks":
                for left, moves in ((40, other), (170, level)):
                    frame[60:190, left : left + 110] = (220, 30, int(400 * moves[k]))
                    frame[60:190, left : left + 110, 1] += grain[60:190, left : left + 110]
            present = kind in ("face", "flat", "still") or (
                kind == "half" and k % shot_frames < shot_frames // 2
            )
            if present:
                square = (slice(60, 190), slice(80 + 50 * (shot % 3), 200 + 50 * (shot % 3)))
                frame[square] = (220, 30, int(400 * level[0 if kind == "still" else k]))
                if kind != "flat":
                    frame[square[0], square[1], 1] += grain[square]
            writer.write(frame.clip(0, 255).astype(np.uint8))
    if sound == "none":
        picture.rename(path)
        return path
    heard = np.roll(waveform, -offset_frames * 640)  # positive: the sound lies earlier than its picture
    mux(picture, np.zeros_like(heard) if sound == "silent" else heard, path)
    picture.unlink()
    return path


@pytest.fixture(autouse=True)
def _encodings(encodings_are_named: Callable[[str], None]) -> None:
    encodings_are_named("lipforcing_core.curation")


@pytest.fixture
def backends() -> CurationBackends:
    for kind in (SquareDetector, BlueExpert, DetailQuality):
        kind.calls = 0
    return CurationBackends(
        detector=SquareDetector(),
        sync_expert=BlueExpert(),  # type: ignore[arg-type]
        quality=DetailQuality(),  # type: ignore[arg-type]
        activity=EverySoundSpeaks(),
    )


@pytest.fixture
def settings() -> CurationSettings:
    return CurationSettings(
        min_segment_s=2.0,
        max_segment_s=4.0,
        min_face_height_px=40,
        sync_confidence_min=3.0,
        quality_threshold=2.0,
    )


@pytest.fixture
def store(tmp_path: Path) -> StepStore:
    return StepStore(tmp_path / "store")


def curator(settings: CurationSettings, backends: CurationBackends, store: StepStore) -> Curate:
    def run(path: Path, into: StepStore = store, **changes: object) -> SourceOutcome:
        changed = settings.model_copy(update=changes)
        return curate_source(path, settings=changed, backends=backends, store=into, root=path.parent)

    return run


@pytest.fixture
def said(store: StepStore, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """What the steps that look at pieces say, in place of them."""
    return Steps(store, monkeypatch)


@pytest.fixture
def curate(settings: CurationSettings, backends: CurationBackends, store: StepStore) -> Curate:
    """Curate a video, with changed settings or into another store."""
    return curator(settings, backends, store)


@pytest.fixture(scope="session")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Render a test video once for equal arguments."""
    folder = tmp_path_factory.mktemp("reels")

    def make(name: str, shots: list[str], **options: object) -> Path:
        path = folder / f"{name}.mp4"
        return path if path.exists() else make_video(path, shots, **options)  # type: ignore[arg-type]

    return make
