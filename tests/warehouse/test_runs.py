"""``lipforcing runs``: runs are found by name, and their settings, curves and scores held side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError
from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.runs import changed_settings, curves_of, find_runs, list_runs, scores_of

PLACE = {"dataset_id": "held@1", "protocol_id": "p", "backend": "b"}


def write_run(root: Path, run_id: str, hour: int, config: Any, losses: list[float], score: float) -> None:
    row = {
        "flow": run_id.partition("-")[0],
        "status": "completed",
        "preset": "nano",
        "started_at": f"2026-01-02 {hour:02d}:00:00",
        "finished_at": f"2026-01-02 {hour:02d}:01:30",
        "device": "cpu",
        "cpu_seconds": 61.5,
        "config_json": json.dumps(config),
    }
    write_rows(root, "runs", run_id, "run", [row])
    steps = [
        {"stage": "lora", "step": step, "name": "loss", "value": value}
        for step, value in enumerate(losses, start=1)
    ]
    write_rows(root, "training_steps", run_id, "all", list(reversed(steps)))
    scores = [{"system": "student", "metric": "fid", "value": score, "n": 8} | PLACE]
    write_rows(root, "metric_values", run_id, "scores", scores)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "state" / "warehouse"
    first = {"preset": {"lora": {"steps": 4, "rank": 16}}, "seed": 0, "list": [1, 2]}
    second = {"preset": {"lora": {"steps": 9, "rank": 16}}, "seed": 0, "list": [1, 3], "new": None}
    write_run(root / "inbox", "distill-aa", 3, first, [3.0, 1.0, 2.0], 5.0)
    write_run(root / "inbox", "distill-ab", 5, second, [4.0, 0.5], 4.0)
    write_run(root / "inbox", "curate-cc", 4, [], [], 6.0)
    return load(root / "inbox", root / "warehouse.duckdb").path


def invoke(warehouse: Path, *arguments: str) -> str:
    workspace = str(warehouse.parents[2])
    done = CliRunner().invoke(app, ["-w", workspace, "runs", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_are_listed_the_newest_first(warehouse: Path) -> None:
    assert [run.run_id for run in list_runs(warehouse)] == ["distill-ab", "curate-cc", "distill-aa"]
    assert [run.run_id for run in list_runs(warehouse, flow="distill")] == ["distill-ab", "distill-aa"]
    with pytest.raises(BadInputError, match=r"no run of distil in .*did you mean .?distill.*curate, distill"):
        list_runs(warehouse, flow="distil")
    lines = invoke(warehouse, "list", "--limit", "2").splitlines()
    assert lines[2].split() == [
        "distill-ab", "distill", "nano", "2026-01-02", "05:00:00", "0:01:30", "cpu", "0:01:02",
    ]  # fmt: skip
    assert lines[-1] == "and 1 older ones (--limit)"


@pytest.mark.parametrize(
    ("name", "found"), [("latest", "distill-ab"), ("distill-aa", "distill-aa"), ("cur", "curate-cc")]
)
def test_a_run_is_named_by_its_id_or_the_beginning_of_one(warehouse: Path, name: str, found: str) -> None:
    assert [run.run_id for run in find_runs(warehouse, [name])] == [found]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("distill", "may be any of these runs: distill-ab, distill-aa"),
        ("distill-ac", "did you mean 'distill-a"),
        ("", "no run ''"),
    ],
)
def test_a_name_that_fits_none_or_several_is_told(warehouse: Path, name: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        find_runs(warehouse, [name])


def test_only_settings_that_differ_are_told(warehouse: Path) -> None:
    changed = changed_settings(find_runs(warehouse, ["distill-aa", "distill-ab"]))
    assert {change.setting: change.values for change in changed} == {
        "preset.lora.steps": ("4", "9"),
        "list": ("[1, 2]", "[1, 3]"),
        "new": ("-", "null"),
    }
    text = invoke(warehouse, "diff", "distill-aa", "distill-ab")
    assert "preset.lora.steps" in text
    assert "rank" not in text
    assert "no setting differs" in invoke(warehouse, "diff", "latest", "distill-ab")


def test_curves_are_told_by_their_ends_in_the_order_of_steps(warehouse: Path) -> None:
    (curve,) = curves_of(warehouse, find_runs(warehouse, ["distill-aa"]))
    assert (curve.stage, curve.name, curve.steps) == ("lora", "loss", 3)
    assert (curve.first, curve.last, curve.smallest, curve.largest) == (3.0, 2.0, 1.0, 3.0)
    assert curves_of(warehouse, find_runs(warehouse, ["curate-cc"])) == []


def test_curves_and_scores_stand_side_by_side(warehouse: Path) -> None:
    names = ["distill-aa", "curate-cc", "distill-ab"]
    told = json.loads(invoke(warehouse, "compare", *names, "--json"))
    assert told["runs"] == names
    assert told["curves"] == [{"stage": "lora", "name": "loss", "last": [2.0, None, 0.5]}]
    (scores,) = told["scores"]
    assert scores == PLACE | {"system": "student", "metric": "fid", "values": [5.0, 6.0, 4.0]}
    lines = invoke(warehouse, "compare", *names).splitlines()
    assert lines[:3] == ["[1] distill-aa", "[2] curate-cc", "[3] distill-ab"]
    assert any(line.split()[:2] == ["lora", "loss"] for line in lines)


def test_scores_of_other_backends_stand_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "inbox", "distill-aa", 3, {}, [], 5.0)
    other = [{"system": "student", "metric": "fid", "value": 1.0, "n": 8} | PLACE | {"backend": "other"}]
    write_rows(tmp_path / "inbox", "metric_values", "distill-aa", "more", other)
    path = load(tmp_path / "inbox", tmp_path / "warehouse.duckdb").path
    first, second = scores_of(path, find_runs(path, ["latest"]))
    assert first.what != second.what
    assert {first.value, second.value} == {5.0, 1.0}


def test_a_run_is_shown_with_what_it_was_told_and_what_came_of_it(warehouse: Path) -> None:
    text = invoke(warehouse, "show", "distill-aa")
    assert '"rank": 16' in text
    assert "fid" in text
    told = json.loads(invoke(warehouse, "show", "distill-aa", "--json"))
    assert (told["seconds"], told["cpu_seconds"], told["config"]["seed"]) == (90.0, 61.5, 0)


def test_one_run_cannot_be_compared(warehouse: Path) -> None:
    with pytest.raises(BadInputError, match="two runs at least can be compared, and 'latest' is one"):
        invoke(warehouse, "compare", "latest")
