"""The inbox: exact schemas, clear refusals, equal bytes for equal rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from warehouse.inbox import VERSION_KEY, read_rows, remove_rows, write_rows
from warehouse.schema import SCHEMA_VERSION, inbox_tables

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
    names = pq.read_schema(path).names
    assert pq.read_table(path).to_pylist() == [dict.fromkeys(names) | {"run_id": "run-1", **STEP}]
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
        (
            "training_steps",
            {**STEP, "taste": 1, "colour": 1},
            r"has no column colour, taste.*; it has \[.*'name', 'run_id'",
        ),
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


def test_a_file_says_its_version_and_nothing_of_its_writer(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "training_steps", "r", "u", [STEP])
    about = pq.read_metadata(path)
    assert about.metadata == {VERSION_KEY: str(SCHEMA_VERSION).encode()}
    assert about.format_version == "2.6"
    assert {about.row_group(0).column(i).compression for i in range(about.num_columns)} == {"ZSTD"}


def test_a_unit_without_rows_is_removed(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "training_steps", "r", "u", [STEP])
    other = write_rows(tmp_path, "training_steps", "r", "v", [STEP])
    for _ in range(2):
        remove_rows(tmp_path, "training_steps", "r", "u")
        assert not path.exists()
        assert other.exists()


def test_names_say_whose_they_are(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"^run id 'a/b' cannot be a file name"):
        write_rows(tmp_path, "training_steps", "a/b", "u", [STEP])
    with pytest.raises(BadInputError, match=r"^unit 'a/b' cannot be a file name"):
        write_rows(tmp_path, "training_steps", "r", "a/b", [STEP])


def test_rows_of_other_runs_are_named(tmp_path: Path) -> None:
    rows = [{**STEP, "run_id": name, "step": step} for step, name in enumerate(("d", "r", "a", "c", "b"))]
    with pytest.raises(BadInputError, match="rows of run a, b, c, d among those of r"):
        write_rows(tmp_path, "training_steps", "r", "u", rows)


@pytest.mark.parametrize(
    ("table", "column", "value", "stored"),
    [
        ("training_steps", "step", 2.0, 2),
        ("training_steps", "step", np.int16(3), 3),
        ("training_steps", "value", 3, 3.0),
        ("training_steps", "value", -0.0, 0.0),
        ("training_steps", "value", -1, -1.0),
        ("training_steps", "value", np.float32(0.5), 0.5),
        ("training_steps", "name", np.str_("x"), "x"),
        ("stage_timings", "reused", np.bool_(True), True),
        ("stage_timings", "reused", False, False),
        ("stage_timings", "started_at", datetime(2026, 1, 2, 3), datetime(2026, 1, 2, 3)),
        ("stage_timings", "started_at", "2026-01-02T03:00:00", datetime(2026, 1, 2, 3)),
        (
            "stage_timings",
            "started_at",
            datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 1, 2, 1),
        ),
        ("stage_timings", "started_at", datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, 3)),
    ],
)
def test_values_are_stored_as_what_they_are(
    table: str, column: str, value: object, stored: object, tmp_path: Path
) -> None:
    row = {"training_steps": STEP, "stage_timings": TIMING}[table] | {column: value}
    (found,) = pq.read_table(write_rows(tmp_path, table, "r", "u", [row])).to_pylist()
    assert found[column] == stored
    assert str(found[column]) == str(stored), "zero has no sign"


TIMING = {"stage": "s", "item": "all", "wall_s": 1.0, "reused": False}


@pytest.mark.parametrize(
    ("table", "column", "value", "kind"),
    [
        ("training_steps", "step", True, "integer"),
        ("training_steps", "step", "1", "integer"),
        ("training_steps", "step", np.float64(1.5), "integer"),
        ("training_steps", "value", True, "double"),
        ("training_steps", "value", "1", "double"),
        ("training_steps", "value", [1.0], "double"),
        ("training_steps", "name", 1, "varchar"),
        ("stage_timings", "reused", 1, "boolean"),
        ("stage_timings", "reused", "true", "boolean"),
        ("stage_timings", "started_at", date(2026, 1, 2), "timestamp"),
        ("stage_timings", "started_at", 1.5, "timestamp"),
        ("stage_timings", "started_at", "yesterday", "timestamp"),
    ],
)
def test_values_of_another_kind_are_refused_with_their_row(
    table: str, column: str, value: object, kind: str, tmp_path: Path
) -> None:
    base = {"training_steps": STEP, "stage_timings": TIMING}[table]
    with pytest.raises(
        BadInputError, match=rf"^table {table}, row 1, column {column}: expected {kind}, got"
    ) as caught:
        write_rows(tmp_path, table, "r", "u", [base, base | {column: value}])
    assert repr(value) in str(caught.value) or isinstance(value, np.generic)


def test_a_fill_is_for_rows_that_lack_the_column(tmp_path: Path) -> None:
    rows = [STEP, {"stage": "other", "step": 2, "name": "loss"}]
    path = write_rows(tmp_path, "training_steps", "r", "u", rows, fill={"value": 9.0, "stage": "x"})
    assert [(row["stage"], row["value"]) for row in pq.read_table(path).to_pylist()] == [
        ("other", 9.0),
        ("teacher", 0.5),
    ]
    with pytest.raises(BadInputError, match="has no column colour"):
        write_rows(tmp_path, "training_steps", "r", "u", [STEP], fill={"colour": 1})


def test_keys_that_occur_twice_are_named_with_their_columns(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"Duplicate key|PRIMARY KEY|UNIQUE|same key"):
        write_rows(tmp_path, "training_steps", "r", "u", [STEP, STEP])
    with pytest.raises(BadInputError, match=r"two rows with the same key \(run_id='r', .*clip_id=None"):
        write_rows(tmp_path, "metric_values", "r", "u", [SCORE, SCORE | {"clip_id": "c"}, SCORE])
    rows = [SCORE | {"clip_id": name} for name in ("a", "b", None)]
    assert pq.read_table(write_rows(tmp_path, "metric_values", "r", "u", rows)).num_rows == 3


def test_every_number_of_a_file_must_be_one(tmp_path: Path) -> None:
    """Nulls are fine; the first bad row is named by the parts of its key that it has."""
    relation = inbox_tables()["metric_values"]
    good = pq.read_table(write_rows(tmp_path, "metric_values", "r", "u", [SCORE, SCORE | {"clip_id": "c"}]))
    assert read_rows(relation, tmp_path / "metric_values/r/u.parquet").num_rows == 2
    index = good.column_names.index("ci_high")
    bad = good.set_column(
        index, good.schema.field(index), pa.array([float("inf"), float("nan")], pa.float64())
    )
    with pq.ParquetWriter(tmp_path / "bad.parquet", bad.schema) as writer:
        writer.write_table(bad)
        writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})
    with pytest.raises(
        BadInputError, match=r"column ci_high holds (inf|nan) .*, in 2 of 2 rows \(first: "
    ) as caught:
        read_rows(relation, tmp_path / "bad.parquet")
    first = good.to_pylist()[0]
    named = ", ".join(f"{name}={first[name]!r}" for name in relation.key if first[name] is not None)
    assert f"(first: {named}); rewrite the file" in str(caught.value)
