"""Putting outcomes together without any video: twins, books, stored forms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.assemble import mark_duplicates
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
    MAY_LACK,
    SCORE_NAMES,
    ClipRecord,
    Decision,
    Scores,
    SourceFacts,
    SourceOutcome,
    Status,
    StoredClip,
)

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
        "audio_sha256": "02" * 32,
        "scores": SCORES,
        "num_lossy_encodes": 1,
    }
    values |= changes
    if "clip_sha256" not in changes:  # two clips are two pictures
        values["clip_sha256"] = hashlib.sha256(str(values["clip_id"]).encode()).hexdigest()
    return ClipRecord.model_validate(values)


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


def test_a_copy_whose_consent_is_denied_takes_the_others_with_it() -> None:
    accepted = outcome("a.mp4", decision("a.mp4"))
    denied = outcome("long/name.mp4", decision("long/name.mp4", reason="consent_denied"))
    facts = {"a.mp4": SourceFacts(split="test"), "long/name.mp4": SourceFacts(consent="revoked")}
    marked = {o.source: o.decisions[0].reason for o in mark_duplicates([accepted, denied], facts)}
    assert marked == {"a.mp4": "duplicate", "long/name.mp4": "consent_denied"}


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


def test_each_score_names_the_model_that_measured_it() -> None:
    one = replace(
        SCORES, activity_backend="one", detector_backend="one", sync_backend="one", quality_backend=None
    )
    names = (
        "speech_share",
        "face_height_px",
        "sync_confidence",
        "quality",
        "loudness_dbfs",
        "detector_backend",
    )
    assert [one.backend_of(name) for name in names] == ["one", "one", "one", None, None, None]


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


YOUNGER = [
    "speech_share",
    "longest_silence_s",
    "snr_db",
    "clipping_share",
    "bandwidth_hz",
    "modulation_4hz",
    "activity_backend",
    "num_faces",
    "yaw_deg",
    "pitch_deg",
    "lips_outside",
    "mouth_likeness",
    "longest_repeat_frames",
    "repeated_fraction",
    "invented_frames",
    "face_track",
    "face_box",
    "silences",
    "sound_notes",
]


def test_manifests_from_before_several_faces_are_still_read(tmp_path: Path) -> None:
    """Columns that came later are added, and stay empty, where an older version has written the file."""
    write_manifest(
        tmp_path / "m.parquet", [clip(face_track=1, face_box="1,2,3,4", silences="[]", sound_notes="")]
    )
    write_decisions(tmp_path / "d.parquet", [decision(scores=replace(SCORES, num_faces=2, speech_share=0.5))])
    for name in ("m.parquet", "d.parquet"):
        table = pq.read_table(tmp_path / name)
        there = [column for column in YOUNGER if column in table.column_names]
        assert len(there) == {"m.parquet": 19, "d.parquet": 15}[name]
        pq.write_table(table.drop_columns(there), tmp_path / name)
    assert read_manifest(tmp_path / "m.parquet") == [clip()]
    assert read_decisions(tmp_path / "d.parquet") == [decision(scores=SCORES)]


def test_what_later_versions_measure_survives(tmp_path: Path) -> None:
    later = replace(
        SCORES,
        speech_share=0.75,
        snr_db=30.0,
        activity_backend="speaks-v1",
        num_faces=2,
        yaw_deg=12.5,
        pitch_deg=-7.5,
        lips_outside=0.25,
        mouth_likeness=0.875,
        longest_repeat_frames=3,
        repeated_fraction=0.5,
        invented_frames=4,
    )
    rows = [clip(scores=later, face_track=1, face_box="1.5,2,3,4")]
    write_manifest(tmp_path / "m.parquet", rows)
    assert read_manifest(tmp_path / "m.parquet") == rows
    assert set(MAY_LACK) == set(YOUNGER) - {"face_track", "face_box", "silences", "sound_notes"}


def test_an_accepted_clip_has_every_score(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="sync_distance, quality missing"):
        clip(scores=replace(SCORES, sync_distance=None, quality=None))
    write_manifest(tmp_path / "m.parquet", [clip()])
    table = pq.read_table(tmp_path / "m.parquet")
    table = table.set_column(table.column_names.index("quality"), "quality", pa.array([None], pa.float64()))
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(BadInputError, match=r"m\.parquet: .*quality missing"):
        read_manifest(tmp_path / "m.parquet")


def test_every_reason_belongs_to_the_stage_that_gives_it() -> None:
    assert [(reason.value, reason.stage) for reason in RejectReason] == [
        ("failed_this_time", Stage.DECODE),
        ("inaccessible", Stage.DECODE),
        ("unreadable", Stage.DECODE),
        ("truncated", Stage.DECODE),
        ("annotation_unusable", Stage.DECODE),
        ("left_out_by_corpus", Stage.DECODE),
        ("consent_denied", Stage.DECODE),
        ("no_video", Stage.DECODE),
        ("over_limits", Stage.DECODE),
        ("duplicate", Stage.UNIQUE),
        ("near_duplicate", Stage.UNIQUE),
        ("held_out_person", Stage.UNIQUE),
        ("no_audio", Stage.SOUND),
        ("audio_missing", Stage.SOUND),
        ("silent_audio", Stage.SOUND),
        ("no_speech", Stage.SOUND),
        ("outside_ranges", Stage.LENGTH),
        ("too_short", Stage.LENGTH),
        ("no_face", Stage.FACE),
        ("face_lost", Stage.FACE),
        ("face_too_small", Stage.FACE),
        ("several_faces", Stage.FACE),
        ("turned_away", Stage.FACE),
        ("turned_up_or_down", Stage.FACE),
        ("lips_cut_off", Stage.FACE),
        ("frozen_picture", Stage.FACE),
        ("repeated_frames", Stage.FACE),
        ("occluded", Stage.FACE),
        ("sync_confidence_low", Stage.SYNC),
        ("av_offset_too_large", Stage.SYNC),
        ("av_offset_unstable", Stage.SYNC),
        ("quality_low", Stage.QUALITY),
    ]
