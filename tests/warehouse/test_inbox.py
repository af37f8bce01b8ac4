"""The inbox: exact schemas, clear refusals, equal bytes for equal rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from warehouse.inbox import write_rows
from warehouse.schema import inbox_tables

STEP = {"stage": "teacher", "step": 1, "name": "loss", "value": 0.5}
SCORE = {
    "dataset_id": "d@1",
    "system": "s",
    "metric": "ssim",
    "value": 0.9,
    "n": 3,
    "protocol_id": "p",
    "backend": "b",
}


def test_a_unit_is_one_file_with_the_schema_of_its_table(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "training_steps", "run-1", "unit-a", [STEP])
    assert path == tmp_path / "training_steps" / "run-1" / "unit-a.parquet"
    assert pq.read_schema(path).names == inbox_tables()["training_steps"].arrow_schema.names
    assert pq.read_table(path).to_pylist() == [{"run_id": "run-1", **STEP}]
    assert [item.name for item in path.parent.iterdir()] == ["unit-a.parquet"]


def test_equal_rows_give_equal_bytes_in_any_order_and_form(tmp_path: Path) -> None:
    rows = [{**STEP, "step": step, "value": step / 7} for step in range(50)]
    first = write_rows(tmp_path / "a", "training_steps", "r", "u", rows).read_bytes()
    assert write_rows(tmp_path / "b", "training_steps", "r", "u", rows[::-1]).read_bytes() == first
    frame = pd.DataFrame(rows)
    assert write_rows(tmp_path / "c", "training_steps", "r", "u", frame).read_bytes() == first
    numpy_rows = [{**row, "step": np.int64(row["step"]), "value": np.float64(row["value"])} for row in rows]
    assert write_rows(tmp_path / "d", "training_steps", "r", "u", numpy_rows).read_bytes() == first


def test_dataclasses_and_fill(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Value:
        system: str
        metric: str
        value: float
        n: int

    fill = {"dataset_id": "d@1", "protocol_id": "p", "backend": "b"}
    path = write_rows(
        tmp_path, "metric_values", "r", "u", [Value(system="s", metric="ssim", value=1, n=2)], fill=fill
    )
    (row,) = pq.read_table(path).to_pylist()
    assert row["dataset_id"] == "d@1"
    assert row["run_id"] == "r"
    assert row["clip_id"] is None
    assert row["value"] == 1.0


def test_missing_values_of_a_frame_are_nulls(tmp_path: Path) -> None:
    frame = pd.DataFrame([{**SCORE, "ci_low": np.nan}, {**SCORE, "system": "t", "ci_low": 0.25}])
    path = write_rows(tmp_path, "metric_values", "r", "u", frame)
    assert [row["ci_low"] for row in pq.read_table(path).to_pylist()] == [None, 0.25]


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("steps", STEP, "no table 'steps'"),
        ("published_results", STEP, "no table 'published_results' takes rows"),
        ("training_steps", {**STEP, "colour": 1}, "has no column colour"),
        ("training_steps", {"stage": "x", "step": 1, "name": "loss"}, "column value: a value is required"),
        ("training_steps", {**STEP, "value": float("nan")}, "column value: a value is required"),
        ("training_steps", {**STEP, "value": "0.5"}, "expected double, got '0.5'"),
        ("training_steps", {**STEP, "step": 1.5}, "expected integer, got 1.5"),
        ("training_steps", {**STEP, "step": -1}, "CHECK constraint failed"),
        ("training_steps", {**STEP, "run_id": "other"}, "rows of run other among those of r"),
        ("metric_values", {**SCORE, "n": 0}, "CHECK constraint failed"),
        ("runs", {"flow": "demo", "status": "great"}, "CHECK constraint failed"),
    ],
)
def test_refusals_name_the_table_and_leave_nothing(
    tmp_path: Path, table: str, row: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        write_rows(tmp_path, table, "r", "u", [row])
    assert not list(tmp_path.rglob("*.parquet"))


def test_two_rows_with_one_key_are_refused_nulls_included(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"same key.*clip_id=None"):
        write_rows(tmp_path, "metric_values", "r", "u", [SCORE, {**SCORE, "value": 0.8}])


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_names_cannot_leave_the_inbox(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="cannot be a file name"):
        write_rows(tmp_path, "training_steps", name, "u", [STEP])
    with pytest.raises(BadInputError, match="cannot be a file name"):
        write_rows(tmp_path, "training_steps", "r", name, [STEP])


def test_times_are_stored_in_utc(tmp_path: Path) -> None:
    row = {"flow": "demo", "status": "running", "started_at": "2026-01-02T03:04:05+01:00"}
    path = write_rows(tmp_path, "runs", "r", "run", [row])
    assert pq.read_table(path).to_pylist()[0]["started_at"].isoformat() == "2026-01-02T02:04:05"
