"""Schema and dictionary, published numbers, views, and questions in SQL."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.metrics.protocol import gt_box_aligned
from warehouse.dictionary import data_dictionary, write_data_dictionary
from warehouse.dimensions import metric_rows, protocol_row
from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.query import fetch, render
from warehouse.schema import SQL_FOLDER, inbox_tables, relations


def _dicts(path: Path, sql: str) -> list[dict]:
    columns, rows = fetch(path, sql)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_every_relation_and_table_column_is_described() -> None:
    for relation in relations().values():
        assert relation.comment, relation.name
        assert not relation.is_view or "Grain" in relation.comment, relation.name
        if not relation.is_view:
            assert all(column.comment for column in relation.columns), relation.name
    for name, relation in inbox_tables().items():
        assert relation.key, name


def test_sql_files_are_numbered_and_in_lower_case() -> None:
    for path in SQL_FOLDER.glob("*.sql"):
        assert path.name[:3].isdigit()
        text = path.read_text()
        assert text.isascii()
        for keyword in ("SELECT", "CREATE", "FROM ", "COMMENT ON"):
            assert keyword not in text, path.name


def test_the_dictionary_names_everything(tmp_path: Path) -> None:
    write_data_dictionary(tmp_path / "dictionary.md")
    text = (tmp_path / "dictionary.md").read_text()
    assert text == data_dictionary()
    assert "[volatile]" not in text
    for relation in relations().values():
        assert f"### {relation.name}\n" in text
        assert all(f"| {column.name} |" in text for column in relation.columns)


def test_the_dictionary_lists_every_reason_code() -> None:
    (column,) = (c for c in relations()["curation_decisions"].columns if c.name == "reason")
    assert set(RejectReason) <= set(re.findall(r"\w+", column.comment))


def test_published_rows_are_all_there(snapshot: Path) -> None:
    with open(SQL_FOLDER.parent / "data" / "published_results.csv", newline="") as stream:
        expected = Counter(row["table"] for row in csv.DictReader(stream))
    rows = _dicts(snapshot, "select paper_table, count(*) as num from published_results group by 1")
    assert {row["paper_table"]: row["num"] for row in rows} == expected
    assert sum(expected.values()) == 288
    ttff = _dicts(snapshot, "from published_results where metric = 'TTFF'")
    assert {(row["unit_printed"], row["unit_corrected"]) for row in ttff} == {("ms", "s")}
    directions = dict(fetch(snapshot, "select distinct metric, higher_is_better from published_results")[1])
    assert {name for name, higher in directions.items() if higher is False} == {
        "FID",
        "FVD",
        "Sync-D",
        "TTFF",
    }
    assert directions["Sync-C"] is True
    assert directions["compute"] is None


def test_ttff_in_seconds_is_a_whole_clip_or_a_first_chunk(snapshot: Path) -> None:
    rows = _dicts(snapshot, "from paper_main_hdtf where origin = 'published' and fps is not null")
    frames = {(row["method"], row["variant"]): row["fps"] * row["ttff_s"] for row in rows}
    assert len(frames) == 11
    for system in (("OmniAvatar-LS", "14B"), ("OmniAvatar-LS", "1.3B"), ("Wav2Lip", None)):
        assert frames[system] == pytest.approx(81, abs=1)
    for system in (("Lip Forcing", "1.3B"), ("Lip Forcing", "14B"), ("Self Forcing", "1.3B")):
        assert 8 < frames[system] < 11


def test_the_main_table_has_the_papers_rows_and_ours_flagged(snapshot: Path) -> None:
    rows = _dicts(snapshot, "from paper_main_hdtf")
    published = [row for row in rows if row["origin"] == "published"]
    measured = {row["method"]: row for row in rows if row["origin"] == "measured"}
    assert len(published) == 12
    ours = next(row for row in published if (row["method"], row["variant"]) == ("Lip Forcing", "14B"))
    assert (ours["fps"], ours["ttff_s"], ours["fvd"], ours["ssim"]) == (15.11, 0.54, 107.88, 0.938)
    assert len(measured) == 5
    assert measured["Distilled student"]["sync_c"] == 5.0
    assert measured["Distilled student"]["fvd"] is None
    assert not any(row["comparable_with_paper"] for row in measured.values())
    assert "Sync-C: syncnet-nano-v1@" in measured["Distilled student"]["backends"]


def test_backends_never_share_a_comparison(inbox: Path, tmp_path: Path) -> None:
    place = {"dataset_id": "puppets-heldout@3f2a", "protocol_id": "aligned-512@a1b2", "backend": "other@1"}
    for system, value in (("distilled", 9.0), ("teacher", 8.0)):
        row = {"system": system, "metric": "sync_c", "value": value, "n": 12}
        write_rows(inbox, "metric_values", "demo-0001", f"other-{system}", [row], fill=place)
    path = load(inbox, tmp_path / "w.duckdb").path
    places = _dicts(path, "from leaderboard where metric = 'sync_c' and place = 1")
    assert {(row["backend"][:5], row["system"]) for row in places} == {
        ("other", "distilled"),
        ("syncn", "teacher"),
    }
    rows = _dicts(path, "from paper_main_hdtf where method = 'Distilled student' order by backend_set")
    assert [row["sync_c"] for row in rows] == [9.0, 5.0]
    columns = _dicts(path, "select distinct backend_set, sync_c is null as empty from paper_main_hdtf")
    assert len([row for row in columns if row["backend_set"] is not None]) >= 2
    frontier = _dicts(path, "from pareto where origin = 'measured' and quality_metric = 'sync_c'")
    assert Counter(row["quality_backend"][:5] for row in frontier) == {"other": 2, "syncn": 3}


def test_leaderboard_ranks_systems_and_only_shows_controls(snapshot: Path) -> None:
    rows = _dicts(snapshot, "from leaderboard where metric = 'fid'")
    assert [(row["system"], row["place"]) for row in rows if row["place"]] == [
        ("teacher", 1),
        ("pretrained", 2),
        ("distilled", 3),
    ]
    assert {row["system"] for row in rows if not row["place"]} == {"source", "distilled_unrelated"}
    assert rows[1]["separated_from_best"] is True
    assert rows[2]["separated_from_best"] is None


def test_pareto_of_the_published_table(snapshot: Path) -> None:
    rows = _dicts(
        snapshot,
        "from pareto where origin = 'published' and quality_metric = 'FVD' and on_frontier order by fps",
    )
    assert [row["label"] for row in rows] == ["Lip Forcing 14B", "Lip Forcing 1.3B", "Wav2Lip"]


def test_funnel_reasons_and_effects_add_up(snapshot: Path) -> None:
    funnel = _dicts(snapshot, "from curation_funnel")
    assert [row["num_lost"] for row in funnel] == [1, 1, 1, 1, 0, 1]
    assert funnel[-1]["share_of_first_seconds"] == pytest.approx(0.8)
    reasons = _dicts(snapshot, "from reject_reasons")
    assert sum(row["num_segments"] for row in reasons) == 5
    assert sum(row["share_of_losses"] for row in reasons) == pytest.approx(1)
    effects = {
        (row["system_a"], row["system_b"], row["metric"]): row["verdict"]
        for row in _dicts(snapshot, "from stage_effects")
    }
    assert effects["distilled", "source", "sync_c"] == "better"
    assert effects["distilled", "source", "sync_d"] == "better"
    assert effects["distilled", "pretrained", "fid"] == "worse"
    assert effects["distilled", "distilled_unrelated", "ssim"] == "not separated"


def test_training_curves_are_smoothed_over_twenty_steps(snapshot: Path) -> None:
    rows = _dicts(snapshot, "from training_curves where stage = 'teacher' and name = 'loss'")
    assert rows[0]["smoothed"] == rows[0]["value"]
    assert rows[99]["smoothed"] == pytest.approx(sum(row["value"] for row in rows[80:100]) / 20)


def test_runs_are_compared_where_everything_else_agrees(inbox: Path, tmp_path: Path, fill) -> None:
    fill(inbox, "demo-0002", shift=0.5)
    path = load(inbox, tmp_path / "w.duckdb").path
    rows = {(row["system"], row["metric"]): row for row in _dicts(path, "from run_comparison")}
    assert len(rows) == 31
    assert rows["teacher", "sync_c"]["change"] == pytest.approx(0.5)
    assert rows["teacher", "sync_c"]["improved"] is True
    assert rows["teacher", "sync_d"]["improved"] is False
    assert rows["teacher", "fps"]["improved"] is None


def test_library_dimensions_fit_their_tables(tmp_path: Path) -> None:
    write_rows(tmp_path / "inbox", "metrics", "r", "registry", metric_rows())
    protocol = gt_box_aligned(detector_id="lbp")
    write_rows(tmp_path / "inbox", "protocols", "r", "house", [protocol_row(protocol)])
    path = load(tmp_path / "inbox", tmp_path / "w.duckdb").path
    names = {
        row[0]
        for row in fetch(path, "select published_name from metrics where published_name is not null")[1]
    }
    assert names == {"FPS", "TTFF", "Sync-C", "Sync-D", "CSIM", "FID", "FVD", "SSIM"}
    assert fetch(path, "select protocol_id from protocols")[1] == [(protocol.id,)]


def test_a_question_gives_names_and_rows(snapshot: Path) -> None:
    columns, rows = fetch(
        snapshot, "select metric, value from metric_values where clip_id is null and system = 'source'"
    )
    assert columns == ["metric", "value"]
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select nope from runs", "nope"),
        ("from nowhere", "nowhere does not exist"),
        ("drop table runs", "read-only"),
        ("insert into runs (run_id, flow, status) values ('x', 'y', 'failed')", "read-only"),
        ("from read_csv('/etc/hostname')", "file system operations are disabled"),
        ("copy runs to 'out.csv'", "file system operations are disabled"),
        ("attach 'other.duckdb'", "file system operations are disabled"),
        ("set enable_external_access = true", "Cannot enable external access"),
        ("", "give one statement"),
    ],
)
def test_bad_statements_are_explained(snapshot: Path, sql: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        fetch(snapshot, sql)


def test_no_warehouse_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"no warehouse at .*none\.duckdb; `lipforcing warehouse rebuild`"
    ):
        fetch(tmp_path / "none.duckdb", "select 1")
    assert not list(tmp_path.iterdir())


def test_rendering() -> None:
    columns = ["name", "value"]
    rows = [("a,b", 0.123456789), ("long " * 20, None)]
    table = render(columns, rows)
    assert table.splitlines()[0].split() == columns
    assert "0.123457" in table
    *lines, counted = table.splitlines()
    assert max(map(len, lines)) < 65
    assert counted == "(2 rows; 1 value is cut to 48 characters, --full shows everything)"
    assert render(columns, rows, full=True).endswith("(2 rows)\n")
    assert render(columns, rows, "csv").splitlines()[1] == '"a,b",0.123456789'
    assert json.loads(render(columns, rows, "json"))[1]["value"] is None
    assert render(columns, [("a|b", 1)], "markdown") == "| name | value |\n| --- | --- |\n| a\\|b | 1 |\n"
    assert "(0 rows)" in render(columns, [])
    assert render(["x"], [(-0.0,)]).splitlines()[2] == "0"
