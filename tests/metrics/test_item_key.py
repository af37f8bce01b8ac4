"""The key of a scored item, frozen: where it moves, every finished evaluation is done again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.item import item_key
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord
from lipforcing_core.metrics.protocol import gt_box_aligned

FROZEN_WHOLE = "44ff81e54842a323"
FROZEN_SPARSE = "56f6089b7d6b6138"


def named(name: str) -> SimpleNamespace:
    return SimpleNamespace(backend_id=name)


BACKENDS = Backends(
    detector=named("lbp"),
    sync=named("nano@sha256:1"),
    perceptual=named("lpips@2"),
    image_features=named("inception@3"),
    video_features=named("i3d@4"),
    identity_features=named("arcface@5"),
)
PROTOCOL = gt_box_aligned(detector_id="lbp", num_frames=75)


def item_in(folder: Path) -> EvalItem:
    for name in ("truth", "driving", "source", "unrelated"):
        (folder / name).write_bytes(name.encode())
    return EvalItem(
        clip_id="clip",
        identity="person",
        truth_video=folder / "truth",
        driving_audio=folder / "driving",
        source_video=folder / "source",
        unrelated_audio=folder / "unrelated",
    )


def test_the_key_of_a_scored_item_has_not_moved(tmp_path: Path) -> None:
    item = item_in(tmp_path)
    records = [
        PredictionRecord(clip_id="clip", system="student", path=item.truth_video, sha256="ab" * 32),
        PredictionRecord(
            clip_id="clip",
            system="student",
            path=item.source_video,
            sha256="cd" * 32,
            driven_by=DrivenBy.UNRELATED,
        ),
        PredictionRecord(clip_id="clip", system="gone", path=tmp_path / "gone", sha256="ef" * 32),
        PredictionRecord(clip_id="another", system="student", path=item.truth_video, sha256="01" * 32),
    ]
    assert item_key(item, records, PROTOCOL, BACKENDS) == FROZEN_WHOLE
    sparse = replace(item, source_video=None, unrelated_audio=tmp_path / "nowhere")
    assert item_key(sparse, records[:1], PROTOCOL, replace(BACKENDS, detector=None)) == FROZEN_SPARSE
