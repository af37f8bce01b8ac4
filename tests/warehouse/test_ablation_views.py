"""The ablation views: printed and own numbers side by side, intervals over repetitions, and which way they differ."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t as student_t

from lipforcing_core.presets.ablations import ABLATIONS
from warehouse.dimensions import metric_rows
from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.query import fetch

VALUES = {
    # Sync-C of every repetition
    "static": [5.0, 5.4, 5.2],
    "no-cfg": [4.0, 4.5, 4.1],
    "windowed": [5.3, 5.2, 5.6],
}
PLACE = {"dataset_id": "d@1", "protocol_id": "p@1"}


def put(inbox: Path, variant: str, repetition: int, value: float, *, grid: str = "g-1", **other: Any) -> None:
    """A finished cell with one score."""
    run = f"{grid}-{variant}-{repetition}"
    place = {"grid": grid, "preset": "nano", "variant": variant, "repetition": repetition}
    row = {"flow": "ablate", "status": "completed", "preset": f"nano-{variant}"}
    write_rows(inbox, "runs", run, "rows", [row | {"config_json": json.dumps({"ablation": place})}])
    system = {"system": "distilled", "label": "Distilled student", "kind": "student"}
    truth = {"system": "truth", "label": "Truth", "kind": "truth"}
    write_rows(inbox, "systems", run, "rows", [system, truth])
    score = {"metric": "sync_c", "backend": "syncnet-nano@1", "n": 8, **PLACE, **other}
    rows = [score | {"system": "distilled", "value": value}, score | {"system": "truth", "value": 9.0}]
    write_rows(inbox, "metric_values", run, "rows", rows)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    root = tmp_path / "inbox"
    write_rows(root, "metrics", "m", "rows", metric_rows())
    for variant, values in VALUES.items():
        for number, value in enumerate(values):
            put(root, variant, number, value)
    plain = {"flow": "demo", "status": "completed"}
    write_rows(root, "runs", "other-1", "rows", [plain | {"config_json": '{"seed": 0}'}])
    write_rows(root, "runs", "other-2", "rows", [plain | {"config_json": "no JSON"}])
    write_rows(root, "runs", "other-3", "rows", [plain])
    return root


def ask(inbox: Path, sql: str) -> list[dict[str, Any]]:
    columns, rows = fetch(load(inbox, inbox.parent / "w.duckdb").path, sql)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_only_cells_of_grids_are_cells(inbox: Path) -> None:
    rows = ask(inbox, "from ablation_runs")
    assert len(rows) == 9
    assert rows[0] == {
        "run_id": "g-1-no-cfg-0",
        "grid": "g-1",
        "base_preset": "nano",
        "variant": "no-cfg",
        "repetition": 0,
        "preset": "nano-no-cfg",
    }


def test_a_score_is_the_mean_of_the_repetitions_with_the_interval_of_students_t(inbox: Path) -> None:
    rows = {row["variant"]: row for row in ask(inbox, "from ablation_scores")}
    assert set(rows) == set(VALUES), "the truth is no variant"
    for variant, values in VALUES.items():
        row = rows[variant]
        half = student_t.ppf(0.975, 2) * statistics.stdev(values) / math.sqrt(3)
        assert row["value"] == pytest.approx(statistics.mean(values))
        assert row["ci_low"] == pytest.approx(statistics.mean(values) - half, abs=1e-5)
        assert row["ci_high"] == pytest.approx(statistics.mean(values) + half, abs=1e-5)
        assert (row["num_repetitions"], row["num_clips"], row["no_interval_because"]) == (3, 8, None)


def test_two_repetitions_have_no_interval_and_say_why(inbox: Path) -> None:
    for number in range(2):
        put(inbox, "reverse", number, 5.0 + number)
    (row,) = ask(inbox, "from ablation_scores where variant = 'reverse'")
    assert (row["value"], row["ci_low"], row["ci_high"]) == (5.5, None, None)
    assert row["no_interval_because"] == "fewer than 3 repetitions"
    (row,) = ask(inbox, "from ablation_contrasts where variant_b = 'reverse' and variant_a = 'windowed' "
                 "and metric = 'Sync-C'")  # fmt: skip
    assert row["verdict"] == "too few repetitions"


def test_printed_and_own_numbers_are_in_columns_of_their_own(inbox: Path) -> None:
    rows = ask(inbox, "from ablation_tables where ablation = 'cfg_schedule' order by position")
    own = [(row["label"], row["published_sync_c"], row["own_sync_c"], row["grid"]) for row in rows]
    assert [(printed, None if mine is None else round(mine, 6), grid) for _, printed, mine, grid in own] == [
        (7.13, 5.2, "g-1"),
        (6.14, 4.2, "g-1"),
        (6.81, 5.366667, "g-1"),
        (6.98, None, None),
    ]
    assert [row["published_fvd"] for row in rows] == [138.32, 120.85, 119.88, 126.62]
    assert {row["own_fvd"] for row in rows} == {None}, "not measured, and never the printed one"
    first = rows[0]
    assert (first["own_repetitions"], first["own_clips"], first["own_preset"]) == (3, 8, "nano")
    assert first["own_backends"] == "Sync-C: syncnet-nano@1"
    assert first["own_sync_c_low"] < first["own_sync_c"] < first["own_sync_c_high"]
    assert first["comparable_with_paper"] is False


def test_every_row_of_every_table_is_there_with_its_four_printed_numbers(tmp_path: Path) -> None:
    rows = ask(tmp_path / "inbox", "from ablation_tables")
    expected = {(a.name, place) for a in ABLATIONS.values() for place in range(1, len(a.rows) + 1)}
    assert {(row["ablation"], row["position"]) for row in rows} == expected
    assert len(rows) == len(expected) == 18
    for row in rows:
        assert None not in [row[f"published_{m}"] for m in ("sync_c", "sync_d", "fvd", "ssim")]
        assert row["grid"] is None
    assert len(ask(tmp_path / "inbox", "from ablation_results")) == 4 * 18


def test_the_variant_of_several_tables_stands_in_all_of_them(inbox: Path) -> None:
    rows = ask(inbox, "from ablation_tables where variant = 'windowed' order by ablation")
    assert [row["ablation"] for row in rows] == ["cfg_schedule", "landing_j1", "reward", "steps"]
    assert len({row["own_sync_c"] for row in rows}) == 1


def test_a_metric_that_could_not_be_measured_keeps_its_printed_number(inbox: Path) -> None:
    rows = ask(
        inbox, "from ablation_results where grid = 'g-1' and variant = 'static' and ablation = 'reward'"
    )
    assert [(r["metric"], r["published_value"], r["own_value"] is None) for r in rows] == [
        ("Sync-C", 7.13, False), ("Sync-D", 7.85, True), ("FVD", 138.32, True), ("SSIM", 0.916, True),
    ]  # fmt: skip


def test_grids_and_backends_are_kept_apart(inbox: Path) -> None:
    put(inbox, "static", 0, 1.0, grid="g-2")
    put(inbox, "static", 1, 2.0, grid="g-3", backend="syncnet-nano@2")
    rows = ask(inbox, "from ablation_scores where variant = 'static' order by grid")
    assert [(r["grid"], r["backend"], round(r["value"], 6)) for r in rows] == [
        ("g-1", "syncnet-nano@1", 5.2),
        ("g-2", "syncnet-nano@1", 1.0),
        ("g-3", "syncnet-nano@2", 2.0),
    ]


def test_two_backends_of_a_metric_fill_two_rows(inbox: Path) -> None:
    rows = [
        {"system": "distilled", "metric": "sync_c", "backend": "syncnet-v2@9", "n": 8, "value": 7.0, **PLACE},
    ]
    write_rows(inbox, "metric_values", "g-1-static-0", "more", rows)
    rows = ask(
        inbox, "from ablation_tables where variant = 'static' and ablation = 'reward' order by backend_set"
    )
    assert [(r["own_sync_c"], r["own_repetitions"]) for r in rows] == [
        (pytest.approx(5.2), 3),
        (7.0, 1),
    ]


def test_differences_are_paired_by_repetition(inbox: Path) -> None:
    sql = "from ablation_contrasts where ablation = 'cfg_schedule' and metric = 'Sync-C' and grid = 'g-1'"
    rows = {(row["variant_a"], row["variant_b"]): row for row in ask(inbox, sql)}
    assert set(rows) == {("static", "no-cfg"), ("static", "windowed"), ("no-cfg", "windowed")}
    row = rows["static", "no-cfg"]
    pairs = [b - a for a, b in zip(VALUES["static"], VALUES["no-cfg"], strict=True)]
    half = student_t.ppf(0.975, 2) * statistics.stdev(pairs) / math.sqrt(3)
    assert row["published_difference"] == pytest.approx(6.14 - 7.13)
    assert row["own_difference"] == pytest.approx(statistics.mean(pairs))
    assert row["own_ci_high"] == pytest.approx(statistics.mean(pairs) + half, abs=1e-5)
    assert row["verdict"] == "same direction"
    assert rows["static", "windowed"]["verdict"] == "not separated"


def test_a_difference_against_the_paper_and_one_that_it_does_not_have(inbox: Path) -> None:
    for number, value in enumerate([6.0, 6.1, 6.05]):
        put(inbox, "landing-37", number, value + 1)
        put(inbox, "one-step", number, value + 1)
    rows = ask(inbox, "from ablation_contrasts where metric = 'Sync-C' and grid = 'g-1' "
               "and (variant_b = 'landing-37' or variant_a = 'one-step')")  # fmt: skip
    verdicts = {(r["variant_a"], r["variant_b"]): (r["published_difference"], r["verdict"]) for r in rows}
    assert verdicts["windowed", "landing-37"] == (pytest.approx(-0.08), "opposite direction")
    assert verdicts["one-step", "windowed"] == (0.0, "no difference published")


def test_pairs_that_were_not_run_say_so(tmp_path: Path) -> None:
    rows = ask(tmp_path / "inbox", "select distinct verdict, own_difference from ablation_contrasts")
    assert rows == [{"verdict": "not measured", "own_difference": None}]


def test_the_quantiles_are_those_of_students_t(tmp_path: Path) -> None:
    rows = ask(tmp_path / "inbox", "from student_t where num_samples in (2, 3, 11, 12, 30, 20000)")
    for row in rows:
        assert row["quantile"] == pytest.approx(student_t.ppf(0.975, row["num_samples"] - 1), abs=2e-4)
    assert len(rows) == 6
