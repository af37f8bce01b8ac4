"""Putting outcomes together without any video: twins, books, stored forms."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import read_json, write_json
from lipforcing_core.curation.assemble import mark_duplicates
from lipforcing_core.curation.decide import judge_face, judge_quality, judge_sound, judge_sync
from lipforcing_core.curation.funnel import balance, funnel_rows, reason_counts
from lipforcing_core.curation.manifest import (
    arrow_schema,
    read_decisions,
    read_manifest,
    write_decisions,
    write_manifest,
)
from lipforcing_core.curation.reasons import RejectReason, Stage
from lipforcing_core.curation.records import (
    SCORE_NAMES,
    ClipRecord,
    Decision,
    Scores,
    SourceOutcome,
    Status,
    StoredClip,
)
from lipforcing_core.curation.results import (
    Crop,
    Decoded,
    FaceResult,
    QualityResult,
    SyncResult,
    Undecodable,
    decoding_from_json,
)
from lipforcing_core.curation.settings import CurationSettings

SCORES = Scores(
    loudness_dbfs=-20.0,
    detected_fraction=0.9,
    absent_frames=0,
    face_height_px=120.0,
    detector_backend="square-v1",
    sync_confidence=5.0,
    sync_distance=7.0,
    av_offset_measured=3,
    av_offset_applied=3,
    av_offset_remaining=0,
    sync_backend="blue-v1",
    quality=30.0,
    quality_backend="detail-v1",
)


def clip(**changes: object) -> ClipRecord:
    values = {
        "clip_id": "ab" * 8,
        "source_id": "cd" * 8,
        "source": "a.mp4",
        "source_sha256": "cd" * 32,
        "shot": 0,
        "start_frame": 0,
        "stop_frame": 125,
        "num_frames": 125,
        "seconds": 5.0,
        "identity": None,
        "licence": "CC0-1.0",
        "commercial_ok": True,
        "split": "train",
        "clip_path": "clips/a.mp4",
        "audio_path": "clips/a.wav",
        "alignment_path": "clips/a.npz",
        "clip_sha256": "01" * 32,
        "audio_sha256": "02" * 32,
        "scores": SCORES,
        "num_lossy_encodes": 1,
    }
    return ClipRecord.model_validate(values | changes)


def decision(source: str = "a.mp4", start: int = 0, stop: int = 125, **changes: object) -> Decision:
    values = {
        "source": source,
        "source_id": "cd" * 8,
        "level": "segment",
        "start_frame": start,
        "stop_frame": stop,
        "seconds": (stop - start) / 25,
        "status": "rejected",
        "reason": "no_face",
    }
    return Decision.model_validate(values | changes)


def outcome(source: str, *decisions: Decision, sha256: str = "cd" * 32, **changes: object) -> SourceOutcome:
    frames_in = sum(d.num_frames for d in decisions) + int(str(changes.get("frames_trimmed", 0)))
    values = {"source": source, "source_id": sha256[:16], "sha256": sha256, "frames_in": frames_in}
    return SourceOutcome.model_validate(values | {"decisions": decisions} | changes).check_balance()


FAILED = {"level": "source", "status": "quarantined", "reason": "failed_this_time"}


def test_of_equal_copies_the_shortest_name_is_kept_and_named() -> None:
    names = ["backup/copy of interview 01.mp4", "interview 01.mp4", "interview 02.mp4"]
    marked = mark_duplicates(outcome(name, decision(name)) for name in names)
    assert [o.source for o in marked] == sorted(names)
    messages = {o.source: o.decisions[0].message for o in marked}
    assert messages == dict.fromkeys(names, "same bytes as interview 01.mp4") | {"interview 01.mp4": ""}
    assert [o.decisions[0].reason for o in marked] == ["duplicate", "no_face", "duplicate"]


def test_a_duplicate_keeps_its_frames_in_the_books() -> None:
    first = outcome("a.mp4", decision("a.mp4"), frames_trimmed=3)
    second = outcome("copy.mp4", decision("copy.mp4"), frames_trimmed=3)
    other = outcome("b.mp4", decision("b.mp4", stop=10), sha256="ee" * 32)
    kept, alone, repeated = mark_duplicates([second, other, first])
    assert (kept, alone) == (first, other)
    assert (repeated.frames_in, repeated.frames_trimmed, repeated.clips) == (128, 0, ())
    (row,) = repeated.check_balance().decisions
    assert (row.num_frames, row.seconds, row.level, row.status) == (128, 5.12, "source", Status.REJECTED)


def test_a_copy_on_which_the_machine_failed_gives_way() -> None:
    failed = outcome("a.mp4", decision("a.mp4", **FAILED))
    judged = outcome("a longer name.mp4", decision("a longer name.mp4"))
    marked = {o.source: o.decisions[0].reason for o in mark_duplicates([failed, judged])}
    assert marked == {"a.mp4": RejectReason.DUPLICATE, "a longer name.mp4": RejectReason.NO_FACE}


def test_the_books_count_every_source_and_frame_once() -> None:
    accepted = decision("a.mp4", 0, 125, status="accepted", reason=None, clip_id="ab" * 8)
    stored = StoredClip(record=clip(), clip="c", audio="a", alignment="n")
    outcomes = [
        outcome("a.mp4", accepted, decision("a.mp4", 125, 200), clips=(stored,), frames_trimmed=2),
        outcome("b.mp4", decision("b.mp4", 0, 50, reason="silent_audio")),
        outcome("c.mp4", decision("c.mp4", 0, 7, **FAILED)),
        outcome("d.mp4", decision("d.mp4", 0, 9, level="source", status="quarantined", reason="unreadable")),
    ]
    counts = balance(outcomes, num_ignored=4)
    assert (counts.sources_in, counts.sources_accepted, counts.sources_rejected) == (4, 1, 1)
    assert (counts.sources_quarantined, counts.sources_failed, counts.files_ignored) == (2, 1, 4)
    assert (counts.frames_in, counts.frames_accepted, counts.frames_rejected) == (268, 125, 125)
    assert (counts.frames_quarantined, counts.frames_trimmed, counts.clips) == (16, 2, 1)
    assert counts.holds
    assert not replace(counts, frames_trimmed=3).holds
    assert not replace(counts, sources_quarantined=1).holds
    assert not replace(counts, frames_quarantined=15).holds
    assert not replace(counts, sources_rejected=2, frames_rejected=100).holds
    rows = [
        (row.stage, row.sources, row.segments, row.num_frames, row.seconds) for row in funnel_rows(outcomes)
    ]
    assert rows == [
        ("found", 4, 5, 266, 10.64),
        ("decode", 2, 3, 250, 10.0),
        ("unique", 2, 3, 250, 10.0),
        ("sound", 1, 2, 200, 8.0),
        ("length", 1, 2, 200, 8.0),
        ("face", 1, 1, 125, 5.0),
        ("quality", 1, 1, 125, 5.0),
        ("sync", 1, 1, 125, 5.0),
    ]
    assert [(r.reason.value, r.sources, r.pieces, r.seconds) for r in reason_counts(outcomes)] == [
        ("no_face", 1, 1, 3.0),
        ("silent_audio", 1, 1, 2.0),
        ("unreadable", 1, 1, 0.36),
        ("failed_this_time", 1, 1, 0.28),
    ]


def test_reasons_are_counted_by_source_and_piece_and_ordered() -> None:
    two = outcome("a.mp4", decision("a.mp4", 0, 10), decision("a.mp4", 10, 30))
    (row,) = reason_counts([two])
    assert (row.sources, row.pieces, row.seconds) == (1, 2, 1.2)
    equal = outcome(
        "b.mp4", decision("b.mp4", 0, 5, reason="too_short"), decision("b.mp4", 5, 10, reason="face_lost")
    )
    assert [r.reason.value for r in reason_counts([equal])] == ["face_lost", "too_short"]


def test_lost_frames_and_clips_without_a_decision_are_noticed() -> None:
    with pytest.raises(AssertionError, match="10 frames in, 9 accounted for"):
        outcome("a.mp4", decision(stop=9)).model_copy(update={"frames_in": 10}).check_balance()
    stored = StoredClip(record=clip(), clip="c", audio="a", alignment="n")
    with pytest.raises(AssertionError, match="clips and decisions differ"):
        outcome("a.mp4", decision()).model_copy(update={"clips": (stored,)}).check_balance()


def test_a_status_follows_from_the_decisions() -> None:
    mixed = outcome(
        "a.mp4", decision(stop=5), decision(start=5, stop=9, status="quarantined", reason="truncated")
    )
    assert (mixed.status, len(mixed.quarantine)) == (Status.QUARANTINED, 1)
    assert (mixed.failed_this_time, mixed.is_final) == (False, True)
    assert mixed.seconds() == 0.36
    assert mixed.seconds(Status.REJECTED) == 0.2
    gone = outcome("a.mp4", decision(status="quarantined", reason="inaccessible"))
    assert (gone.failed_this_time, gone.is_final) == (False, False)


def test_scores_are_columns_among_the_others() -> None:
    names = arrow_schema(ClipRecord).names
    assert names[names.index("audio_sha256") + 1 : names.index("num_lossy_encodes")] == list(SCORE_NAMES)
    assert arrow_schema(Decision).names[: len(SCORE_NAMES)] == list(SCORE_NAMES)
    assert list(clip().model_dump()) == names
    schema = arrow_schema(ClipRecord)
    assert [schema.field(n).type for n in ("quality", "absent_frames", "sync_backend", "commercial_ok")] == [
        pa.float64(),
        pa.int64(),
        pa.string(),
        pa.bool_(),
    ]
    assert not schema.field("quality").nullable
    assert schema.field("identity").nullable
    assert arrow_schema(Decision).field("quality").nullable
    assert not arrow_schema(Decision).field("source").nullable


def test_rows_survive_json_and_parquet(tmp_path: Path) -> None:
    rows = [clip(source="b.mp4"), clip(start_frame=5), clip()]
    write_manifest(tmp_path / "m.parquet", rows)
    assert read_manifest(tmp_path / "m.parquet") == [rows[2], rows[1], rows[0]]
    decisions = [decision(), decision(scores=replace(SCORES, quality=None), message="x")]
    write_decisions(tmp_path / "d.parquet", decisions)
    assert read_decisions(tmp_path / "d.parquet") == decisions
    assert ClipRecord.model_validate(json.loads(clip().model_dump_json())) == clip()
    assert Decision.model_validate_json(decisions[1].model_dump_json()) == decisions[1]
    with pytest.raises(ValidationError, match="colour"):
        decision(colour="red")


def test_an_accepted_clip_has_every_score(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="sync_distance, quality missing"):
        clip(scores=replace(SCORES, sync_distance=None, quality=None))
    write_manifest(tmp_path / "m.parquet", [clip()])
    table = pq.read_table(tmp_path / "m.parquet")
    table = table.set_column(table.column_names.index("quality"), "quality", pa.array([None], pa.float64()))
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(BadInputError, match=r"m\.parquet: .*quality missing"):
        read_manifest(tmp_path / "m.parquet")


STORED = {
    "normalise": {
        "num_frames": 60, "num_samples": 38400, "width": 320, "height": 240, "decoder_message": "",
        "declared_s": "12/5", "has_audio": True,
    },
    "refused": {"error": {"problem": "is empty", "decoder_message": "x"}, "declared_s": None},
    "refused late": {"error": {"problem": "is empty", "decoder_message": ""}, "declared_s": "3/2"},
    "face": {
        "num_frames": 60, "detected_fraction": 0.2, "absent_frames": 0, "has_clip": True, "face_height_px": 130.5,
        "clip_sha256": "ab",
    },
    "no face": {"num_frames": 60, "detected_fraction": 0.0, "absent_frames": 60, "has_clip": False},
    "sync": {
        "offset_measured": 3, "offset_applied": 3, "offset_remaining": 0, "confidence": 4.5, "distance": 6.5,
        "confidence_before": 4.0, "backend": "blue-v1", "audio_sha256": "cd",
    },
    "quality": {"value": 31.5, "backend": "piqe", "higher_is_better": False},
}  # fmt: skip
"""Results as every version so far has stored them."""

TYPED = {
    "normalise": Decoded(
        num_frames=60,
        num_samples=38400,
        width=320,
        height=240,
        decoder_message="",
        declared_s=Fraction(12, 5),
        has_audio=True,
    ),
    "refused": Undecodable(problem="is empty", decoder_message="x", declared_s=None),
    "refused late": Undecodable(problem="is empty", decoder_message="", declared_s=Fraction(3, 2)),
    "face": FaceResult(
        num_frames=60,
        detected_fraction=0.2,
        absent_frames=0,
        crop=Crop(face_height_px=130.5, clip_sha256="ab"),
    ),
    "no face": FaceResult(num_frames=60, detected_fraction=0.0, absent_frames=60, crop=None),
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
    "quality": QualityResult(value=31.5, backend="piqe", higher_is_better=False),
}
READERS = {
    "normalise": decoding_from_json,
    "refused": decoding_from_json,
    "refused late": decoding_from_json,
    "face": FaceResult.from_json,
    "no face": FaceResult.from_json,
    "sync": SyncResult.from_json,
    "quality": QualityResult.from_json,
}


@pytest.mark.parametrize("name", sorted(STORED))
def test_the_stored_form_of_results_is_what_it_always_was(name: str, tmp_path: Path) -> None:
    assert READERS[name](STORED[name]) == TYPED[name]
    write_json(tmp_path / "result.json", TYPED[name].to_json())
    assert read_json(tmp_path / "result.json") == STORED[name]


@pytest.mark.parametrize(
    ("words", "doubtful"),
    [
        ("no message", True),
        ("x received signal 15", True),
        ("Disk quota exceeded", True),
        ("moov", False),
        ("", False),
    ],
)
def test_old_verdicts_about_the_machine_are_doubtful(words: str, doubtful: bool) -> None:
    assert Undecodable(problem="p", decoder_message=words, declared_s=None).is_doubtful is doubtful


SETTINGS = CurationSettings(
    silence_dbfs=-50,
    max_absent_frames=2,
    min_detected_fraction=0.3,
    min_face_height_px=64,
    sync_confidence_min=3,
    max_abs_offset_frames=6,
    quality_threshold=50,
)
FACE = FaceResult(
    num_frames=60, detected_fraction=0.3, absent_frames=2, crop=Crop(face_height_px=64, clip_sha256="ab")
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


def judged(verdict: object) -> tuple[str, float, float] | None:
    return (verdict.reason.value, verdict.measured, verdict.threshold) if verdict else None  # type: ignore[attr-defined]


def test_thresholds_themselves_pass_and_the_next_value_does_not() -> None:
    assert judge_sound(-50.0, SETTINGS) is None
    assert judged(judge_sound(-50.5, SETTINGS)) == ("silent_audio", -50.5, -50)
    assert judge_face(FACE, SETTINGS) is None
    assert judged(judge_face(replace(FACE, detected_fraction=0.29), SETTINGS)) == ("no_face", 0.29, 0.3)
    assert judged(judge_face(replace(FACE, crop=None), SETTINGS)) == ("no_face", 0.3, 0.3)
    assert judged(judge_face(replace(FACE, absent_frames=3), SETTINGS)) == ("face_lost", 3, 2)
    small = replace(FACE, crop=Crop(face_height_px=63, clip_sha256="ab"))
    assert judged(judge_face(small, SETTINGS)) == ("face_too_small", 63, 64)
    assert judge_sync(SYNC, SETTINGS) is None
    assert judge_sync(replace(SYNC, offset_measured=6), SETTINGS) is None
    assert judged(judge_sync(replace(SYNC, confidence=2.9), SETTINGS)) == ("sync_confidence_low", 2.9, 3)
    assert judged(judge_sync(replace(SYNC, offset_measured=-7), SETTINGS)) == ("av_offset_too_large", -7, 6)
    assert judged(judge_sync(replace(SYNC, offset_remaining=-1), SETTINGS)) == ("av_offset_unstable", -1, 0)
    off = SETTINGS.model_copy(update={"sync_filter": False})
    assert judge_sync(replace(SYNC, confidence=0.0, offset_measured=9, offset_remaining=1), off) is None


@pytest.mark.parametrize(("higher", "value", "passes"), [
    (True, 50, True), (True, 49, False), (True, 51, True), (False, 50, True), (False, 49, True), (False, 51, False),
])  # fmt: skip
def test_quality_is_judged_in_the_direction_of_its_scale(higher: bool, value: float, passes: bool) -> None:
    verdict = judge_quality(QualityResult(value=value, backend="b", higher_is_better=higher), SETTINGS)
    assert judged(verdict) == (None if passes else ("quality_low", value, 50))


def test_every_reason_belongs_to_the_stage_that_gives_it() -> None:
    assert [(reason.value, reason.stage) for reason in RejectReason] == [
        ("failed_this_time", Stage.DECODE),
        ("inaccessible", Stage.DECODE),
        ("unreadable", Stage.DECODE),
        ("truncated", Stage.DECODE),
        ("no_video", Stage.DECODE),
        ("duplicate", Stage.UNIQUE),
        ("no_audio", Stage.SOUND),
        ("audio_missing", Stage.SOUND),
        ("silent_audio", Stage.SOUND),
        ("too_short", Stage.LENGTH),
        ("no_face", Stage.FACE),
        ("face_lost", Stage.FACE),
        ("face_too_small", Stage.FACE),
        ("sync_confidence_low", Stage.SYNC),
        ("av_offset_too_large", Stage.SYNC),
        ("av_offset_unstable", Stage.SYNC),
        ("quality_low", Stage.QUALITY),
    ]
