"""The manifest says which reference each clip yields for windows of 81 frames."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.manifest import arrow_schema, read_manifest, write_manifest
from lipforcing_core.curation.records import ClipRecord, SourceOutcome, StoredClip
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.window_plan import ReferenceKind

from .test_outcomes import clip, decision, outcome

LENGTHS = {"d" * 16: 250, "c" * 16: 162, "b" * 16: 161, "a" * 16: 125, "9" * 16: 92}


def record(clip_id: str, start: int = 0, num_frames: int = 125) -> ClipRecord:
    """A clip as workers write it: it says nothing of references."""
    return clip(
        clip_id=clip_id,
        start_frame=start,
        stop_frame=start + num_frames,
        num_frames=num_frames,
        seconds=num_frames / 25,
        clip_path=f"clips/{clip_id}.mp4",
        audio_path=f"clips/{clip_id}.wav",
        alignment_path=f"clips/{clip_id}.npz",
    )


def cut(store: StepStore) -> SourceOutcome:
    """A source that was cut into clips of these lengths; their files lie in the store."""
    clips, decisions, start = [], [], 0
    for clip_id, num_frames in LENGTHS.items():
        names = {"clip": f"{clip_id}.mp4", "audio": f"{clip_id}.wav", "alignment": f"{clip_id}.npz"}
        for name in names.values():
            (store.root / name).write_bytes(b"x")
        clips.append(StoredClip(record=record(clip_id, start, num_frames), **names))
        stop = start + num_frames
        decisions.append(decision("a.mp4", start, stop, status="accepted", reason=None, clip_id=clip_id))
        start = stop
    return outcome("a.mp4", *decisions, clips=clips)


def test_the_kind_of_every_clip_is_in_the_manifest(tmp_path: Path) -> None:
    store = StepStore(tmp_path / "store")
    store.root.mkdir(exist_ok=True)
    source = cut(store)
    assert {clip.record.reference_81 for clip in source.clips} == {None}
    settings = CurationSettings(min_segment_s=3.0)
    report = assemble_manifest([source], tmp_path / "out", settings, store=store)
    kinds = {row.clip_id[0]: row.reference_81 for row in read_manifest(report.manifest)}
    assert kinds == {"d": "disjoint", "c": "disjoint", "b": "partial", "a": "partial", "9": "none"}
    column = pq.read_table(report.manifest).column("reference_81")
    assert column.to_pylist() == ["disjoint", "disjoint", "partial", "partial", "none"], (
        "plain text for others"
    )
    assert not [check for check in report.contract.failures if check.table == "manifest"]


def test_the_column_may_be_empty_or_lack(tmp_path: Path) -> None:
    """Manifests of earlier versions do not have it."""
    field = arrow_schema(ClipRecord).field("reference_81")
    assert (str(field.type), field.nullable) == ("string", True)
    path = tmp_path / "m.parquet"
    known = record("0" * 16, start=1).model_copy(update={"reference_81": ReferenceKind.PARTIAL})
    write_manifest(path, [record("1" * 16), known])
    assert [row.reference_81 for row in read_manifest(path)] == [None, "partial"]
    pq.write_table(pq.read_table(path).drop_columns(["reference_81"]), path)
    assert [row.reference_81 for row in read_manifest(path)] == [None, None]


def test_another_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(path, [record("1" * 16)])
    table = pq.read_table(path).drop_columns(["reference_81"])
    pq.write_table(table.append_column("reference_81", pa.array(["half"])), path)
    with pytest.raises(BadInputError, match="column reference_81: should be 'disjoint', 'partial' or 'none'"):
        read_manifest(path)
