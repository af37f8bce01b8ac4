"""The warehouse on the command line: meanings, whole values, and nothing a terminal would act on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli import main as cli
from lipforcing_core.base.errors import BadInputError
from warehouse.dictionary import described
from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.query import MAX_CELL_WIDTH, fetch, render
from warehouse.schema import relations

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202ebackwards"
SHOWN = r"\x1b]0;owned\x07\x1b[31mred\u009b2J\u202ebackwards"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace whose warehouse holds a name with control characters."""
    inbox = tmp_path / "state" / "warehouse" / "inbox"
    row = {"metric": "m", "label": EVIL, "definition": "a long definition " * 8, "is_wall_clock": False}
    write_rows(inbox, "metrics", "r", "m", [row])
    load(inbox, tmp_path / "state" / "warehouse" / "warehouse.duckdb")
    return tmp_path


def _run(workspace: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["-w", str(workspace), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_control_characters_reach_no_terminal(workspace: Path) -> None:
    question = "select label from metrics"
    for options in ((), ("--full",), ("-f", "markdown")):
        output = _run(workspace, "sql", question, *options)
        assert SHOWN[:40] in output
        assert output.replace("\n", "").isprintable()
    as_json = _run(workspace, "sql", question, "-f", "json")
    assert json.loads(as_json) == [{"label": EVIL}]
    assert as_json.replace("\n", "").isprintable()
    columns, rows = fetch(workspace / "state" / "warehouse" / "warehouse.duckdb", question)
    assert EVIL in render(columns, rows, "csv")
    assert SHOWN in render(columns, rows, "csv", terminal=True)
    assert SHOWN in render([EVIL], [], "table")


def test_long_values_are_cut_aloud_and_shown_whole_on_demand(workspace: Path) -> None:
    question = "select definition, label from metrics"
    short = _run(workspace, "sql", question)
    assert f"(1 row; 2 values are cut to {MAX_CELL_WIDTH} characters, --full shows everything)" in short
    assert "a long definition a long definition a long defi..." not in short
    assert "..." in short
    whole = _run(workspace, "sql", question, "--full")
    assert "a long definition " * 7 in whole
    assert whole.strip().endswith("(1 row)")


@pytest.mark.parametrize(("length", "is_cut"), [(MAX_CELL_WIDTH, False), (MAX_CELL_WIDTH + 1, True)])
def test_the_limit_itself(length: int, is_cut: bool) -> None:
    lines = render(["x"], [("y" * length,)]).splitlines()
    assert len(lines[2]) == MAX_CELL_WIDTH
    assert lines[2].endswith("...") is is_cut
    assert lines[3] == (
        f"(1 row; 1 value is cut to {MAX_CELL_WIDTH} characters, --full shows everything)"
        if is_cut
        else "(1 row)"
    )


def test_describe_gives_every_meaning(workspace: Path) -> None:
    listed = _run(workspace, "warehouse", "describe")
    for name in relations():
        assert name in listed
    for name in ("mos", "ratings"):
        words = " ".join(_run(workspace, "warehouse", "describe", name).split())
        for column in relations()[name].columns:
            assert column.name in words
            assert column.comment.split()[0] in words
    assert "Key: study_id, rater_id" in _run(workspace, "warehouse", "describe", "ratings")
    assert "volatile: differs between equal runs" in " ".join(
        _run(workspace, "warehouse", "describe", "ratings").split()
    )
    with pytest.raises(BadInputError, match=r"did you mean 'leaderboard'\?"):
        described("leaderbord")
    with pytest.raises(BadInputError, match="known: schema_version, inbox_files"):
        described("?")


def test_several_statements_are_refused_and_a_pivot_is_one(workspace: Path) -> None:
    path = workspace / "state" / "warehouse" / "warehouse.duckdb"
    with pytest.raises(BadInputError, match=r"give one statement; there are 2 .* one by one"):
        fetch(path, "select 1; select 2")
    assert fetch(path, "select 1; -- and no more")[1] == [(1,)]


def test_columns_of_one_name_stay_apart_in_json() -> None:
    assert json.loads(render(["a", "a", "a"], [(1, 2, 3)], "json")) == [{"a": 1, "a_1": 2, "a_2": 3}]


@pytest.mark.parametrize("command", ["tables", "digest"])
def test_no_warehouse_is_one_sentence(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lipforcing", "-w", str(tmp_path), "warehouse", command])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == BadInputError.exit_code
    said = capsys.readouterr().err
    assert said.startswith("error: there is no warehouse at ")
    assert len(said.splitlines()) == 1


def test_errors_are_shown_escaped(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["lipforcing", "-w", str(workspace), "sql", f'select "{EVIL}" from runs']
    )
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert r"\x1b" in said
    assert said.replace("\n", "").isprintable()
