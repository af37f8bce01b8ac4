"""Pieces of one source: which rows they leave, with what in them, where the steps say what the tests want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pieces import Curated, curate_pieces, split_of
from lipforcing_core.curation.records import Scores, SourceFacts
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

    def __init__(self, store: StepStore) -> None:
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
            silences=((0, 640),),
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


@pytest.fixture
def said(store: StepStore, monkeypatch: pytest.MonkeyPatch) -> Steps:
    scripted = Steps(store)
    for name in ("heard", "rated", "synchronised", "fingerprinted"):
        monkeypatch.setattr(steps, name, getattr(scripted, name))
    return scripted


@pytest.fixture
def curate(store: StepStore, said: Steps) -> Callable[..., Curated]:
    def run(found: Reading | None = None, **changes: Any) -> Curated:
        result = reading(piece()) if found is None else found
        source = steps.ReadSource(file=FILE, store=store, key=READ, result=result)
        return curate_pieces(source, result, FACTS, SETTINGS.model_copy(update=changes), BACKENDS)

    return run


Curate = Callable[..., Curated]

HEARD = Scores(
    loudness_dbfs=-20.0,
    speech_share=0.8,
    longest_silence_s=0.5,
    snr_db=30.0,
    clipping_share=0.01,
    bandwidth_hz=7000.0,
    modulation_4hz=0.25,
    activity_backend="activity-v1",
    invented_frames=3,
    detector_backend="detector-v1",
)
ALL = replace(
    HEARD,
    detected_fraction=0.9,
    absent_frames=0,
    face_height_px=100.0,
    num_faces=1,
    yaw_deg=12.0,
    lips_outside=0.05,
    mouth_likeness=0.875,
    longest_repeat_frames=4,
    repeated_fraction=0.1,
    sync_confidence=5.0,
    sync_distance=7.0,
    av_offset_measured=-3,
    av_offset_applied=-4,
    av_offset_remaining=0,
    sync_backend="sync-v1",
    quality=30.0,
    quality_backend="quality-v1",
)


def test_an_accepted_segment_is_a_clip_with_everything_that_was_measured(
    curate: Curate, said: Steps, store: StepStore
) -> None:
    found = curate()
    (clip,) = found.clips
    face_key = content_key("face", READ, 0, 60, 0)
    clip_id = content_key("clip", face_key, "5c" * 8)
    assert clip_id == CLIP_ID, "ids of clips change only on purpose"
    record = clip.record.model_dump()
    for name in asdict(ALL):
        record.pop(name)
    assert clip.record.scores == ALL
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
        "face_track": 0,
        "face_box": "10,20.5,90,120",
        "reference_81": None,
        "duplicate_of": None,
        "identity_from": "official",
    }
    assert (clip.clip, clip.audio, clip.alignment) == (
        f"read/{READ}/000000-000060/0.mp4",
        "sync/5c/audio.wav",
        f"read/{READ}/000000-000060/0.npz",
    )
    (decision,) = found.decisions
    row = decision.model_dump()
    for name in asdict(ALL):
        row.pop(name)
    assert decision.scores == ALL
    assert row == {
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
        "duplicate_of": None,
    }
    assert said.asked == [
        ("speech", 0, "activity"),
        ("quality", 0, "scorer", store),
        ("sync", 0, "expert", store, True),
    ]


CLIP_ID = "2884172a2d9ce30a"


@pytest.mark.parametrize(
    ("changes", "reason", "measured", "threshold"),
    [
        ({"silence_dbfs": -10.0}, "silent_audio", -20.0, -10.0),
        ({"min_speech_share": 0.81}, "no_speech", 0.8, 0.81),
        ({"min_face_height_px": 101.0}, "face_too_small", 100.0, 101.0),
        ({"max_yaw_deg": 11.0}, "turned_away", 12.0, 11.0),
        ({"max_lips_outside": 0.04}, "lips_cut_off", 0.05, 0.04),
        ({"min_mouth_likeness": 0.9}, "occluded", 0.875, 0.9),
        ({"max_repeat_frames": 3}, "frozen_picture", 4.0, 3.0),
        ({"max_repeated_fraction": 0.09}, "repeated_frames", 0.1, 0.09),
        ({"quality_threshold": 29.0}, "quality_low", 30.0, 29.0),
        ({"sync_confidence_min": 6.0}, "sync_confidence_low", 5.0, 6.0),
        ({"max_abs_offset_frames": 2}, "av_offset_too_large", -3.0, 2.0),
    ],
)
def test_a_segment_that_misses_a_threshold_has_all_scores_and_its_value(
    changes: dict[str, Any], reason: str, measured: float, threshold: float, curate: Curate
) -> None:
    """Everything is measured whatever the thresholds say, so that others can decide later without another look."""
    found = curate(**changes)
    assert found.clips == []
    (decision,) = found.decisions
    assert decision.scores == ALL
    assert (decision.status, decision.reason, decision.threshold) == ("rejected", reason, threshold)
    assert decision.measured == pytest.approx(measured, abs=1e-4)
    assert (decision.level, decision.start_frame, decision.stop_frame) == ("segment", 0, 60)
    assert (decision.seconds, decision.clip_id, decision.message) == (2.4, None, "")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"silence_dbfs": -10.0}, {"min_speech_share": 0.9}),
        ({"min_speech_share": 0.9}, {"min_face_height_px": 101.0}),
        ({"min_face_height_px": 101.0}, {"quality_threshold": 29.0}),
        ({"quality_threshold": 29.0}, {"sync_confidence_min": 6.0}),
    ],
)
def test_reasons_come_in_the_order_of_the_funnel(
    first: dict[str, Any], then: dict[str, Any], curate: Curate
) -> None:
    (alone,), (both,) = curate(**first).decisions, curate(**first, **then).decisions
    assert both.reason == alone.reason


@pytest.mark.parametrize(
    ("tracks", "share"),
    [((), 0.0), ((track(detected_fraction=0.1), track(1, detected_fraction=0.29)), 0.29)],
)
def test_a_segment_without_a_face_is_measured_no_further(
    tracks: tuple[TrackFacts, ...], share: float, curate: Curate, said: Steps
) -> None:
    found = curate(reading(piece(tracks=tracks)))
    (decision,) = found.decisions
    assert (decision.reason, decision.measured, decision.threshold) == ("no_face", share, 0.3)
    assert decision.scores == replace(HEARD, detected_fraction=share, num_faces=0)
    assert said.asked == [("speech", 0, "activity")]
    (silent,) = curate(reading(piece(tracks=tracks)), silence_dbfs=-10.0).decisions
    assert silent.reason == "silent_audio"


TWO = reading(piece(0, 60, track(0), track(1, face_height_px=90.0, yaw_deg=3.0)))


@pytest.mark.parametrize(
    ("confidences", "chosen"),
    [({0: 4.0, 1: 6.0}, 1), ({0: 6.0, 1: 4.0}, 0), ({0: 5.0, 1: 5.0}, 0), ({0: -1.0, 1: 3.5}, 1)],
)
def test_of_several_faces_the_one_whose_lips_go_with_the_sound_is_taken(
    confidences: dict[int, float], chosen: int, curate: Curate, said: Steps
) -> None:
    said.confidences = confidences
    found = curate(TWO)
    (clip,) = found.clips
    record = clip.record
    assert (record.face_track, record.scores.num_faces) == (chosen, 2)
    assert record.scores.sync_confidence == confidences[chosen]
    assert record.scores.face_height_px == (100.0, 90.0)[chosen]
    assert record.scores.yaw_deg == (12.0, 3.0)[chosen]
    assert record.clip_sha256 == ("01" * 32, "02" * 32)[chosen]
    assert clip.clip.endswith(f"/{chosen}.mp4")
    assert clip.alignment.endswith(f"/{chosen}.npz")
    assert [call[:2] for call in said.asked[1:]] == [("quality", 0), ("sync", 0), ("quality", 1), ("sync", 1)]
    (decision,) = found.decisions
    assert decision.scores == record.scores


def test_where_no_face_goes_with_the_sound_the_nearest_is_told(curate: Curate, said: Steps) -> None:
    said.confidences = {0: 1.0, 1: 2.0}
    (decision,) = curate(TWO).decisions
    assert (decision.reason, decision.measured) == ("sync_confidence_low", 2.0)
    assert decision.scores.face_height_px == 90.0


def test_without_an_expert_nobody_says_which_of_two_faces_speaks(curate: Curate, said: Steps) -> None:
    found = curate(TWO, sync_filter=False)
    (decision,) = found.decisions
    assert (decision.reason, decision.measured, decision.threshold) == ("several_faces", 2.0, 1.0)
    assert decision.scores.num_faces == 2
    assert decision.scores.sync_confidence == 5.0
    assert {call[-1] for call in said.asked if call[0] == "sync"} == {False}
    (one,) = curate(sync_filter=False).clips
    assert one.record.scores.num_faces == 1
    (turned,) = curate(TWO, sync_filter=False, max_yaw_deg=1.0).decisions
    assert turned.reason == "turned_away", "what is wrong with the best face is said first"


@pytest.mark.parametrize(
    ("other", "faces"),
    [
        ({"face_height_px": 49.9}, 1),
        ({"face_height_px": 50.0}, 2),
        ({"face_height_px": 201.0}, 1),
        ({"detected_fraction": 0.29}, 1),
        ({"detected_fraction": 0.3}, 2),
        ({"detected_fraction": 0.29, "face_height_px": 500.0}, 1),
    ],
)
def test_a_small_face_in_the_background_and_a_mistake_of_the_detector_do_not_count(
    other: dict[str, Any], faces: int, curate: Curate, said: Steps
) -> None:
    said.confidences = {0: 4.0, 1: 9.0}
    found = reading(piece(0, 60, track(0), track(1, **other)))
    (clip,) = curate(found, min_face_height_px=1.0).clips
    assert clip.record.scores.num_faces == faces
    large = other.get("face_height_px", 0.0) == 201.0
    assert clip.record.face_track == (1 if faces == 2 or large else 0)


def test_a_detector_without_points_tells_no_turn(curate: Curate) -> None:
    (clip,) = curate(reading(piece(0, 60, track(yaw_deg=None, repeated=())))).clips
    scores = clip.record.scores
    assert (scores.yaw_deg, scores.longest_repeat_frames, scores.repeated_fraction) == (None, 0, 0.0)


def test_without_the_sync_filter_nothing_is_corrected(curate: Curate, said: Steps) -> None:
    said.confidences = {0: 0.0}
    assert len(curate(sync_filter=False).clips) == 1
    assert said.asked[-1][-1] is False


def test_pieces_leave_rows_in_their_order_and_clips_know_their_shot(curate: Curate) -> None:
    found = curate(
        reading(
            piece(0, 60),
            piece(60, 130, shot=1),
            piece(130, 200, shot=1),
            piece(230, 290, shot=3),
            num_frames=330,
            num_samples=310 * 640,
            short=spans((200, 230), (310, 312)),
            outside=spans((290, 310)),
        )
    )
    rows = [
        (d.start_frame, d.stop_frame, d.reason, d.measured, d.threshold, d.seconds) for d in found.decisions
    ]
    assert rows == [
        (0, 60, None, None, None, 2.4),
        (60, 130, None, None, None, 2.8),
        (130, 200, None, None, None, 2.8),
        (200, 230, "too_short", 1.2, 2.0, 1.2),
        (230, 290, None, None, None, 2.4),
        (290, 310, "outside_ranges", None, None, 0.8),
        (310, 312, "too_short", 0.08, 2.0, 0.08),
        (312, 330, "audio_missing", 12.4, 13.2, 0.72),
    ]
    starts = [(c.record.shot, c.record.start_frame) for c in found.clips]
    assert starts == [(0, 0), (1, 60), (1, 130), (3, 230)]
    assert found.frames_trimmed == 0


def test_one_bad_segment_spares_the_next(curate: Curate) -> None:
    found = curate(reading(piece(0, 60, track(detected_fraction=0.0)), piece(60, 120), num_frames=120))
    assert [(d.start_frame, d.reason) for d in found.decisions] == [(0, "no_face"), (60, None)]
    assert [c.record.start_frame for c in found.clips] == [60]


@pytest.mark.parametrize(
    ("stop", "num_samples", "trimmed", "missing"),
    [(60, 60 * 640, 0, None), (60, 59 * 640 + 1, 0, None), (59, 59 * 640, 1, None), (55, 55 * 640, 5, None),
     (54, 54 * 640, 0, (54, 60)), (60, 80 * 640, 0, None)],
)  # fmt: skip
def test_a_picture_that_outlasts_its_sound_by_little_is_trimmed_and_counted(
    stop: int, num_samples: int, trimmed: int, missing: tuple[int, int] | None, curate: Curate
) -> None:
    """The last piece ends with the sound."""
    found = curate(reading(piece(0, stop), num_samples=num_samples))
    assert found.frames_trimmed == trimmed
    rows = [d for d in found.decisions if d.reason == "audio_missing"]
    assert [(d.start_frame, d.stop_frame) for d in rows] == ([missing] if missing else [])
    assert [(d.measured, d.threshold) for d in rows] == ([(2.16, 2.4)] if missing else [])
    assert sum(d.num_frames for d in found.decisions) == 60 - trimmed


@pytest.mark.parametrize(
    ("sounding", "reason"), [(60, None), (55, None), (54, "audio_missing"), (1, "audio_missing")]
)
def test_a_piece_that_was_cut_before_the_sound_was_known_to_end(
    sounding: int, reason: str | None, curate: Curate, said: Steps
) -> None:
    """A shot in the middle has been written when the end of the sound becomes known."""
    found = curate(reading(piece(0, 60), num_frames=60, num_samples=sounding * 640))
    (decision,) = found.decisions
    assert (decision.reason, found.frames_trimmed) == (reason, 0)
    if reason:
        assert (decision.measured, decision.threshold) == (sounding / 25, 2.4)
        assert said.asked == [], "nothing is measured on it"


@pytest.mark.parametrize(
    ("stop", "trimmed", "missing"), [(57, 1, []), (53, 5, []), (52, 0, [(52, 58)]), (20, 0, [(20, 58)])]
)
def test_sound_that_ends_within_a_range_loses_no_frame_before_what_is_not_wanted(
    stop: int, trimmed: int, missing: list[tuple[int, int]], curate: Curate
) -> None:
    """The corpus wants frames 0 to 58 of 60, and the sound has ended before the range has."""
    found = curate(reading(piece(0, stop), num_samples=stop * 640, outside=spans((58, 60))))
    assert found.frames_trimmed == trimmed
    assert [(d.start_frame, d.stop_frame) for d in found.decisions if d.reason == "audio_missing"] == missing
    assert sum(d.num_frames for d in found.decisions) + trimmed == 60


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
    assert split_of(identity, source_id, position, "test") == "test", "the official split wins"
