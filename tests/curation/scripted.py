"""Pieces, and steps that say of them what the tests want."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pieces import Curated, curate_pieces
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import (
    Finished,
    Piece,
    QualityResult,
    Reading,
    Shot,
    SpeechResult,
    SyncResult,
    TrackFacts,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile

from .readings import plain_reading

Curate = Callable[..., Curated]

SETTINGS = CurationSettings(min_segment_s=2.0, max_segment_s=4.0, quality_threshold=50, val_fraction=0.4)
FILE = SourceFile(path=Path("/corpus/sub/a.mp4"), name="sub/a.mp4", sha256="ab" * 32)
FACTS = SourceFacts(identity="anna", licence="MIT", commercial_ok=True)
READ = "re" * 8


class Detector:
    backend_id = "detector-v1"


BACKENDS = CurationBackends(detector=Detector(), sync_expert="expert", quality="scorer", activity="activity")  # type: ignore[arg-type]


def track(number: int = 0, **changes: Any) -> TrackFacts:
    values: dict[str, Any] = {
        "number": number,
        "detected_fraction": 0.9,
        "absent_frames": 0,
        "face_height_px": 100.0,
        "box_xyxy": (10.0, 20.5, 90.0, 120.0),
        "yaw_deg": 12.0,
        "pitch_deg": -9.0,
        "lips_outside": 0.05,
        "mouth_likeness": 0.875,
        "repeated": (2, 4),
        "clip_sha256": f"{number + 1:02d}" * 32,
    }
    return TrackFacts(**(values | changes))


def piece(start: int = 0, stop: int = 60, *tracks: TrackFacts, **changes: Any) -> Piece:
    values: dict[str, Any] = {"start": start, "stop": stop, "shot": 0, "num_invented": 3}
    return Piece(**(values | {"tracks": tracks or (track(),)} | changes))


def spans(*pairs: tuple[int, int]) -> tuple[Shot, ...]:
    return tuple(Shot(start=start, stop=stop) for start, stop in pairs)


def reading(*pieces: Piece, num_frames: int = 60, **changes: Any) -> Reading:
    return plain_reading(num_frames, pieces=pieces, **changes)


class Steps:
    """What every step says about every face, unless told otherwise; and what it was asked."""

    def __init__(self, store: StepStore, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("heard", "rated", "synchronised", "fingerprinted"):
            monkeypatch.setattr(steps, name, getattr(self, name))
        self.store = store
        self.asked: list[Any] = []
        self.speech = SpeechResult(
            loudness_dbfs=-20.0,
            speech_share=0.8,
            longest_silence_s=0.5,
            snr_db=30.0,
            clipping_share=0.01,
            bandwidth_hz=7000.0,
            modulation_4hz=0.25,
            silences=((0, 640), (16_000, 24_000)),
            backend="activity-v1",
        )
        self.quality = QualityResult(value=30.0, backend="quality-v1", higher_is_better=False)
        self.sync = SyncResult(
            offset_measured=-3,
            offset_applied=-4,
            offset_remaining=0,
            confidence=5.0,
            distance=7.0,
            confidence_before=4.0,
            backend="sync-v1",
            audio_sha256="02" * 32,
        )
        self.confidences: dict[int, float] = {}

    def heard(self, source: steps.ReadSource, asked: Piece, activity: Any) -> SpeechResult:
        self.asked.append(("speech", asked.start, activity))
        return self.speech

    def rated(self, face: steps.CutFace, scorer: Any, store: StepStore) -> QualityResult:
        self.asked.append(("quality", face.track.number, scorer, store))
        return self.quality

    def synchronised(
        self, face: steps.CutFace, expert: Any, store: StepStore, *, correct: bool
    ) -> Finished[SyncResult]:
        self.asked.append(("sync", face.track.number, expert, store, correct))
        confidence = self.confidences.get(face.track.number, self.sync.confidence)
        result = self.sync.model_copy(update={"confidence": confidence})
        return Finished(key="5c" * 8, folder=self.store.root / "sync" / "5c", result=result)

    def fingerprinted(self, face: steps.CutFace, store: StepStore) -> Finished[Any]:
        return Finished(key="f1" * 8, folder=self.store.root / "fingerprint" / "f1", result=None)

    def curate(self, found: Reading | None = None, **changes: Any) -> Curated:
        """What becomes of the pieces of a reading, of one piece if none is given, under changed settings."""
        result = reading(piece()) if found is None else found
        source = steps.ReadSource(file=FILE, store=self.store, key=READ, result=result)
        return curate_pieces(source, result, FACTS, SETTINGS.model_copy(update=changes), BACKENDS)
