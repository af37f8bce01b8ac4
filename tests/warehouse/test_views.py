"""Views against plain definitions and numbers worked out by hand."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student_t

from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.query import fetch
from warehouse.schema import relations

PLACE = {"dataset_id": "d@1", "protocol_id": "p@1"}


def _dicts(path: Path, sql: str) -> list[dict]:
    columns, rows = fetch(path, sql)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_every_column_of_every_table_and_view_has_a_meaning() -> None:
    silent = [f"{r.name}.{c.name}" for r in relations().values() for c in r.columns if len(c.comment) < 8]
    assert not silent


def _metrics(inbox: Path) -> None:
    rows = [
        ("fps", True, "FPS", True),
        ("ssim", True, "SSIM", False),
        ("fid", False, "FID", False),
        ("hue", None, None, False),
    ]
    write_rows(
        inbox,
        "metrics",
        "r",
        "m",
        [
            {
                "metric": m,
                "label": m.upper(),
                "definition": m,
                "higher_is_better": h,
                "published_name": p,
                "is_wall_clock": w,
            }
            for m, h, p, w in rows
        ],
    )


def test_the_frontier_is_that_of_all_pairs(tmp_path: Path) -> None:
    inbox, draw = tmp_path / "inbox", np.random.default_rng(5)
    _metrics(inbox)
    for run in ("run-1", "run-2", "run-3"):
        names = [f"s{i}" for i in range(12)]
        kinds = ["control", "truth", *["student"] * 10]
        write_rows(
            inbox,
            "systems",
            run,
            "s",
            [{"system": n, "label": n.upper(), "kind": k} for n, k in zip(names, kinds, strict=True)],
        )
        values = [
            {
                **PLACE,
                "system": name,
                "metric": metric,
                "value": float(draw.integers(1, 6)),
                "n": 3,
                "backend": backend,
            }
            for name in names
            for metric, backend in (
                ("fps", "clock"),
                ("ssim", "b1"),
                ("ssim", "b2"),
                ("fid", "b1"),
                ("hue", "b1"),
            )
        ]
        write_rows(inbox, "metric_values", run, "v", values)
    path = load(inbox, tmp_path / "w.duckdb").path
    plain = (Path(__file__).parent / "plain_pareto.sql").read_text()
    rows = fetch(path, "from pareto order by all")[1]
    assert rows == fetch(path, plain)[1]
    measured = _dicts(path, "from pareto where origin = 'measured'")
    assert len(measured) == 3 * 10 * 3
    assert 0 < sum(row["on_frontier"] for row in measured) < len(measured)
    assert {row["quality_metric"] for row in measured} == {"ssim", "fid"}


def _ratings() -> list[dict[str, object]]:
    scores = {"ann": (5, 4, 5), "bob": (3, 3), "eve": (4, 2, 3, 3), "tom": (1, 2)}
    common = {
        "study_id": "study-1",
        "question": "sync",
        "presentation": 0,
        "scale_min": 1.0,
        "scale_max": 5.0,
    }
    return [
        {**common, "rater_id": rater, "clip_id": f"c{i}", "system": "ours", "score": float(score)}
        for rater, given in scores.items()
        for i, score in enumerate(given)
    ]


def test_mean_opinion_scores_count_people(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    rows = _ratings()
    extra = {**rows[0], "clip_id": "check", "score": 1.0}
    rows.append({**extra, "is_check": True})
    rows.append({**extra, "rater_id": "bot", "passed_checks": False})
    rows.append(
        {
            **rows[0],
            "clip_id": "c9",
            "question": "quality",
            "score": 2.0,
            "is_check": False,
            "passed_checks": True,
        }
    )
    rows.append({**rows[0], "clip_id": "c9", "scale_max": 100.0, "score": 80.0})
    write_rows(inbox, "ratings", "study-run", "rows", rows)
    found = _dicts(
        load(inbox, tmp_path / "w.duckdb").path, "from mos where question = 'sync' and scale_max = 5"
    )
    means = [14 / 3, 3.0, 3.0, 1.5]
    (row,) = found
    half = student_t.ppf(0.975, 3) * statistics.stdev(means) / 2
    assert row["mos"] == pytest.approx(statistics.mean(means))
    assert row["ci_low"] == pytest.approx(statistics.mean(means) - half, abs=1e-5)
    assert row["ci_high"] == pytest.approx(statistics.mean(means) + half, abs=1e-5)
    assert row["sd_between_raters"] == pytest.approx(statistics.stdev(means))
    assert (row["num_raters"], row["num_clips"], row["num_ratings"]) == (4, 4, 11)
    others = _dicts(
        tmp_path / "w.duckdb", "from mos where question <> 'sync' or scale_max <> 5 order by question"
    )
    assert [(r["question"], r["mos"], r["num_raters"], r["ci_low"], r["ci_high"]) for r in others] == [
        ("quality", 2.0, 1, None, None),
        ("sync", 80.0, 1, None, None),
    ]


def test_the_interval_is_students_for_any_number_of_people(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    sizes = (2, 3, 5, 10, 11, 12, 13, 20, 40, 200)
    base = {**_ratings()[0], "clip_id": "c"}
    rows = [
        {**base, "system": f"n{size}", "rater_id": f"r{i}", "score": 1.0 + i % 5}
        for size in sizes
        for i in range(size)
    ]
    write_rows(inbox, "ratings", "r", "rows", rows)
    found = {row["system"]: row for row in _dicts(load(inbox, tmp_path / "w.duckdb").path, "from mos")}
    for size in sizes:
        scores = [1.0 + i % 5 for i in range(size)]
        half = student_t.ppf(0.975, size - 1) * statistics.stdev(scores) / size**0.5
        row = found[f"n{size}"]
        assert (row["ci_high"] - row["ci_low"]) / 2 == pytest.approx(half, rel=1e-4)


def test_ratings_off_the_scale_are_refused_and_a_study_read_again_replaces_its_rows(tmp_path: Path) -> None:
    from lipforcing_core.base.errors import BadInputError

    for score in (0.5, 5.5):
        with pytest.raises(BadInputError, match="CHECK constraint"):
            write_rows(tmp_path / "inbox", "ratings", "r", "rows", [{**_ratings()[0], "score": score}])
    for run, score in (("import-1", 2.0), ("import-2", 4.0)):
        write_rows(tmp_path / "inbox", "ratings", run, "rows", [{**_ratings()[0], "score": score}])
    path = load(tmp_path / "inbox", tmp_path / "w.duckdb").path
    assert fetch(path, "select mos, num_ratings from mos")[1] == [(4.0, 1)]


def test_places_ties_and_directions_of_the_leaderboard(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    _metrics(inbox)
    kinds = {"a": "student", "b": "student", "c": "peer", "d": "control", "e": "truth"}
    write_rows(inbox, "systems", "r", "s", [{"system": s, "label": s, "kind": k} for s, k in kinds.items()])
    scores = {
        "ssim": (0.9, 0.8, 0.9, 1.0, 1.0),
        "fid": (9.0, 8.0, 7.0, 0.0, 0.0),
        "hue": (1.0, 2.0, 3.0, 4.0, 5.0),
    }
    write_rows(
        inbox,
        "metric_values",
        "r",
        "v",
        [
            {**PLACE, "system": s, "metric": m, "value": v, "n": 3, "backend": "b", "clip_id": clip}
            for m, values in scores.items()
            for s, v in zip(kinds, values, strict=True)
            for clip in (None, "clip-1")
        ],
    )
    difference = {**PLACE, "metric": "fid", "backend": "b", "n": 3, "difference": 2.0}
    write_rows(
        inbox,
        "paired_differences",
        "r",
        "d",
        [
            {**difference, "system_a": "a", "system_b": "c", "ci_low": 0.5, "ci_high": 3.0},
            {**difference, "system_a": "c", "system_b": "b", "ci_low": -3.0, "ci_high": 0.5},
            {**difference, "system_a": "a", "system_b": "b", "ci_low": 1.0, "ci_high": 2.0},
        ],
    )
    path = load(inbox, tmp_path / "w.duckdb").path
    rows = _dicts(path, "from leaderboard")
    assert {(r["metric"], r["system"]): r["place"] for r in rows} == {
        ("ssim", "a"): 1,
        ("ssim", "c"): 1,
        ("ssim", "b"): 3,
        ("ssim", "d"): None,
        ("ssim", "e"): None,
        ("fid", "c"): 1,
        ("fid", "b"): 2,
        ("fid", "a"): 3,
        ("fid", "d"): None,
        ("fid", "e"): None,
    }
    assert [r["system"] for r in rows if r["metric"] == "fid"] == ["c", "b", "a", "d", "e"]
    apart = {r["system"]: r["separated_from_best"] for r in rows if r["metric"] == "fid"}
    assert apart == {"a": True, "b": False, "c": None, "d": None, "e": None}
    assert {r["separated_from_best"] for r in rows if r["metric"] == "ssim"} == {None}
    assert len(_dicts(path, "from set_scores")) == 15


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    _metrics(inbox)
    values = {
        "r1": {"ssim": (0.8, 0.75, 0.85), "fid": (9.0, 8.0, 10.0)},
        "r2": {"ssim": (0.9, 0.86, 0.95), "fid": (9.0, 8.5, 9.5)},
    }
    values["r3"] = {"ssim": (0.7, None, None), "fid": (8.0, 7.0, 8.4), "hue": (1.0, 0.0, 2.0)}
    for run, scores in values.items():
        write_rows(
            inbox,
            "metric_values",
            run,
            "v",
            [
                {
                    **PLACE,
                    "system": "s",
                    "metric": m,
                    "value": v,
                    "ci_low": low,
                    "ci_high": high,
                    "n": 3,
                    "backend": "b",
                }
                for m, (v, low, high) in scores.items()
            ],
        )
    write_rows(
        inbox,
        "metric_values",
        "r4",
        "v",
        [{**PLACE, "system": "s", "metric": "ssim", "value": 1.0, "n": 1, "backend": "B"}],
    )
    path = load(inbox, tmp_path / "w.duckdb").path
    found = {(r["run_a"], r["run_b"], r["metric"]): r for r in _dicts(path, "from run_comparison")}
    assert set(found) == {
        (a, b, m) for a, b in itertools.combinations(("r1", "r2", "r3"), 2) for m in ("ssim", "fid")
    }
    words = {key: (r["intervals_apart"], r["improved"]) for key, r in found.items()}
    assert words == {
        ("r1", "r2", "ssim"): (True, True),
        ("r1", "r2", "fid"): (False, None),
        ("r1", "r3", "ssim"): (None, False),
        ("r1", "r3", "fid"): (False, True),
        ("r2", "r3", "ssim"): (None, False),
        ("r2", "r3", "fid"): (True, True),
    }
    assert found["r1", "r2", "ssim"]["change"] == pytest.approx(0.1)


def test_the_cost_of_runs_in_hours(tmp_path: Path) -> None:
    run = {"flow": "train_teacher", "status": "completed", "device": "NVIDIA H200", "device_count": 4}
    times = {"started_at": "2026-01-01T00:00:00", "finished_at": "2026-01-01T02:30:00"}
    write_rows(
        tmp_path / "inbox",
        "runs",
        "r1",
        "u",
        [{**run, **times, "gpu_seconds": 36000.0, "cpu_seconds": 1800.0}],
    )
    write_rows(
        tmp_path / "inbox",
        "runs",
        "r0",
        "u",
        [{"flow": "demo", "status": "running", "started_at": "2025-01-01"}],
    )
    path = load(tmp_path / "inbox", tmp_path / "w.duckdb").path
    rows = _dicts(path, "select run_id, wall_hours, cpu_hours, gpu_hours, device_count from compute_cost")
    assert [tuple(row.values()) for row in rows] == [
        ("r0", None, None, None, None),
        ("r1", 2.5, 0.5, 10.0, 4),
    ]


def test_funnel_and_reasons_by_hand(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    stages = [
        ("decode", 10, 8, 100.0, 80.0),
        ("face", 8, 4, 80.0, 40.0),
        ("sync", 4, 0, 40.0, 0.0),
        ("quality", 0, 0, 0.0, 0.0),
    ]
    write_rows(
        inbox,
        "funnel",
        "r",
        "f",
        [
            {
                "dataset_id": "d",
                "stage": s,
                "position": i,
                "unit": "segments",
                "num_in": a,
                "num_out": b,
                "seconds_in": c,
                "seconds_out": e,
            }
            for i, (s, a, b, c, e) in enumerate(stages)
        ],
    )
    decision = {
        "dataset_id": "d",
        "stage": "face",
        "decision": "rejected",
        "reason": "no_face",
        "threshold": 0.9,
    }
    measured = [("one", "one.mp4", 0.25, 4.0), ("one", "copy.mp4", 0.5, 2.0), ("two", "two.mp4", None, None)]
    write_rows(
        inbox,
        "curation_decisions",
        "r",
        "c",
        [
            {**decision, "source_id": i, "source_name": n, "measured_value": m, "seconds": s}
            for i, n, m, s in measured
        ]
        + [
            {
                **decision,
                "source_id": "x",
                "source_name": "x",
                "decision": "quarantined",
                "reason": "truncated",
                "stage": "decode",
            },
            {
                **decision,
                "source_id": "y",
                "source_name": "y",
                "decision": "accepted",
                "reason": None,
                "stage": "all",
            },
        ],
    )
    path = load(inbox, tmp_path / "w.duckdb").path
    funnel = _dicts(path, "from curation_funnel")
    assert [r["stage"] for r in funnel] == ["decode", "face", "sync", "quality"]
    assert [r["num_lost"] for r in funnel] == [2, 4, 4, 0]
    assert [r["share_kept"] for r in funnel] == [0.8, 0.5, 0.0, None]
    assert [r["share_of_first_seconds"] for r in funnel] == [0.8, 0.4, 0.0, 0.0]
    first, second = _dicts(path, "from reject_reasons")
    assert (first["reason"], first["num_segments"], first["num_sources"], first["seconds"]) == (
        "no_face",
        3,
        3,
        6.0,
    )
    assert (first["share_of_losses"], first["lowest_measured"], first["highest_measured"]) == (
        0.75,
        0.25,
        0.5,
    )
    assert (second["reason"], second["share_of_losses"]) == ("truncated", 0.25)
