"""What a corpus says of a source reaches the worker that curates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile
from tasks import curating, curation
from tasks.curating import curate_corpus, discover, survey
from tasks.curation import Source, curate_shard
from tasks.workspace import Workspace
from tests.curation.test_outcomes import decision, outcome
from tests.tasks.in_process import convey

SETTINGS = CurationSettings()
TOLD = SourceFacts.model_validate(
    {"identity": "anna", "ranges": "1-7/2; 4-9", "crop": "0 0 9 9 @100", "audio": "a.m4a", "split": "test"}
)

Call = tuple[Path, dict[str, Any]]


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What ``curate_source`` was asked for, as ``read_ahead`` before it, by workers that are reached by pickle."""
    calls: list[Call] = []
    told: dict[SourceFile, dict[str, Any]] = {}

    def read_ahead(path: Path, *, store: StepStore, detector: str, **options: Any) -> SourceFile:
        assert detector == "detector"
        file = SourceFile(path=path, name=path.name, sha256=f"{len(told) + 1:064x}")
        told[file] = options
        return file

    def curate_source(
        path: Path, *, store: StepStore, backends: str, read: SourceFile, **options: Any
    ) -> SourceOutcome:
        assert (read.path, told[read], backends) == (path, options, "backends")
        calls.append((path, options | {"store": store.root}))
        return outcome(path.name, decision(path.name), sha256=read.sha256)

    monkeypatch.setattr(curation, "convey", convey)
    monkeypatch.setattr(curation, "read_ahead", read_ahead)
    monkeypatch.setattr(curation, "_detector", lambda settings: "detector")
    monkeypatch.setattr(curation, "curate_source", curate_source)
    monkeypatch.setattr(curation, "_backends", lambda settings, on_gpu: "backends")
    return calls


def test_facts_travel_with_their_source(worked: list[Call], tmp_path: Path) -> None:
    store = StepStore(tmp_path / "store")
    sources = [
        Source(path=tmp_path / "a.mp4", root=tmp_path, facts=TOLD),
        Source(path=tmp_path / "b.mp4", root=tmp_path),
    ]
    made = curate_shard.fn(sources, SETTINGS, store)
    assert [o.source for o in made] == ["a.mp4", "b.mp4"]
    plain = {"settings": SETTINGS, "store": store.root, "root": tmp_path}
    assert worked == [
        (tmp_path / "a.mp4", {**plain, "facts": TOLD}),
        (tmp_path / "b.mp4", {**plain, "facts": None}),
    ]


def test_the_facts_of_a_corpus_are_those_that_its_sources_are_curated_with(
    worked: list[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curating, "curate_shard", curate_shard.fn)
    root = tmp_path / "corpus"
    (root / "sub").mkdir(parents=True)
    for name in ("a.mp4", "sub/b.mp4", "c.mp4"):
        (root / name).write_text(name)
    (root / "sources.csv").write_text("path,identity,ranges\na.mp4,anna,1-2\nsub/b.mp4,ben,\n")
    (root / "c.mp4.meta.json").write_text('{"crop": "0 0 9 9"}')
    found = discover(root)
    workspace = Workspace(tmp_path / "ws")
    corpus = survey(workspace, found.sources, SETTINGS, found.facts)
    curate_corpus(workspace, corpus, SETTINGS, tmp_path / "out", found)
    assert {path.relative_to(root).as_posix(): options["facts"] for path, options in worked} == {
        "a.mp4": SourceFacts.model_validate({"identity": "anna", "ranges": "1-2"}),
        "sub/b.mp4": SourceFacts(identity="ben"),
        "c.mp4": SourceFacts.model_validate({"crop": "0 0 9 9"}),
    }


def test_a_range_that_changes_is_new_work_for_its_source_alone(
    worked: list[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curating, "curate_shard", curate_shard.fn)
    root = tmp_path / "corpus"
    root.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (root / name).write_text(name)
    workspace = Workspace(tmp_path / "ws")
    for ranges, asked in (("1-2", ["a.mp4", "b.mp4"]), ("1-2", []), ("1-3", ["a.mp4"])):
        (root / "sources.csv").write_text(f"path,ranges\na.mp4,{ranges}\n")
        found = discover(root)
        corpus = survey(workspace, found.sources, SETTINGS, found.facts)
        worked.clear()
        curated = curate_corpus(workspace, corpus, SETTINGS, tmp_path / "out", found)
        assert [path.name for path, _ in worked] == asked
        assert curated.num_reused == 2 - len(asked)
