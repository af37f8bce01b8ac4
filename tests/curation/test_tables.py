"""Manifests and decisions as tables: the columns that other programs read, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.funnel import Balance, balance, funnel_rows, reason_counts
from lipforcing_core.curation.manifest import (
    arrow_schema,
    read_decisions,
    read_manifest,
    write_decisions,
    write_manifest,
)
from lipforcing_core.curation.records import ClipRecord, Decision, ScoredRow, SourceFacts, Status, StoredClip

from .test_outcomes import clip, decision, outcome

SCORE_COLUMNS = [
    "loudness_dbfs double",
    "speech_share double or null",
    "longest_silence_s double or null",
    "snr_db double or null",
    "clipping_share double or null",
    "bandwidth_hz double or null",
    "modulation_4hz double or null",
    "activity_backend string or null",
    "detected_fraction double",
    "absent_frames int64",
    "face_height_px double",
    "num_faces int64 or null",
    "yaw_deg double or null",
    "pitch_deg double or null",
    "lips_outside double or null",
    "mouth_likeness double or null",
    "longest_repeat_frames int64 or null",
    "repeated_fraction double or null",
    "invented_frames int64 or null",
    "detector_backend string",
    "sync_confidence double",
    "sync_distance double",
    "av_offset_measured int64",
    "av_offset_applied int64",
    "av_offset_remaining int64",
    "sync_backend string",
    "quality double",
    "quality_backend string",
]


def columns(model: type[ScoredRow]) -> list[str]:
    return [f"{f.name} {f.type}{' or null' if f.nullable else ''}" for f in arrow_schema(model)]


def test_the_columns_of_a_manifest() -> None:
    assert columns(ClipRecord) == [
        "clip_id string",
        "source_id string",
        "source string",
        "source_sha256 string",
        "shot int64",
        "start_frame int64",
        "stop_frame int64",
        "num_frames int64",
        "seconds double",
        "identity string or null",
        "licence string or null",
        "commercial_ok bool or null",
        "language string or null",
        "consent string or null",
        "dataset string or null",
        "split string",
        "clip_path string",
        "audio_path string",
        "alignment_path string",
        "clip_sha256 string",
        "audio_sha256 string",
        *SCORE_COLUMNS,
        "num_lossy_encodes int64",
        "face_track int64 or null",
        "face_box string or null",
        "reference_81 string or null",
        "duplicate_of string or null",
        "identity_from string or null",
        "silences string or null",
        "sound_notes string or null",
    ]


def test_the_columns_of_the_decisions() -> None:
    assert columns(Decision) == [
        *(f"{column.removesuffix(' or null')} or null" for column in SCORE_COLUMNS),
        "source string",
        "source_id string",
        "level string",
        "start_frame int64",
        "stop_frame int64",
        "seconds double",
        "status string",
        "reason string or null",
        "measured double or null",
        "threshold double or null",
        "message string",
        "clip_id string or null",
        "duplicate_of string or null",
    ]


def test_rows_are_sorted_and_packed(tmp_path: Path) -> None:
    clips = [
        clip(source="b.mp4", clip_id="1" * 16),
        clip(source="a.mp4", start_frame=9, clip_id="0" * 16),
        clip(source="a.mp4", start_frame=1, clip_id="f" * 16),
        clip(source="a.mp4", start_frame=1, clip_id="e" * 16),
    ]
    write_manifest(tmp_path / "m.parquet", clips)
    assert [c.clip_id[0] for c in read_manifest(str(tmp_path / "m.parquet"))] == ["e", "f", "0", "1"]
    rows = [
        decision("b.mp4", 0, 5),
        decision("a.mp4", 5, 9),
        decision("a.mp4", 0, 5),
        decision("a.mp4", 0, 0),
    ]
    write_decisions(tmp_path / "d.parquet", rows)
    found = read_decisions(tmp_path / "d.parquet")
    assert [(d.source, d.start_frame, d.stop_frame) for d in found] == [
        ("a.mp4", 0, 0),
        ("a.mp4", 0, 5),
        ("a.mp4", 5, 9),
        ("b.mp4", 0, 5),
    ]
    for name in ("m.parquet", "d.parquet"):
        group = pq.read_metadata(tmp_path / name).row_group(0)
        assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
        assert pq.read_schema(tmp_path / name).equals(
            arrow_schema(ClipRecord if name == "m.parquet" else Decision)
        )


def test_a_pipe_in_place_of_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.parquet")
    with pytest.raises(BadInputError, match=r"m\.parquet: is a pipe, a socket or a device"):
        read_manifest(tmp_path / "m.parquet")


def test_a_manifest_may_be_reached_through_a_link_and_its_clips_may_not_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_manifest(tmp_path / "link" / "m.parquet", [clip()])
    assert read_manifest(tmp_path / "link" / "m.parquet") == [clip()]
    for name in ("clip_path", "audio_path", "alignment_path"):
        for bad in ("../x", "/etc/hosts", "clips/../../x"):
            write_manifest(tmp_path / "m.parquet", [clip(**{name: bad})])
            with pytest.raises(
                BadInputError, match=f"path '{bad}' of clip {'ab' * 8} leaves the manifest's folder"
            ):
                read_manifest(tmp_path / "m.parquet")
    (tmp_path / "clips").symlink_to("/")
    write_manifest(tmp_path / "m.parquet", [clip()])
    with pytest.raises(BadInputError, match="leaves the manifest's folder"):
        read_manifest(tmp_path / "m.parquet")


def test_a_wrong_value_is_named_with_its_column(tmp_path: Path) -> None:
    write_decisions(tmp_path / "d.parquet", [decision(clip_id="x")])
    table = pq.read_table(tmp_path / "d.parquet")
    index = table.column_names.index("status")
    pq.write_table(table.set_column(index, "status", [["great"]]), tmp_path / "d.parquet")
    with pytest.raises(BadInputError, match=r"d\.parquet: column status: .* \(got 'great'\)$"):
        read_decisions(tmp_path / "d.parquet")
    with pytest.raises(BadInputError, match=r"^.*absent\.parquet: there is no such file$"):
        read_decisions(tmp_path / "absent.parquet")


def test_records_do_not_change_and_know_no_other_keys() -> None:
    stored = StoredClip(record=clip(), clip="c", audio="a", alignment="n")
    for record in (clip(), decision(), stored, outcome("a.mp4", decision()), SourceFacts()):
        name = next(iter(type(record).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, name, None)
        with pytest.raises(ValidationError, match="Extra inputs"):
            type(record).model_validate(record.model_dump() | {"colour": "red"})


def test_an_outcome_tells_its_status_frames_and_seconds() -> None:
    rows = [decision(stop=10), decision(start=10, stop=35, status="quarantined", reason="failed_this_time")]
    mixed = outcome("a.mp4", *rows, frames_trimmed=5)
    assert (mixed.status, mixed.failed_this_time, mixed.is_final) == (Status.QUARANTINED, True, False)
    assert [mixed.frames(status) for status in Status] == [0, 10, 25]
    assert [mixed.seconds(status) for status in (None, *Status)] == [1.6, 0.0, 0.4, 1.0]
    assert mixed.quarantine == (mixed.decisions[1],)
    plain = outcome("a.mp4", rows[0])
    assert (plain.status, plain.failed_this_time, plain.is_final) == (Status.REJECTED, False, True)
    assert (plain.frames_trimmed, plain.clips, plain.decoder_message) == (0, (), "")


def test_no_source_is_an_empty_balance() -> None:
    nothing = balance([])
    assert nothing == Balance(
        sources_in=0,
        sources_accepted=0,
        sources_rejected=0,
        sources_quarantined=0,
        frames_in=0,
        frames_accepted=0,
        frames_rejected=0,
        frames_quarantined=0,
        clips=0,
    )
    assert (nothing.sources_failed, nothing.frames_trimmed, nothing.files_ignored) == (0, 0, 0)
    assert nothing.holds
    assert {(row.sources, row.segments, row.num_frames, row.seconds) for row in funnel_rows([])} == {
        (0, 0, 0, 0.0)
    }
    assert reason_counts([]) == []
