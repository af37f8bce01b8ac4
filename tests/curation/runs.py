"""Runs of curation made by hand: every row is written down, no video is looked at."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lipforcing_core.base.products import StepStore, write_json
from lipforcing_core.curation.lookup import look_up
from lipforcing_core.curation.manifest import write_decisions, write_manifest
from lipforcing_core.curation.records import ClipRecord, Decision, Scores
from lipforcing_core.curation.source_rows import SOURCES, SourceRow, write_source_rows
from lipforcing_core.curation.stored_run import StoredRun, read_run
from lipforcing_core.curation.story import Story, story_of

SCORES = Scores(
    loudness_dbfs=-20.0,
    detected_fraction=0.9,
    absent_frames=0,
    face_height_px=120.0,
    num_faces=1,
    detector_backend="lbp-1",
    sync_confidence=5.0,
    sync_distance=7.0,
    av_offset_measured=3,
    av_offset_applied=3,
    av_offset_remaining=0,
    sync_backend="nano-1",
    quality=30.0,
    quality_backend="piqe-pyiqa0.1",
)
SETTINGS: dict[str, Any] = {
    "silence_dbfs": -50.0,
    "min_detected_fraction": 0.3,
    "min_face_height_px": 64.0,
    "max_absent_frames": 0,
    "quality": "piqe",
    "quality_threshold": 85.0,
    "sync_filter": True,
    "sync_confidence_min": 3.0,
    "max_abs_offset_frames": 6,
    "min_segment_s": 5.0,
}


def sha(number: int) -> str:
    return f"{number:02x}" * 32


def piece(source: str, number: int, start: int = 0, stop: int = 125, **changes: Any) -> Decision:
    """A measured piece of the source with content ``number``; accepted unless a reason is given."""
    scores = replace(SCORES, **{k: changes.pop(k) for k in list(changes) if hasattr(SCORES, k)})
    status = "rejected" if "reason" in changes else "accepted"
    clip_id = None if "reason" in changes else f"{number:02x}{start:06x}{stop:08x}"
    values = {"scores": scores, "level": "segment", "status": status, "clip_id": clip_id} | changes
    return Decision(
        source=source,
        source_id=sha(number)[:16],
        start_frame=start,
        stop_frame=stop,
        seconds=(stop - start) / 25,
        **values,
    )


def record(decision: Decision, number: int) -> ClipRecord:
    assert decision.clip_id is not None
    return ClipRecord(
        clip_id=decision.clip_id,
        source_id=decision.source_id,
        source=decision.source,
        source_sha256=sha(number),
        shot=0,
        start_frame=decision.start_frame,
        stop_frame=decision.stop_frame,
        num_frames=decision.num_frames,
        seconds=decision.seconds,
        identity="anna",
        licence=None,
        commercial_ok=None,
        split="train",
        clip_path=f"clips/{decision.clip_id}.mp4",
        audio_path=f"clips/{decision.clip_id}.wav",
        alignment_path=f"clips/{decision.clip_id}.npz",
        clip_sha256="c" * 64,
        audio_sha256="a" * 64,
        scores=decision.scores,
        num_lossy_encodes=1,
    )


def write_run(
    folder: Path,
    decisions: list[Decision],
    *,
    settings: dict[str, Any] | None = None,
    ended: str | None = "2026-01-02 10:00:00",
    corpus: str | None = "/corpus",
    rows: bool = True,
    name: str | None = None,
) -> StoredRun:
    """A run folder as curation leaves it; without ``rows`` and ``name`` as an older version has."""
    folder.mkdir(parents=True)
    numbers = {d.source: int(d.source_id[:2], 16) for d in decisions}
    clips = [record(d, numbers[d.source]) for d in decisions if d.clip_id is not None]
    write_manifest(folder / "manifest.parquet", clips)
    write_decisions(folder / "decisions.parquet", decisions)
    if settings is not None:
        write_json(folder / "funnel.json", {"settings": settings} | ({"name": name} if name else {}))
    listing = [[os.path.basename(name), sha(number)] for name, number in numbers.items()]
    write_json(folder / "config.json", {"sources": listing})
    if ended is not None:
        (folder / "run.log").write_text(f"{ended[:-2]}00,1 started curate\n{ended},1 done curate (1 s)\n")
    if rows:
        known = [
            SourceRow(
                source=name,
                source_id=sha(number)[:16],
                sha256=sha(number),
                status="accepted",
                frames_in=125,
                frames_trimmed=0,
                decoder_message="",
                facts='{"identity":"anna"}',
                folder=corpus,
            )
            for name, number in numbers.items()
        ]
        write_source_rows(folder / SOURCES, known)
    return read_run(folder)


def tell(run: StoredRun, store: StepStore, asked: str) -> Story:
    """The story of the source that ``asked`` means in the run."""
    return story_of(run, store, look_up(run, asked))
