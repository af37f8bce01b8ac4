"""Named data sets from the request to the warehouse: identity, drift, what they are held against, questions in SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import run_flow
from flows.summaries import CurateSummary
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256, read_json
from lipforcing_core.curation import assemble
from lipforcing_core.curation.contract import ContractResult
from lipforcing_core.curation.prints import write_fingerprints
from lipforcing_core.curation.records import SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from tasks import curating, together
from tasks.curating import ContractError
from tasks.datasets import DataSet, default_name, earlier_run, remember_run
from tasks.workspace import Workspace
from tests.curation.test_duplicates import footage
from tests.curation.test_outcomes import clip, decision, outcome
from tests.tasks.test_curating_corpora import accepted
from warehouse.query import fetch

Curate = Callable[..., CurateSummary]
SETTINGS = CurationSettings()


def rejected(name: str) -> SourceOutcome:
    row = decision(
        name, status="rejected", reason="sync_confidence_low", measured=2.5, threshold=3.0, stop=125
    )
    return outcome(name, row)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def curate(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Curate:
    """Curates ``talks/`` with the videos a, b and c, of which those that are named become clips."""
    talks = tmp_path / "talks"
    talks.mkdir()
    for name in "abc":
        (talks / f"{name}.mp4").write_text(name)

    def run(kept: str, *, content: str = "", settings: Any = None, **request: Any) -> CurateSummary:
        (talks / "a.mp4").write_text(f"a{content}")

        def shard(sources: Any, *_: Any, **__: Any) -> list[SourceOutcome]:
            names = [source.path.name for source in sources]
            made = [
                accepted(workspace, name, ord(name[0])) if name[0] in kept else rejected(name)
                for name in names
            ]
            hashes = {name: file_sha256(talks / name) for name in names}
            return [o.model_copy(update={"sha256": hashes[o.source]}) for o in made]

        kept_here: dict[str, SourceOutcome] = {}
        monkeypatch.setattr(curating, "curate_shard", shard)
        monkeypatch.setattr(
            curating, "keep_outcome", lambda store, key, outcome: kept_here.setdefault(key, outcome)
        )
        for module in (curating, together):
            monkeypatch.setattr(module, "find_outcome", lambda store, key: kept_here.get(key))
        monkeypatch.setattr(curating, "was_measured", lambda store, sha256: False)
        given = {"workspace": str(workspace.root), "source": str(talks), "settings": settings or {}}
        summary = run_flow("curate", given | request)
        assert isinstance(summary, CurateSummary)
        return summary

    return run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the checks of Great Expectations and the warehouse, where a test does not ask about them."""

    def checked(
        clips: Any, decisions: Any, counts: Any, settings: Any, facts: Any, others: Any, drift: Any
    ) -> Any:
        return ContractResult(success=True, num_checks=0, num_failed=0, checks=(), drift=drift)

    monkeypatch.setattr(assemble, "check_contract", checked)
    monkeypatch.setattr("flows.curate.load_if_possible", lambda workspace, **_: None)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("talks", "talks"),
        ("my talks (2)", "my-talks-2"),
        (".hidden", "hidden"),
        ("größe", "gr-e"),
        ("день", "curated"),
    ],
)
def test_a_data_set_is_called_after_its_folder(tmp_path: Path, folder: str, name: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    assert default_name(place) == name
    (place / "manifest.csv").touch()
    assert default_name(place / "manifest.csv") == name
    assert DataSet.of(None, place, (), SETTINGS).identity() == {"name": name}


def test_the_root_has_no_name() -> None:
    assert default_name(Path("/")) == "curated"


@pytest.mark.parametrize("name", ["../up", "", "a b", ".hidden"])
def test_a_name_is_checked_like_others(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"the name of the data set .* cannot be a file name"):
        DataSet.of(name, tmp_path, (), SETTINGS)


def test_two_names_answer_apart_in_sql(curate: Curate, workspace: Workspace) -> None:
    monday = curate("abc", name="monday")
    tuesday = curate("ac", name="tuesday")
    assert monday.run_id != tuesday.run_id
    assert (monday.name, tuesday.name) == ("monday", "tuesday")
    by_name = fetch(
        workspace.warehouse,
        "select name, reason, num_segments from reject_reasons join datasets using (dataset_id) order by all",
    )[1]
    assert by_name == [("tuesday", "sync_confidence_low", 1)]
    assert fetch(workspace.warehouse, "select name, num_clips from datasets order by 1")[1] == [
        ("monday", 3),
        ("tuesday", 2),
    ]
    changed = """
        with named as (select name, d.* from curation_decisions d join datasets using (dataset_id))
        select source_name, a.decision, b.decision, b.reason, b.measured_value, b.threshold
        from (from named where name = 'monday') a full join (from named where name = 'tuesday') b
          using (source_name, segment_start_s, segment_stop_s)
        where a.decision is distinct from b.decision or a.reason is distinct from b.reason"""
    assert fetch(workspace.warehouse, changed)[1] == [
        ("b.mp4", "accepted", "rejected", "sync_confidence_low", 2.5, 3.0)
    ]
    funnel = read_json(tuesday.manifest.with_name("funnel.json"))
    assert funnel["name"] == "tuesday"
    assert "tuesday: curation data docs" in tuesday.data_docs.read_text()
    references = fetch(workspace.warehouse, "select distinct reference_81, identity_from from clips")[1]
    assert references == [("partial", "source")]


def test_a_run_is_compared_with_the_one_before_it_of_its_name(curate: Curate, workspace: Workspace) -> None:
    first = curate("abc")
    assert (first.name, first.drift) == ("talks", [])
    assert first.drift_verdict.startswith("this is the first run of the data set")
    curate("abc", name="other")
    second = curate("a", content="changed")
    assert second.contract_holds
    assert second.drift_verdict == f"2 of 9 comparisons with {first.run_id} are beyond their limits"
    assert [line.split(":")[0] for line in second.drift] == ["clips", "hours"]
    assert "clips: 3 -> 1; relative change 0.667, limit 0.5" in second.drift
    told = read_json(second.manifest.with_name("contract.json"))
    assert told["success"]
    assert told["num_warnings"] == 2
    assert told["drift"]["compared_with"] == first.run_id
    assert len(told["drift"]["rows"]) == 9
    assert first.run_id in second.data_docs.read_text()


@pytest.mark.usefixtures("quick")
def test_a_run_that_comes_again_is_the_one_before_the_next(curate: Curate, workspace: Workspace) -> None:
    first = curate("abc")
    curate("abc", content="2")
    assert curate("abc") == first.model_copy(update={"sources_reused": 3})
    assert curate("abc", content="3").drift_verdict.count(first.run_id) == 1


@pytest.mark.usefixtures("quick")
def test_the_page_follows_what_is_said_beside_the_same_sources(curate: Curate, tmp_path: Path) -> None:
    """Neither a mistake in the side information nor another file changes a source, and the page tells of both."""
    first = curate("abc")
    page = first.manifest.with_name("funnel.json")
    assert (read_json(page)["problems"], read_json(page)["warnings"]) == ([], [])
    table = tmp_path / "talks" / "sources.csv"
    table.write_text("path,split\n,dev\n")
    assert curate("abc").run_id == first.run_id
    (problem,) = read_json(page)["problems"]
    assert problem == "sources.csv, line 2, path: every row needs a 'path'"
    assert "every row needs a" in first.data_docs.read_text()
    table.write_text("path,splitt\n")
    assert curate("abc").run_id == first.run_id
    assert (read_json(page)["problems"], len(read_json(page)["warnings"])) == ([], 1)
    table.unlink()
    (tmp_path / "talks" / "notes.txt").touch()
    assert curate("abc").run_id == first.run_id
    assert read_json(page)["warnings"] == []
    assert read_json(page)["ignored"] == [{"kind": ".txt", "num_files": 1, "example": "notes.txt"}]
    written = page.stat().st_mtime_ns
    assert curate("abc").ignored == "ignored: 1 .txt"
    assert page.stat().st_mtime_ns == written, (
        "a run that changes nothing answers from what the last one left"
    )


def test_latest_is_the_run_that_was_asked_for_last(curate: Curate, workspace: Workspace) -> None:
    """Also where that run was made before and is answered from what it left."""
    latest = workspace.runs / "curate" / "latest"
    monday = curate("abc", name="monday")
    tuesday = curate("abc", name="tuesday")
    assert latest.resolve().name == tuesday.run_id
    assert curate("abc", name="monday").run_id == monday.run_id
    assert latest.resolve().name == monday.run_id


def test_drift_can_fail_and_then_stays_a_failure(curate: Curate, workspace: Workspace) -> None:
    first = curate("abc")
    for _ in range(2):
        with pytest.raises(ContractError) as broken:
            curate("a", content="2", settings={"drift": "fail"})
        assert (broken.value.summary.contract_holds, broken.value.summary.sources_in) == (False, 3)
    again = earlier_run(workspace, "talks", "curate-new")
    assert again is not None
    assert again.run_id == first.run_id
    quiet = curate("a", content="2", settings={"drift": "off"})
    assert (quiet.drift_verdict, quiet.drift) == ("", [])


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_removed_is_not_compared_with(workspace: Workspace, curate: Curate) -> None:
    first = curate("abc")
    remember_run(workspace, "talks", "curate-gone")
    found = earlier_run(workspace, "talks", "curate-new")
    assert found is not None
    assert (found.run_id, len(found.clips), len(found.decisions)) == (first.run_id, 3, 3)
    assert earlier_run(workspace, "talks", first.run_id) is None
    (workspace.state / "datasets" / "talks.json").write_text("no json")
    assert earlier_run(workspace, "talks", "curate-new") is None


@pytest.mark.usefixtures("quick")
def test_another_data_set_is_part_of_the_request_and_of_the_run(curate: Curate, tmp_path: Path) -> None:
    """Its clips have no fingerprints here, so nothing is rejected; ``test_duplicates`` has those that do."""
    first = curate("abc")
    published = first.manifest.rename(first.manifest.with_name("published.parquet"))
    write_fingerprints(tmp_path / "fingerprints.parquet", [clip()], {})
    with pytest.raises(BadInputError, match="lacks clip"):
        curate("abc", against=[str(published)])
    with pytest.raises(BadInputError, match=r"gone/fingerprints\.parquet: there is no such data set"):
        curate("abc", against=[str(tmp_path / "gone" / "fingerprints.parquet")])
    held = curate("abc", against=[str(tmp_path)])
    assert held.run_id != first.run_id
    config = read_json(held.manifest.with_name("config.json"))
    (other,) = config["against"]
    assert (other["path"], len(other["sha256"])) == (str(tmp_path), 1)
    write_fingerprints(tmp_path / "fingerprints.parquet", [clip()], {"ab" * 8: footage(1)})
    assert curate("abc", against=[str(tmp_path)]).run_id != held.run_id
    with pytest.raises(BadInputError, match="near_duplicates is off in the settings"):
        curate("abc", against=[str(tmp_path)], settings={"near_duplicates": "off"})


def test_a_path_is_the_same_however_it_is_written(
    curate: Curate, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workspace, source, weights and another data set: the run is the same one, and a model counts by its content."""
    monkeypatch.setattr("lipforcing_core.curation.backends.require_backends", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    known = clip(clip_id="e" * 16, source="z.mp4", split="train")
    (tmp_path / "other").mkdir()
    write_fingerprints(tmp_path / "other" / "fingerprints.parquet", [known], {known.clip_id: footage(1)})
    (tmp_path / "one.pth").write_bytes(b"weights")
    (tmp_path / "copy.pth").write_bytes(b"weights")
    (tmp_path / "two.pth").write_bytes(b"other weights")

    def run(home: str, weights: str) -> CurateSummary:
        return curate(
            "ab",
            workspace=f"{home}ws",
            source=f"{home}talks",
            settings={"sync_weights": f"{home}{weights}"},
            against=[f"{home}other"],
        )

    absolute = run(f"{tmp_path}/", "one.pth")
    config = read_json(workspace.runs / "curate" / absolute.run_id / "config.json")
    for home in ("", "./", "talks/../"):
        again = run(home, "one.pth")
        assert (again.run_id, again.sources_reused) == (absolute.run_id, 3), home
        assert read_json(workspace.runs / "curate" / again.run_id / "config.json") == config
    assert config["settings"]["sync_weights"] == str(tmp_path / "one.pth")
    assert run("", "copy.pth").run_id == absolute.run_id
    assert run("", "two.pth").run_id != absolute.run_id
