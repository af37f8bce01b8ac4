"""Which predictions an evaluation hands to the worker of an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord
from lipforcing_core.metrics.protocol import gt_box_aligned
from tasks import evaluation


def test_an_item_is_scored_with_its_own_predictions_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, list[tuple[str, DrivenBy]]] = {}

    def fan_out(_work: Any, jobs: Any, **_options: Any) -> None:
        handed.update({item.clip_id: [(r.system, r.driven_by) for r in own] for item, own in jobs})
        raise InterruptedError("nothing is scored here")

    monkeypatch.setattr(evaluation, "fan_out", fan_out)
    items = [
        EvalItem(clip_id=clip, identity=clip, truth_video=tmp_path, driving_audio=tmp_path) for clip in "abc"
    ]
    listed = [
        ("b", "ours", DrivenBy.DRIVING),
        ("a", "ours", DrivenBy.DRIVING),
        ("b", "ours", DrivenBy.UNRELATED),
    ]
    records = [
        PredictionRecord(clip_id=clip, system=system, path=tmp_path, sha256="0" * 64, driven_by=driven_by)
        for clip, system, driven_by in listed
    ]
    with pytest.raises(InterruptedError):
        evaluation.evaluate_all.fn(items, records, gt_box_aligned(detector_id="d"), StepStore(tmp_path))
    assert handed == {
        "a": [("ours", DrivenBy.DRIVING)],
        "b": [("ours", DrivenBy.DRIVING), ("ours", DrivenBy.UNRELATED)],
        "c": [],
    }
