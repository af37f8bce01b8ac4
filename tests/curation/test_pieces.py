"""Pieces of one source: what is measured on them, which face counts, and why one is rejected."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.curation.pieces import split_of
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import TrackFacts

from .scripted import READ, Curate, Steps, piece, reading, track


@pytest.fixture
def curate(said: Steps) -> Curate:
    return said.curate


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
    pitch_deg=-9.0,
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
        "silences": "[[0.84, 1.34]]",  # the sound was shifted by -4 frames, 0.16 s
        "sound_notes": "clipped: 1 % of the samples are cut off at full scale",
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
        ({"max_pitch_deg": 8.0}, "turned_up_or_down", -9.0, 8.0),
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
    (clip,) = curate(reading(piece(0, 60, track(yaw_deg=None, pitch_deg=None, repeated=())))).clips
    scores = clip.record.scores
    assert (scores.yaw_deg, scores.longest_repeat_frames, scores.repeated_fraction) == (None, 0, 3 / 60)


def test_a_slow_source_is_told_though_its_head_moves(curate: Curate) -> None:
    """16 frames a second: 22 of 60 repeat the one before, but no two crops of a moving head are the same."""
    slow = piece(0, 60, track(repeated=())).model_copy(update={"num_invented": 22})
    (decision,) = curate(reading(slow)).decisions
    assert (decision.reason, decision.measured) == ("repeated_frames", 22 / 60)


def test_without_the_sync_filter_nothing_is_corrected(curate: Curate, said: Steps) -> None:
    said.confidences = {0: 0.0}
    assert len(curate(sync_filter=False).clips) == 1
    assert said.asked[-1][-1] is False


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
