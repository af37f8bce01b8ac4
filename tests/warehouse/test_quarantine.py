"""What is no number, no UTF-8 or not readable: left out by name, never lost, and never in the way of the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from warehouse.inbox import write_rows
from warehouse.loader import load
from warehouse.query import fetch

SCORE = {"dataset_id": "d", "system": "s", "metric": "ssim", "n": 3, "protocol_id": "p", "backend": "b"}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("value", float("nan"), "column value holds nan"),
        ("value", float("inf"), "column value holds inf"),
        ("value", float("-inf"), "column value holds -inf"),
        ("ci_low", float("nan"), "column ci_low holds nan"),
        ("ci_high", float("inf"), "column ci_high holds inf"),
    ],
)
def test_values_that_are_no_numbers(tmp_path: Path, column: str, value: float, said: str) -> None:
    inbox = tmp_path / "inbox"
    good = write_rows(inbox, "metric_values", "r", "good", [{**SCORE, "value": 0.5}])
    rows = [{**SCORE, "value": 0.5, "metric": name} for name in ("fid", "fvd", "psnr")]
    bad = write_rows(inbox, "metric_values", "r", "bad", rows)
    table = pq.read_table(bad)
    changed = table[column].to_pylist()
    changed[1] = value
    index = table.schema.get_field_index(column)
    pq.write_table(table.set_column(index, column, pa.array(changed, pa.float64())), bad)
    result = load(inbox, tmp_path / "w.duckdb")
    (left_out,) = result.quarantined
    assert left_out.path == "metric_values/r/bad.parquet"
    assert said in left_out.problem
    assert "in 1 of 3 rows (first: run_id='r'" in left_out.problem
    assert "metric='fvd'" in left_out.problem
    assert fetch(result.path, "select metric, value from metric_values")[1] == [("ssim", 0.5)]
    listed = fetch(
        result.path, "select path, num_rows, status, problem is null from inbox_files order by path"
    )[1]
    assert listed == [
        ("metric_values/r/bad.parquet", None, "quarantined", False),
        ("metric_values/r/good.parquet", 1, "loaded", True),
    ]
    assert good.exists()
    assert bad.exists()


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_numbers_are_not_written(tmp_path: Path, value: float) -> None:
    for column in ("value", "ci_low"):
        row = {**SCORE, "value": 0.5, column: value}
        with pytest.raises(
            BadInputError, match=rf"row 0, column {column}: a finite number is needed, got {value}"
        ):
            write_rows(tmp_path, "metric_values", "r", "u", [row])


def test_names_that_are_not_utf8_survive_the_inbox(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    good = write_rows(
        inbox, "training_steps", "r", "u", [{"stage": "t", "step": 1, "name": "loss", "value": 0.5}]
    )
    odd = good.parent / os.fsdecode(b"caf\xe9.parquet")
    try:
        shutil.copy(good, odd)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    (inbox / os.fsdecode(b"gossip\xff\x1b[31m")).mkdir()
    (inbox / os.fsdecode(b"gossip\xff\x1b[31m") / "new\nline.parquet").write_bytes(b"PAR1")
    run = inbox / "training_steps" / os.fsdecode(b"run\xfe")
    run.mkdir()
    shutil.copy(good, run / "u.parquet")
    (good.parent / r"caf\xe9.parquet").write_bytes(b"the same letters, another name")
    result = load(inbox, tmp_path / "w.duckdb")
    assert result.rows["training_steps"] == 1
    assert result.num_files == 5
    assert {item.path for item in result.quarantined} == {
        r"gossip\xff\x1b[31m/new\nline.parquet",
        r"training_steps/run\xfe/u.parquet",
        r"training_steps/r/caf\\xe9.parquet",
    }
    assert all(item.problem.isprintable() for item in result.quarantined)
    paths = [row[0] for row in fetch(result.path, "select path from inbox_files where status = 'loaded'")[1]]
    assert sorted(paths) == [r"training_steps/r/caf\xe9.parquet", "training_steps/r/u.parquet"]
    assert load(inbox, tmp_path / "w.duckdb").reused


def test_a_file_that_cannot_be_read_is_one_row(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipforcing_core.base import products

    def failing(path: Path) -> str:
        if path.name == "funnel.parquet":
            raise OSError(5, "Input/output error")
        return products.file_sha256(path)

    (inbox / "funnel" / "demo-0001" / "funnel.parquet").unlink()
    (inbox / "funnel" / "demo-0001" / "funnel.parquet").symlink_to("/proc/self/mem")
    monkeypatch.setattr("warehouse.loader.file_sha256", failing)
    result = load(inbox, tmp_path / "w.duckdb")
    assert [item.path for item in result.quarantined] == ["funnel/demo-0001/funnel.parquet"]
    assert "not readable as Parquet" in result.quarantined[0].problem
    assert result.rows["metric_values"] > 0
    assert load(inbox, tmp_path / "w.duckdb").reused
