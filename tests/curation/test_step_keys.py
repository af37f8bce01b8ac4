"""Under which keys the steps of curation keep their results, and what the keys depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepResult
from lipforcing_core.curation import steps
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.segments import Segment

from .test_steps import SHA256, Scripted, source


class Keys:
    """A store that does nothing and keeps the names and keys of the steps that it is asked for."""

    root = Path("root")

    def __init__(self, result: dict[str, Any]) -> None:
        self.asked: list[tuple[str, str]] = []
        self._result = result

    def run(self, step: str, key: str, work: object) -> StepResult:
        self.asked.append((step, key))
        return StepResult(folder=Path(step, key), result=self._result, reused=True)

    def folder(self, step: str, key: str) -> Path:
        return self.root / step / key


SYNC = {
    "offset_measured": 3,
    "offset_applied": 3,
    "offset_remaining": 0,
    "confidence": 4.5,
    "distance": 6.5,
    "confidence_before": 4.0,
    "backend": "b",
    "audio_sha256": "cd",
}
FACE = {"num_frames": 60, "detected_fraction": 0.0, "absent_frames": 60, "has_clip": False}
QUALITY = {"value": 1.0, "backend": "b", "higher_is_better": True}


def test_keys_of_finished_work_are_what_they_always_were() -> None:
    """A key that changes repeats the work of every corpus that was ever curated, so it changes only on purpose."""
    settings, scorer, segment = CurationSettings(), Scripted(), Segment(5, 130)
    found: dict[str, Any] = {}
    store: Any = Keys({"shots": [[0, 60]]})
    assert steps.found_shots(source(store), settings, store) == [(0, 60)]
    found["shots"] = store.asked
    store = Keys(FACE)
    face = steps.aligned(source(store), segment, settings, scorer, store)
    found["align"] = store.asked
    store = Keys(SYNC)
    sync = steps.synchronised(source(store), segment, "ef" * 8, Path("c"), scorer, store, correct=True)  # type: ignore[arg-type]
    found["sync"] = store.asked
    store = Keys(QUALITY)
    steps.rated("ef" * 8, Path("c"), 125, scorer, store)
    found["quality"] = store.asked
    assert found == {
        "shots": [("shots", "382ea9ce1b44ce98")],
        "align": [("align", "a560644887391ae8")],
        "sync": [("sync", "94770bf9a10a7190")],
        "quality": [("quality", "e7a54653180d7cda")],
    }
    assert steps.normalise_key(SHA256) == "fde4ced7e48ccbac"
    assert (face.key, face.folder) == ("a560644887391ae8", Path("align/a560644887391ae8"))
    assert (sync.key, sync.folder) == ("94770bf9a10a7190", Path("sync/94770bf9a10a7190"))
    assert (face.result.absent_frames, sync.result.confidence) == (60, 4.5)
    assert source(store).audio == Path("root/normalise/fde4ced7e48ccbac/audio.wav")


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"shot_threshold": 3.0}, {"shots"}),
        ({"shot_min_content_change": 3.0}, {"shots"}),
        ({"detect_stride": 3}, {"align"}),
        ({"max_gap_frames": 3}, {"align"}),
        ({"clip_crf": 3}, {"align"}),
        ({"silence_dbfs": -3.0, "sync_confidence_min": 9.0, "min_face_height_px": 3.0}, set()),
    ],
)
def test_a_key_depends_on_what_its_step_uses_and_on_no_threshold(
    settings: dict[str, Any], changes: set[str]
) -> None:
    def keys(chosen: CurationSettings) -> dict[str, Any]:
        store: Any = Keys({"shots": []} | FACE)
        steps.found_shots(source(store), chosen, store)
        steps.aligned(source(store), Segment(0, 60), chosen, Scripted(), store)
        return dict(store.asked)

    plain, other = keys(CurationSettings()), keys(CurationSettings(**settings))
    assert {step for step in plain if plain[step] != other[step]} == changes
