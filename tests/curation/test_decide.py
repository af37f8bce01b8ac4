"""Thresholds and stored results: what passes, what does not, and the forms in which measurements are kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import read_json, write_json
from lipforcing_core.curation.decide import (
    judge_face,
    judge_quality,
    judge_sound,
    judge_sync,
    no_face,
    several_faces,
)
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import (
    Piece,
    QualityResult,
    Reading,
    Shot,
    SizeChange,
    SoundTaken,
    SpeechResult,
    SyncResult,
    TrackFacts,
    Undecodable,
    reading_from_json,
)
from lipforcing_core.curation.settings import CurationSettings

SETTINGS = CurationSettings(
    silence_dbfs=-50,
    min_speech_share=0.4,
    max_absent_frames=2,
    min_detected_fraction=0.3,
    min_face_height_px=64,
    max_yaw_deg=40,
    max_pitch_deg=30,
    max_lips_outside=0.25,
    min_mouth_likeness=0.5,
    max_repeat_frames=10,
    max_repeated_fraction=0.5,
    sync_confidence_min=3,
    max_abs_offset_frames=6,
    quality_threshold=50,
)
AT_THE_LIMIT = Scores(
    loudness_dbfs=-50.0,
    speech_share=0.4,
    detected_fraction=0.3,
    absent_frames=2,
    face_height_px=64.0,
    num_faces=2,
    yaw_deg=40.0,
    pitch_deg=-30.0,
    lips_outside=0.25,
    mouth_likeness=0.5,
    longest_repeat_frames=10,
    repeated_fraction=0.5,
)
SYNC = SyncResult(
    offset_measured=-6,
    offset_applied=-6,
    offset_remaining=0,
    confidence=3.0,
    distance=7.0,
    confidence_before=0.0,
    backend="b",
    audio_sha256="c",
)


def judged(verdict: Any) -> tuple[str, float, float] | None:
    return (verdict.reason.value, verdict.measured, verdict.threshold) if verdict else None


def test_silence_begins_below_its_threshold() -> None:
    assert judge_sound(AT_THE_LIMIT, SETTINGS) is None
    quiet = replace(AT_THE_LIMIT, loudness_dbfs=-50.5, speech_share=0.0)
    assert judged(judge_sound(quiet, SETTINGS)) == ("silent_audio", -50.5, -50)


def test_sound_without_speech_is_no_speech() -> None:
    assert judged(judge_sound(replace(AT_THE_LIMIT, speech_share=0.39), SETTINGS)) == ("no_speech", 0.39, 0.4)
    assert judge_sound(replace(AT_THE_LIMIT, speech_share=None), SETTINGS) is None, "of older measurements"


@pytest.mark.parametrize(
    ("score", "value", "reason", "threshold"),
    [
        ("face_height_px", 63.9, "face_too_small", 64),
        ("absent_frames", 3, "face_lost", 2),
        ("yaw_deg", 40.1, "turned_away", 40),
        ("pitch_deg", 30.1, "turned_up_or_down", 30),
        ("pitch_deg", -30.1, "turned_up_or_down", 30),
        ("lips_outside", 0.26, "lips_cut_off", 0.25),
        ("longest_repeat_frames", 11, "frozen_picture", 10),
        ("repeated_fraction", 0.51, "repeated_frames", 0.5),
        ("mouth_likeness", 0.49, "occluded", 0.5),
    ],
)
def test_a_face_at_the_limits_passes_and_one_beyond_does_not(
    score: str, value: float, reason: str, threshold: float
) -> None:
    assert judge_face(AT_THE_LIMIT, SETTINGS) is None
    beyond = replace(AT_THE_LIMIT, **{score: value})
    assert judged(judge_face(beyond, SETTINGS)) == (reason, value, threshold)
    unknown = replace(AT_THE_LIMIT, **{score: None})
    assert judge_face(unknown, SETTINGS) is None, "what a detector cannot tell is no reason"


def test_of_several_defects_the_first_is_named() -> None:
    worst = replace(
        AT_THE_LIMIT, face_height_px=1.0, absent_frames=9, yaw_deg=80.0, pitch_deg=-60.0,
        lips_outside=1.0,        longest_repeat_frames=99, repeated_fraction=1.0, mouth_likeness=-1.0,
    )  # fmt: skip
    found = []
    for name, good in (
        ("face_height_px", 64.0), ("absent_frames", 0), ("yaw_deg", 0.0), ("pitch_deg", 0.0),
        ("lips_outside", 0.0),        ("longest_repeat_frames", 0), ("repeated_fraction", 0.0), ("mouth_likeness", 1.0),
    ):  # fmt: skip
        verdict = judge_face(worst, SETTINGS)
        assert verdict is not None
        found.append(verdict.reason.value)
        worst = replace(worst, **{name: good})
    assert found == [
        "face_too_small", "face_lost", "turned_away", "turned_up_or_down", "lips_cut_off", "frozen_picture",
        "repeated_frames", "occluded",
    ]  # fmt: skip
    assert judge_face(worst, SETTINGS) is None


def test_a_piece_without_a_face_or_with_too_many_says_how_much_it_saw() -> None:
    assert judged(no_face(replace(AT_THE_LIMIT, detected_fraction=0.1), SETTINGS)) == ("no_face", 0.1, 0.3)
    assert judged(no_face(Scores(), SETTINGS)) == ("no_face", 0.0, 0.3)
    assert judged(several_faces(AT_THE_LIMIT)) == ("several_faces", 2, 1)


def test_lips_and_sound_belong_together_up_to_the_limits() -> None:
    def changed(**values: Any) -> SyncResult:
        return SYNC.model_copy(update=values)

    assert judge_sync(SYNC, SETTINGS) is None
    assert judge_sync(changed(offset_measured=6), SETTINGS) is None
    assert judged(judge_sync(changed(confidence=2.9), SETTINGS)) == ("sync_confidence_low", 2.9, 3)
    assert judged(judge_sync(changed(offset_measured=-7), SETTINGS)) == ("av_offset_too_large", -7, 6)
    assert judged(judge_sync(changed(offset_measured=7), SETTINGS)) == ("av_offset_too_large", 7, 6)
    assert judged(judge_sync(changed(offset_remaining=-1), SETTINGS)) == ("av_offset_unstable", -1, 0)
    off = SETTINGS.model_copy(update={"sync_filter": False})
    assert judge_sync(changed(confidence=0.0, offset_measured=9, offset_remaining=1), off) is None


@pytest.mark.parametrize(("higher", "value", "passes"), [
    (True, 50, True), (True, 49, False), (True, 51, True), (False, 50, True), (False, 49, True), (False, 51, False),
])  # fmt: skip
def test_quality_is_judged_in_the_direction_of_its_scale(higher: bool, value: float, passes: bool) -> None:
    verdict = judge_quality(QualityResult(value=value, backend="b", higher_is_better=higher), SETTINGS)
    assert judged(verdict) == (None if passes else ("quality_low", value, 50))


STORED = {
    "reading": {
        "num_frames": 60, "num_samples": 38400, "width": 320, "height": 240, "declared_s": "12/5", "complaint": "x",
        "num_damaged": 1, "num_invented": 2, "num_dropped": 3, "tone_mapped": "pq",
        "sound": {"track": 1, "why": "the only one", "how": "mean", "notes": ["lowered"]},
        "shots": [{"start": 0, "stop": 58}], "short": [{"start": 55, "stop": 58}],
        "outside": [{"start": 58, "stop": 60}], "largest_pixels": 76800,
        "size_changes": [{"frame": 55, "width": 160, "height": 120}],
        "pieces": [{
            "start": 0, "stop": 55, "shot": 0, "num_invented": 2,
            "tracks": [{
                "number": 0, "detected_fraction": 0.9, "absent_frames": 1, "face_height_px": 130.5,
                "box_xyxy": [1.0, 2.0, 3.0, 4.5], "yaw_deg": None, "lips_outside": 0.0, "repeated": [2, 1],
                "clip_sha256": "ab", "mouth_likeness": 0.75, "pitch_deg": -12.5,
            }],
            "picture_xyxy": [0, 30, 320, 210],
        }],
    },
    "mute": {
        "num_frames": 60, "num_samples": 0, "width": 320, "height": 240, "declared_s": "0", "complaint": "",
        "num_damaged": 0, "num_invented": 0, "num_dropped": 0, "tone_mapped": None, "sound": None, "shots": [],
        "pieces": [], "short": [], "outside": [], "largest_pixels": None,
        "size_changes": [],
    },
    "refused": {"problem": "is empty", "decoder_message": "x", "declared_s": None},
    "refused late": {"problem": "is empty", "decoder_message": "", "declared_s": "3/2"},
    "sync": {
        "offset_measured": 3, "offset_applied": 3, "offset_remaining": 0, "confidence": 4.5, "distance": 6.5,
        "confidence_before": 4.0, "backend": "blue-v1", "audio_sha256": "cd",
    },
    "speech": {
        "loudness_dbfs": -20.5, "speech_share": 0.75, "longest_silence_s": 1.5, "snr_db": None, "clipping_share": 0.0,
        "bandwidth_hz": 7000.0, "modulation_4hz": None, "silences": [[0, 640], [1280, 1920]], "backend": "silero",
    },
    "quality": {"value": 31.5, "backend": "piqe", "higher_is_better": False},
}  # fmt: skip
"""Results as they are stored; a field that comes later needs a default, so that these are still read."""

TYPED = {
    "reading": Reading(
        num_frames=60,
        num_samples=38400,
        width=320,
        height=240,
        declared_s=Fraction(12, 5),
        complaint="x",
        num_damaged=1,
        num_invented=2,
        num_dropped=3,
        tone_mapped="pq",
        sound=SoundTaken(track=1, why="the only one", how="mean", notes=("lowered",)),
        shots=(Shot(start=0, stop=58),),
        short=(Shot(start=55, stop=58),),
        outside=(Shot(start=58, stop=60),),
        largest_pixels=76800,
        size_changes=(SizeChange(frame=55, width=160, height=120),),
        pieces=(
            Piece(
                start=0,
                stop=55,
                shot=0,
                num_invented=2,
                tracks=(
                    TrackFacts(
                        number=0,
                        detected_fraction=0.9,
                        absent_frames=1,
                        face_height_px=130.5,
                        box_xyxy=(1.0, 2.0, 3.0, 4.5),
                        yaw_deg=None,
                        lips_outside=0.0,
                        repeated=(2, 1),
                        clip_sha256="ab",
                        mouth_likeness=0.75,
                        pitch_deg=-12.5,
                    ),
                ),
                picture_xyxy=(0, 30, 320, 210),
            ),
        ),
    ),
    "mute": Reading(
        num_frames=60,
        num_samples=0,
        width=320,
        height=240,
        declared_s=Fraction(0),
        complaint="",
        num_damaged=0,
        num_invented=0,
        num_dropped=0,
        tone_mapped=None,
        sound=None,
        shots=(),
        pieces=(),
        short=(),
    ),
    "refused": Undecodable(problem="is empty", decoder_message="x", declared_s=None),
    "refused late": Undecodable(problem="is empty", decoder_message="", declared_s=Fraction(3, 2)),
    "sync": SyncResult(
        offset_measured=3,
        offset_applied=3,
        offset_remaining=0,
        confidence=4.5,
        distance=6.5,
        confidence_before=4.0,
        backend="blue-v1",
        audio_sha256="cd",
    ),
    "speech": SpeechResult(
        loudness_dbfs=-20.5,
        speech_share=0.75,
        longest_silence_s=1.5,
        snr_db=None,
        clipping_share=0.0,
        bandwidth_hz=7000.0,
        modulation_4hz=None,
        silences=((0, 640), (1280, 1920)),
        backend="silero",
    ),
    "quality": QualityResult(value=31.5, backend="piqe", higher_is_better=False),
}
READERS = {
    "sync": SyncResult.model_validate,
    "quality": QualityResult.model_validate,
    "speech": SpeechResult.model_validate,
}


@pytest.mark.parametrize("name", sorted(STORED))
def test_the_stored_form_of_results_is_what_it_always_was(name: str, tmp_path: Path) -> None:
    assert READERS.get(name, reading_from_json)(STORED[name]) == TYPED[name]
    write_json(tmp_path / "result.json", TYPED[name].to_json())
    assert read_json(tmp_path / "result.json") == STORED[name]


def test_what_older_versions_have_stored_is_read() -> None:
    older = {
        name: value
        for name, value in STORED["mute"].items()
        if name not in ("largest_pixels", "size_changes")
    }
    assert reading_from_json(older) == TYPED["mute"]


def test_a_piece_knows_its_length_and_its_folder() -> None:
    piece = Piece(start=250, stop=375, shot=1, num_invented=0, tracks=())
    assert (piece.num_frames, piece.folder) == (125, "000250-000375")


def test_a_reading_from_before_covered_mouths_nods_and_bars_is_still_read() -> None:
    stored = copy.deepcopy(STORED["reading"])
    (piece,) = stored["pieces"]
    (track,) = piece["tracks"]
    del track["mouth_likeness"], track["pitch_deg"], piece["picture_xyxy"]
    reading = reading_from_json(stored)
    assert isinstance(reading, Reading)
    assert reading.pieces[0].picture_xyxy is None
    assert (reading.pieces[0].tracks[0].mouth_likeness, reading.pieces[0].tracks[0].pitch_deg) == (None, None)
