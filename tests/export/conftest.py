"""A small curated data set with a known truth, written by the house's own ``assemble_manifest``."""

from __future__ import annotations

import shutil
import socket
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore, file_sha256
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    ClipRecord,
    Decision,
    Scores,
    SourceOutcome,
    Status,
    StoredClip,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.export.catalogue import EXPORTS
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.media.encode import VideoWriter

SETTINGS = CurationSettings(
    min_segment_s=2.0, max_segment_s=4.0, detector_model=Path("/home/somebody/models/own.onnx")
)
FRAMES = 50
CLIPS = (
    # source, identity, licence, commercial_ok, split
    ("anna one.mp4", "anna", "CC-BY-4.0", True, "train"),
    ("anna two.mp4", "anna", "CC-BY-4.0", True, "train"),
    ("ben.mp4", "ben", "CC BY-NC 4.0", True, "train"),
    ("carla | <b>.mp4", "carla", None, None, "val"),
    ("nobody.mp4", None, "CC0-1.0", None, "train"),
)
NAME = "Five | clips"
FORMS = [entry.name for entry in EXPORTS if not entry.encodes]
"""Those that are made of the manifest alone; latents are tested in ``test_latents``."""


@pytest.fixture(autouse=True)
def _encodings(encodings_are_named: Callable[[str], None]) -> None:
    encodings_are_named("lipforcing_core.export")


def clip_id_of(index: int) -> str:
    return f"{index:016x}"


def make_outcome(folder: Path, index: int) -> SourceOutcome:
    source, identity, licence, allowed, split = CLIPS[index]
    clip_id = clip_id_of(index)
    picture, sound, alignment = (folder / f"{clip_id}{suffix}" for suffix in (".mp4", ".wav", ".npz"))
    rng = np.random.default_rng(index)
    with VideoWriter(picture, width=64, height=64, crf=20) as writer:
        for frame in rng.integers(0, 255, (FRAMES, 8, 8, 3), dtype=np.uint8):
            writer.write(np.kron(frame, np.ones((8, 8, 1), dtype=np.uint8)))
    with wave.open(str(sound), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes(rng.integers(-9000, 9000, FRAMES * 640).astype("<i2").tobytes())
    np.savez(alignment, matrices_F23=rng.random((FRAMES, 2, 3)))
    scores = Scores(
        loudness_dbfs=-20.5,
        detected_fraction=1.0,
        absent_frames=0,
        face_height_px=100.0 + index,
        detector_backend="lbp@1",
        sync_confidence=4.0 + index,
        sync_distance=7.25,
        av_offset_measured=1,
        av_offset_applied=1,
        av_offset_remaining=0,
        sync_backend="puppet@1",
        quality=30.5,
        quality_backend="piqe@1",
    )
    record = ClipRecord(
        clip_id=clip_id,
        source_id=f"{index:08x}",
        source=source,
        source_sha256=f"{index:064x}",
        shot=0,
        start_frame=0,
        stop_frame=FRAMES,
        num_frames=FRAMES,
        seconds=FRAMES / 25,
        identity=identity,
        licence=licence,
        commercial_ok=allowed,
        split=split,
        clip_path=f"clips/{clip_id}.mp4",
        audio_path=f"clips/{clip_id}.wav",
        alignment_path=f"clips/{clip_id}.npz",
        clip_sha256=file_sha256(picture),
        audio_sha256=file_sha256(sound),
        scores=scores,
        num_lossy_encodes=1,
    )
    pieces = [
        Decision(
            source=source,
            source_id=record.source_id,
            level="segment",
            start_frame=0,
            stop_frame=FRAMES,
            seconds=2.0,
            status=Status.ACCEPTED,
            scores=scores,
            clip_id=clip_id,
        ),
        Decision(
            source=source,
            source_id=record.source_id,
            level="shot",
            start_frame=FRAMES,
            stop_frame=FRAMES + 10,
            seconds=0.4,
            status=Status.REJECTED,
            reason=RejectReason.TOO_SHORT,
            measured=0.4,
            threshold=2.0,
        ),
    ]
    return SourceOutcome(
        source=source,
        source_id=record.source_id,
        sha256=record.source_sha256,
        frames_in=FRAMES + 10,
        clips=(StoredClip(record=record, clip=picture.name, audio=sound.name, alignment=alignment.name),),
        decisions=tuple(pieces),
    )


@pytest.fixture(scope="session")
def curated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of five clips of 2 s, of which no test may change anything."""
    folder = tmp_path_factory.mktemp("curated")
    store = StepStore(folder / "store")
    store.root.mkdir()
    outcomes = [make_outcome(store.root, index) for index in range(len(CLIPS))]
    report = assemble_manifest(outcomes, folder / "run", SETTINGS, store=store)
    assert report.contract.success, report.contract.failures
    return report.manifest


@pytest.fixture
def manifest(curated_once: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil."""
    shutil.copytree(curated_once.parent, tmp_path / "run")
    return tmp_path / "run" / curated_once.name


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where somebody opens a connection."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def settings() -> ExportSettings:
    return ExportSettings(name=NAME)
