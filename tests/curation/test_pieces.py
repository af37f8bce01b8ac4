"""Pieces of one source: which rows they leave, with what in them, where the steps say what the tests want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pieces import Curated, curate_pieces, split_of
from lipforcing_core.curation.records import Scores, SourceFacts
from lipforcing_core.curation.results import Crop, Decoded, FaceResult, Finished, QualityResult, SyncResult
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile
from lipforcing_core.media.segments import Segment

SETTINGS = CurationSettings(min_segment_s=2.0, max_segment_s=4.0, quality_threshold=50, val_fraction=0.4)
FILE = SourceFile(path=Path("/corpus/sub/a.mp4"), name="sub/a.mp4", sha256="ab" * 32)
FACTS = SourceFacts(identity="anna", licence="MIT", commercial_ok=True)


class Detector:
    backend_id = "detector-v1"


BACKENDS = CurationBackends(detector=Detector(), sync_expert="expert", quality="scorer")  # type: ignore[arg-type]


class Steps:
    """What every step says about every segment, unless told otherwise; and what it was asked."""

    def __init__(self, store: StepStore) -> None:
        self.store = store
        self.asked: list[Any] = []
        self.shots = [(0, 60)]
        self.loudness = -20.0
        self.face = FaceResult(
            num_frames=60,
            detected_fraction=0.9,
            absent_frames=0,
            crop=Crop(face_height_px=100.0, clip_sha256="01" * 32),
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

    def found_shots(self, *arguments: Any) -> list[tuple[int, int]]:
        self.asked.append(("shots", *arguments))
        return self.shots

    def sound_under(self, wav: Path, segment: Segment) -> Any:
        self.asked.append(("sound", wav, segment))
        return segment

    def loudness_dbfs(self, waveform: Any) -> float:
        return self.loudness

    def aligned(self, *arguments: Any) -> Finished[FaceResult]:
        self.asked.append(("align", *arguments))
        return Finished(key="ca" * 8, folder=self.store.root / "align" / "ca", result=self.face)

    def rated(self, *arguments: Any) -> QualityResult:
        self.asked.append(("quality", *arguments))
        return self.quality

    def synchronised(self, *arguments: Any, **options: Any) -> Finished[SyncResult]:
        self.asked.append(("sync", *arguments, options))
        return Finished(key="5c" * 8, folder=self.store.root / "sync" / "5c", result=self.sync)


@pytest.fixture
def said(store: StepStore, monkeypatch: pytest.MonkeyPatch) -> Steps:
    scripted = Steps(store)
    for name in ("found_shots", "sound_under", "loudness_dbfs", "aligned", "rated", "synchronised"):
        monkeypatch.setattr(steps, name, getattr(scripted, name))
    return scripted


@pytest.fixture
def curate(store: StepStore, said: Steps) -> Callable[..., Curated]:
    def run(num_frames: int = 60, num_samples: int | None = None, **changes: Any) -> Curated:
        decoded = Decoded(
            num_frames=num_frames,
            num_samples=1,
            width=2,
            height=2,
            decoder_message="",
            declared_s=Fraction(1),
            has_audio=True,
        )
        source = steps.NormalisedSource(file=FILE, store=store, result=decoded)
        samples = num_frames * 640 if num_samples is None else num_samples
        settings = SETTINGS.model_copy(update=changes)
        return curate_pieces(source, num_frames, samples, FACTS, settings, BACKENDS)

    return run


ALL = Scores(
    loudness_dbfs=-20.0,
    detected_fraction=0.9,
    absent_frames=0,
    face_height_px=100.0,
    detector_backend="detector-v1",
    sync_confidence=5.0,
    sync_distance=7.0,
    av_offset_measured=-3,
    av_offset_applied=-4,
    av_offset_remaining=0,
    sync_backend="sync-v1",
    quality=30.0,
    quality_backend="quality-v1",
)
HEARD = Scores(loudness_dbfs=-20.0)
SEEN = replace(
    HEARD, detected_fraction=0.9, absent_frames=0, face_height_px=100.0, detector_backend="detector-v1"
)
RATED = replace(SEEN, quality=30.0, quality_backend="quality-v1")


def test_an_accepted_segment_is_a_clip_with_everything_that_was_measured(
    curate: Callable[..., Curated], said: Steps, store: StepStore
) -> None:
    found = curate()
    (clip,) = found.clips
    clip_id = content_key("clip", "ca" * 8, "5c" * 8)
    assert clip_id == "5931625e3c19918a", "ids of clips change only on purpose"
    record = clip.record.model_dump()
    scores = {name: record.pop(name) for name in ALL.__dict__}
    assert Scores(**scores) == ALL
    assert record == {
        "clip_id": clip_id,
        "source_id": "ab" * 8,
        "source": "sub/a.mp4",
        "source_sha256": "ab" * 32,
        "shot": 0,
        "start_frame": 0,
        "stop_frame": 60,
        "num_frames": 60,
        "seconds": 2.4,
        "identity": "anna",
        "licence": "MIT",
        "commercial_ok": True,
        "language": None,
        "consent": None,
        "dataset": None,
        "split": split_of("anna", "ab" * 8, 0.4),
        "clip_path": f"clips/{clip_id}.mp4",
        "audio_path": f"clips/{clip_id}.wav",
        "alignment_path": f"clips/{clip_id}.npz",
        "clip_sha256": "01" * 32,
        "audio_sha256": "02" * 32,
        "num_lossy_encodes": 1,
    }
    assert (clip.clip, clip.audio, clip.alignment) == (
        "align/ca/clip.mp4",
        "sync/5c/audio.wav",
        "align/ca/alignment.npz",
    )
    (decision,) = found.decisions
    assert decision.model_dump() == {
        **ALL.__dict__,
        "source": "sub/a.mp4",
        "source_id": "ab" * 8,
        "level": "segment",
        "start_frame": 0,
        "stop_frame": 60,
        "seconds": 2.4,
        "status": "accepted",
        "reason": None,
        "measured": None,
        "threshold": None,
        "message": "",
        "clip_id": clip_id,
    }
    names = [call[0] for call in said.asked]
    assert names == ["shots", "sound", "align", "quality", "sync"]
    shots, sound, align, quality, sync = said.asked
    segment, source = Segment(0, 60), shots[1]
    face = store.root / "align" / "ca" / "clip.mp4"
    assert shots[1:] == (source, SETTINGS, store)
    assert sound[1:] == (source.audio, segment)
    assert align[1:] == (source, segment, SETTINGS, BACKENDS.detector, store)
    assert quality[1:] == ("ca" * 8, face, 60, "scorer", store)
    assert sync[1:] == (source, segment, "ca" * 8, face, "expert", store, {"correct": True})


@pytest.mark.parametrize(
    ("changes", "reason", "measured", "threshold", "scores", "last"),
    [
        ({"silence_dbfs": -10.0}, "silent_audio", -20.0, -10.0, HEARD, "sound"),
        ({"min_detected_fraction": 0.95}, "no_face", 0.9, 0.95, SEEN, "align"),
        ({"min_face_height_px": 101.0}, "face_too_small", 100.0, 101.0, SEEN, "align"),
        ({"quality_threshold": 29.0}, "quality_low", 30.0, 29.0, RATED, "quality"),
        ({"sync_confidence_min": 6.0}, "sync_confidence_low", 5.0, 6.0, ALL, "sync"),
        ({"max_abs_offset_frames": 2}, "av_offset_too_large", -3.0, 2.0, ALL, "sync"),
    ],
)
def test_a_segment_that_misses_a_threshold_is_measured_no_further(
    changes: dict[str, Any],
    reason: str,
    measured: float,
    threshold: float,
    scores: Scores,
    last: str,
    curate: Callable[..., Curated],
    said: Steps,
) -> None:
    found = curate(**changes)
    assert found.clips == []
    (decision,) = found.decisions
    assert decision.model_dump() == {
        **scores.__dict__,
        "source": "sub/a.mp4",
        "source_id": "ab" * 8,
        "level": "segment",
        "start_frame": 0,
        "stop_frame": 60,
        "seconds": 2.4,
        "status": "rejected",
        "reason": reason,
        "measured": measured,
        "threshold": threshold,
        "message": "",
        "clip_id": None,
    }
    assert said.asked[-1][0] == last


def test_a_segment_without_a_face_has_no_height(curate: Callable[..., Curated], said: Steps) -> None:
    said.face = replace(said.face, crop=None, detected_fraction=0.0, absent_frames=60)
    (decision,) = curate().decisions
    assert decision.reason == "no_face"
    assert decision.scores == replace(SEEN, detected_fraction=0.0, absent_frames=60, face_height_px=None)


def test_without_the_sync_filter_nothing_is_corrected(curate: Callable[..., Curated], said: Steps) -> None:
    said.sync = replace(said.sync, confidence=0.0)
    assert len(curate(sync_filter=False).clips) == 1
    assert said.asked[-1][-1] == {"correct": False}


def test_shots_become_segments_in_their_order_and_clips_know_their_shot(
    curate: Callable[..., Curated], said: Steps
) -> None:
    """Four seconds are the longest: the second shot is cut in two; the third is too short; sound ends in the last."""
    said.shots = [(0, 60), (60, 200), (200, 230), (230, 300), (300, 310)]
    found = curate(310, 290 * 640)
    rows = [
        (d.start_frame, d.stop_frame, d.reason, d.measured, d.threshold, d.seconds) for d in found.decisions
    ]
    assert rows == [
        (0, 60, None, None, None, 2.4),
        (60, 130, None, None, None, 2.8),
        (130, 200, None, None, None, 2.8),
        (200, 230, "too_short", 1.2, 2.0, 1.2),
        (230, 290, None, None, None, 2.4),
        (290, 310, "audio_missing", 11.6, 12.4, 0.8),
    ]
    assert [(c.record.shot, c.record.start_frame) for c in found.clips] == [
        (0, 0),
        (1, 60),
        (1, 130),
        (3, 230),
    ]
    assert found.frames_trimmed == 0


def test_one_bad_segment_spares_the_next(
    curate: Callable[..., Curated], said: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    said.shots = [(0, 60), (60, 120)]
    faces = [replace(said.face, crop=None), said.face]
    original = said.aligned

    def aligned(*arguments: Any) -> Finished[FaceResult]:
        said.face = faces.pop(0)
        return original(*arguments)

    monkeypatch.setattr(steps, "aligned", aligned)
    found = curate(120)
    assert [(d.start_frame, d.reason) for d in found.decisions] == [(0, "no_face"), (60, None)]
    assert [c.record.start_frame for c in found.clips] == [60]


@pytest.mark.parametrize(
    ("num_samples", "trimmed", "missing"),
    [(60 * 640, 0, None), (59 * 640 + 1, 0, None), (59 * 640, 1, None), (55 * 640, 5, None), (54 * 640, 0, (54, 60)),
     (80 * 640, 0, None), (1, 0, (1, 60))],
)  # fmt: skip
def test_sound_counts_in_frames_begun(
    num_samples: int, trimmed: int, missing: tuple[int, int] | None, curate: Callable[..., Curated]
) -> None:
    found = curate(60, num_samples)
    assert found.frames_trimmed == trimmed
    rows = [(d.start_frame, d.stop_frame) for d in found.decisions if d.reason == "audio_missing"]
    assert rows == ([missing] if missing else [])
    assert sum(d.num_frames for d in found.decisions) == 60 - trimmed


@pytest.mark.parametrize(
    ("identity", "source_id", "position"),
    [("anna", "s1", 0.0853993), (None, "s1", 0.9677742), (None, "s2", 0.4081814), ("", "s2", 0.4081814)],
)
def test_a_person_stays_on_the_side_where_a_hash_puts_her(
    identity: str | None, source_id: str, position: float
) -> None:
    """The first 64 bits of the hash of ``identity:anna``, as a share of all: sides change only on purpose."""
    assert split_of(identity, source_id, position + 1e-6) == "val"
    assert split_of(identity, source_id, position - 1e-6) == "train"
