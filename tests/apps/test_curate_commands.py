"""``lipforcing curate`` and its subcommands as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli import flow_commands
from apps.cli.main import app
from apps.cli.show import show_curation
from flows.request_models import CurateRequest
from flows.summaries import CurateSummary
from lipforcing_core.base.errors import BadInputError
from tasks.curating import ContractError
from tests.curation.runs import SETTINGS, piece, write_run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two runs: in the newer one a clip was lost to a lower limit of the offset."""
    runs = tmp_path / "runs" / "curate"
    write_run(runs / "curate-aa", [piece("a.mp4", 1)], settings=SETTINGS)
    late = piece("a.mp4", 1, reason="av_offset_too_large", measured=3.0, threshold=2.0)
    changed = SETTINGS | {"max_abs_offset_frames": 2}
    write_run(runs / "curate-bb", [late], settings=changed, ended="2026-01-03 10:00:00")
    (runs / "latest").symlink_to("curate-bb")
    return tmp_path


def invoke(workspace: Path, *words: object) -> str:
    done = CliRunner().invoke(app, ["-w", str(workspace), "curate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_explain(workspace: Path) -> None:
    assert "rejected as av_offset_too_large" in invoke(workspace, "explain", "a.mp4")
    assert "piece 1, 0.00 to 5.00 s: accepted" in invoke(workspace, "explain", "a.mp4", "--run", "curate-aa")
    page = workspace / "page.html"
    assert str(page) in invoke(workspace, "explain", "a.mp4", "--html", page)
    assert page.is_file()


def test_diff_in_any_order(workspace: Path) -> None:
    text = invoke(workspace, "diff", "latest", "curate-aa")
    assert text == invoke(workspace, "diff", "curate-aa", "latest")
    assert "its limit went from 6 to 2" in text
    told = json.loads(invoke(workspace, "diff", "aa", "bb", "--json"))
    assert (told["older"], told["newer"], told["changes"][0]["kind"]) == ("curate-aa", "curate-bb", "lost")


def test_an_unknown_name_has_a_suggestion(workspace: Path) -> None:
    with pytest.raises(BadInputError, match=r"did you mean 'a\.mp4'"):
        invoke(workspace, "explain", "b.mp4")
    with pytest.raises(BadInputError, match="did you mean 'curate-aa'"):
        invoke(workspace, "diff", "latest", "curate-a1")


@pytest.mark.parametrize(
    "words",
    [
        ["talks", "--min-seconds", "3"],
        ["--min-seconds", "3", "talks"],
        ["./explain", "--min-seconds", "3"],
        ["--min-seconds", "3", "--", "diff"],
    ],
)
def test_a_source_is_curated_as_before(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "apps.cli.flow_commands.run_command", lambda context, flow, values: asked.append(values)
    )
    monkeypatch.setattr("apps.cli.show.show", lambda summary: None)
    invoke(tmp_path, *words)
    (values,) = asked
    assert str(Path(values["source"])) in ("talks", "explain", "diff")
    assert values["settings"] == {"min_segment_s": 3.0}


def test_the_name_and_other_data_sets_reach_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "apps.cli.flow_commands.run_command", lambda context, flow, values: asked.append(values)
    )
    monkeypatch.setattr("apps.cli.show.show", lambda summary: None)
    invoke(tmp_path, "talks", "--name", "monday", "--against", "a.parquet", "--against", "export")
    invoke(tmp_path, "talks")
    requests = [CurateRequest.model_validate(values) for values in asked]
    assert [(r.name, r.against) for r in requests] == [
        ("monday", (Path("a.parquet"), Path("export"))),
        (None, ()),
    ]


def curate_summary(**changes: Any) -> CurateSummary:
    """Of a run with one source, which became one clip."""
    values: dict[str, Any] = {
        "run_id": "curate-bb",
        "manifest": Path("m"),
        "data_docs": Path("d.html"),
        "sources_in": 1,
        "sources_accepted": 1,
        "sources_rejected": 0,
        "sources_quarantined": 0,
        "sources_reused": 0,
        "clips": 1,
        "seconds_accepted": 5.0,
        "reasons": [],
        "contract_holds": True,
        "num_checks": 60,
    }
    return CurateSummary(**values | changes)


def test_a_broken_contract_hides_nothing_of_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = curate_summary(
        sources_in=2,
        sources_rejected=1,
        contract_holds=False,
        problems=["sources.csv line 3: column licence: unknown"],
    )
    broken = ContractError("the manifest breaks its contract: 1 of 60 checks fails")
    broken.summary = summary

    def run_command(*_: object) -> CurateSummary:
        raise broken

    monkeypatch.setattr(flow_commands, "run_command", run_command)
    done = CliRunner().invoke(app, ["-w", str(tmp_path), "curate", str(tmp_path)])
    assert done.exception is broken
    assert "sources.csv line 3: column licence: unknown" in done.stdout
    assert "contract is BROKEN (60 checks): d.html" in done.stdout


def test_drift_is_told_beside_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    summary = curate_summary(
        name="talks",
        drift_verdict="1 of 9 comparisons with curate-aa is beyond its limit",
        drift=["clips: 9 -> 1; relative change 0.889, limit 0.5"],
    )
    show_curation(summary)
    told = "".join(capsys.readouterr())
    assert "clips: 9 -> 1; relative change 0.889, limit 0.5" in told
    assert "data set talks: 1 of 9 comparisons with curate-aa is beyond its limit" in told
    assert "contract holds (60 checks): d.html" in told
    show_curation(summary.model_copy(update={"drift_verdict": "", "drift": []}))
    assert "data set" not in "".join(capsys.readouterr())


def test_the_help_shows_all_three() -> None:
    text = CliRunner().invoke(app, ["curate", "--help"]).output
    for words in ("source", "--min-seconds", "explain", "diff", "lipforcing curate explain", "./explain"):
        assert words in text
    usage = CliRunner().invoke(app, ["curate", "explain", "--help"]).output
    assert "curate explain [OPTIONS]" in usage
