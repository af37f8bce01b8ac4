"""What a corpus says of a source reaches the worker that curates it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from tasks import curating, curation
from tasks.curating import curate_corpus, discover, survey
from tasks.curation import Source, curate_shard
from tasks.workspace import Workspace
from tests.curation.test_outcomes import decision, outcome

SETTINGS = CurationSettings()
TOLD = SourceFacts.model_validate(
    {"identity": "anna", "ranges": "1-7/2; 4-9", "crop": "0 0 9 9 @100", "audio": "a.m4a", "split": "test"}
)

Call = tuple[Path, dict[str, Any]]


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What ``curate_source`` was asked for, in workers that are reached by pickle, as those of Ray are."""
    calls: list[Call] = []

    def fan_out(work: Callable[..., Any], items: Sequence[Source], **_: Any) -> list[Any]:
        return [work(pickle.loads(pickle.dumps(item))) for item in items]

    def curate_source(path: Path, **options: Any) -> SourceOutcome:
        calls.append((path, options))
        return outcome(path.name, decision(path.name), sha256=f"{len(calls):064x}")

    monkeypatch.setattr(curation, "fan_out", fan_out)
    monkeypatch.setattr(curation, "curate_source", curate_source)
    monkeypatch.setattr(curation, "_backends", lambda settings: "backends")
    return calls


def test_facts_travel_with_their_source(worked: list[Call], tmp_path: Path) -> None:
    store = StepStore(tmp_path / "store")
    sources = [
        Source(path=tmp_path / "a.mp4", root=tmp_path, facts=TOLD),
        Source(path=tmp_path / "b.mp4", root=tmp_path),
    ]
    made = curate_shard.fn(sources, SETTINGS, store)
    assert [o.source for o in made] == ["a.mp4", "b.mp4"]
    plain = {"settings": SETTINGS, "backends": "backends", "store": store, "root": tmp_path}
    assert [(path, {**options, "store": store}) for path, options in worked] == [
        (tmp_path / "a.mp4", {**plain, "facts": TOLD}),
        (tmp_path / "b.mp4", {**plain, "facts": None}),
    ]
    assert all(options["store"].root == store.root for _, options in worked)


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
