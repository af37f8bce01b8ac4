"""Which videos of an experiment are generated and scored: with controls, and of the models alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.presets import load_preset
from tasks import judging
from tasks.evaluation import Scorers
from tasks.generation import GenerationJob
from tasks.judging import Judged, judge
from tasks.training import TrainedModel
from tasks.warehousing import HeldOutSet
from tasks.workspace import Workspace


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Generates and scores nothing; gives the labels of the predictions that were to be scored."""
    labels: list[str] = []

    def generate_all(jobs: Sequence[GenerationJob], *_: Any) -> list[Any]:
        for job in jobs:
            assert job.video.is_file()
        return [SimpleNamespace(report=SimpleNamespace(output=job.video, ledger=None)) for job in jobs]

    def evaluate_all(
        _items: Any, predictions: Sequence[PredictionRecord], protocol: Protocol, *_: Any, **__: Any
    ) -> Evaluation:
        labels.extend(record.label for record in predictions)
        return Evaluation(protocol=protocol, values=(), unavailable=(), differences=(), missing=())

    monkeypatch.setattr(judging, "generate_all", generate_all)
    monkeypatch.setattr(judging, "evaluate_all", evaluate_all)
    monkeypatch.setattr(judging, "speed_rows", lambda *_, **__: ([], None))
    monkeypatch.setattr(judging, "_copy_through", lambda _store, item: item.source_video)
    return labels


def judged(tmp_path: Path, **options: Any) -> Judged:
    files = {}
    for name in ("truth_video", "driving_audio", "source_video", "unrelated_audio"):
        files[name] = tmp_path / name
        files[name].write_bytes(name.encode())
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.safetensors").write_bytes(b"weights")
    return judge(
        Workspace(tmp_path),
        [EvalItem(clip_id="a", identity="anna", **files)],
        HeldOutSet(name="clips", version="1", num_clips=1, description="one clip"),
        {"distilled": TrainedModel(bundle=bundle, metrics=[], reused=False)},
        load_preset("nano"),
        scorers=Scorers(),
        seed=0,
        aligned=True,
        **options,
    )


def test_controls_are_scored_beside_the_models(tmp_path: Path, scored: list[str]) -> None:
    result = judged(tmp_path)
    assert len(scored) == 4
    assert {system.system for system in result.systems} == set(scored)
    assert {system.kind for system in result.systems} == {"student", "control", "truth"}


def test_the_models_are_scored_alone_where_no_controls_are_wanted(tmp_path: Path, scored: list[str]) -> None:
    result = judged(tmp_path, controls=False)
    assert scored == ["distilled"]
    assert [(system.system, system.kind) for system in result.systems] == [("distilled", "student")]
    assert set(result.videos) == {("distilled", "a")}
