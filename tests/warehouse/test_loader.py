"""The loader: idempotent, rebuildable, one at a time, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import WarehouseError
from warehouse.connection import DamagedWarehouseError, open_snapshot
from warehouse.digest import digest
from warehouse.inbox import VERSION_KEY, write_rows
from warehouse.loader import LOCK_NAME, load, rebuild
from warehouse.query import fetch
from warehouse.schema import SCHEMA_VERSION

HOLD = """
import sys
from pathlib import Path
from warehouse.lock import loader_lock
with loader_lock(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    sys.stdin.read()
"""


def _rows(path: Path, sql: str) -> list[tuple]:
    return fetch(path, sql)[1]


def test_loading_again_changes_nothing(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    first = load(inbox, path)
    before = path.read_bytes()
    second = load(inbox, path)
    assert not first.reused
    assert second.reused
    assert path.read_bytes() == before
    assert first.rows == second.rows
    assert first.rows["metric_values"] == 31 + 5 * 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inbox", LOCK_NAME, "warehouse.duckdb"]


def test_rebuilt_after_deletion_or_damage_it_says_the_same(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    load(inbox, path)
    before, all_before = digest(path), _rows(path, "from metric_values order by all")
    path.unlink()
    load(inbox, path)
    assert digest(path) == before
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match="damaged; `lipforcing warehouse rebuild`"):
        load(inbox, path)
    rebuild(inbox, path)
    assert digest(path) == before
    assert _rows(path, "from metric_values order by all") == all_before


def test_the_last_file_wins_whatever_the_order_of_writing(tmp_path: Path) -> None:
    row = {"metric": "m", "label": "M", "definition": "d", "is_wall_clock": False}
    for order in (("run-a", "run-b"), ("run-b", "run-a")):
        root = tmp_path / "-".join(order)
        for run_id in order:
            write_rows(root / "inbox", "metrics", run_id, "registry", [{**row, "label": f"from {run_id}"}])
        load(root / "inbox", root / "w.duckdb")
        assert _rows(root / "w.duckdb", "select label from metrics") == [("from run-b",)]


def test_null_keys_are_merged_as_equal(tmp_path: Path) -> None:
    row = {"dataset_id": "d", "system": "s", "metric": "m", "n": 1, "protocol_id": "p", "backend": "b"}
    write_rows(tmp_path / "inbox", "metric_values", "r", "1", [{**row, "value": 1.0}])
    write_rows(tmp_path / "inbox", "metric_values", "r", "2", [{**row, "value": 2.0}])
    load(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert _rows(tmp_path / "w.duckdb", "select value from metric_values") == [(2.0,)]


def test_a_replaced_unit_leaves_no_stale_rows(tmp_path: Path) -> None:
    step = {"stage": "t", "name": "loss", "value": 1.0}
    steps = [{**step, "step": i} for i in range(5)]
    for keep in (5, 2):
        write_rows(tmp_path / "inbox", "training_steps", "r", "u", steps[:keep])
        load(tmp_path / "inbox", tmp_path / "w.duckdb")
        assert _rows(tmp_path / "w.duckdb", "select count(*) from training_steps") == [(keep,)]


def test_unusable_files_are_named_and_the_rest_is_loaded(inbox: Path, tmp_path: Path) -> None:
    good = inbox / "funnel" / "demo-0001" / "funnel.parquet"
    folder = good.parent
    (folder / "torn.parquet").write_bytes(good.read_bytes()[:-100])
    (folder / "foreign.parquet").write_bytes(b"PAR1 nothing")
    (folder / ".in-flight.tmp.parquet").write_bytes(b"half")
    table = pq.read_table(good)
    pq.write_table(table.drop_columns(["num_in"]), folder / "columns.parquet")
    negative = table.set_column(
        table.schema.get_field_index("num_in"), "num_in", pa.array([-1] * len(table), pa.int32())
    )
    pq.write_table(negative, folder / "negative.parquet")
    (inbox / "gossip" / "r").mkdir(parents=True)
    shutil.copy(good, inbox / "gossip" / "r" / "u.parquet")
    (inbox / "notes.txt").write_text("hello")
    (inbox / "funnel" / "other-run").mkdir()
    shutil.copy(good, inbox / "funnel" / "other-run" / "moved.parquet")

    result = load(inbox, tmp_path / "w.duckdb")
    problems = {item.path: item.problem for item in result.quarantined}
    assert set(problems) == {
        "funnel/demo-0001/columns.parquet",
        "funnel/demo-0001/foreign.parquet",
        "funnel/demo-0001/negative.parquet",
        "funnel/demo-0001/torn.parquet",
        "funnel/other-run/moved.parquet",
        "gossip/r/u.parquet",
        "notes.txt",
    }
    assert "missing ['num_in']" in problems["funnel/demo-0001/columns.parquet"]
    assert "CHECK constraint" in problems["funnel/demo-0001/negative.parquet"]
    assert "not readable as Parquet" in problems["funnel/demo-0001/torn.parquet"]
    assert "rows of run demo-0001" in problems["funnel/other-run/moved.parquet"]
    assert result.rows["funnel"] == 6
    listed = _rows(tmp_path / "w.duckdb", "select count(*) from inbox_files where status = 'quarantined'")
    assert listed == [(7,)]


def test_two_loaders_do_not_run_and_a_dead_ones_lock_is_taken_over(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    before = path.read_bytes()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / LOCK_NAME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseError, match=f"being loaded by process {holder.pid}"):
            rebuild(inbox, path, wait_s=0)
        assert path.read_bytes() == before
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    assert (tmp_path / LOCK_NAME).read_text().strip() == str(holder.pid)
    assert not rebuild(inbox, path, wait_s=0).reused
    assert (tmp_path / LOCK_NAME).read_text().strip() == str(os.getpid())


def test_a_newer_schema_is_left_alone(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("update schema_version set version = version + 1")
    before = path.read_bytes()
    for action in (load, rebuild):
        with pytest.raises(
            WarehouseError, match=f"written with schema {SCHEMA_VERSION + 1}.*update lipforcing"
        ):
            action(inbox, path)
    with pytest.raises(WarehouseError, match="update lipforcing"):
        fetch(path, "select 1")
    assert path.read_bytes() == before


def test_a_foreign_database_is_not_overwritten(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table precious as select 42 as answer")
    for action in (load, rebuild):
        with pytest.raises(WarehouseError, match="not a warehouse of this project"):
            action(inbox, path)


def test_a_locked_warehouse_is_one_sentence(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    with (
        duckdb.connect(str(path)),
        pytest.raises(WarehouseError, match="locked by another connection, which has it open for writing"),
    ):
        fetch(path, "select 1")


def test_a_killed_build_leaves_the_old_snapshot(
    inbox: Path, tmp_path: Path, fill: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    before = path.read_bytes()
    (tmp_path / ".w.0badcafe.tmp.duckdb").write_bytes(b"left by a killed loader")
    fill(inbox, "demo-0002")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lipforcing_core.base.products.os.replace", full_disk)
    with pytest.raises(WarehouseError, match="No space left on device"):
        load(inbox, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inbox", LOCK_NAME, "w.duckdb"]
    assert load(inbox, path).rows["runs"] == 2


def test_an_empty_inbox_gives_the_published_numbers(tmp_path: Path) -> None:
    result = load(tmp_path / "absent", tmp_path / "w.duckdb")
    assert result.rows["published_results"] == 288
    assert sum(result.rows.values()) == 288


def test_digest_ignores_clocks_and_notices_scores(tmp_path: Path, fill: Callable[..., Path]) -> None:
    digests = {}
    for name, run_id, options in (
        ("plain", "a", {}),
        ("slower", "a", {"wall": 3.0}),
        ("renamed", "b", {}),
        ("better", "a", {"shift": 0.01}),
    ):
        load(fill(tmp_path / name / "inbox", run_id, **options), tmp_path / name / "w.duckdb")
        digests[name] = [digest(tmp_path / name / "w.duckdb", ignore_run_id=flag) for flag in (False, True)]
    assert digests["slower"][0] == digests["plain"][0]
    assert digests["renamed"][0] != digests["plain"][0]
    assert digests["renamed"][1] == digests["plain"][1]
    changed = {t for t, value in digests["better"][0].items() if value != digests["plain"][0][t]}
    assert changed == {"metric_values"}


def test_every_file_is_listed_with_its_rows_or_its_problem(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    step = {"stage": "t", "name": "loss", "value": 1.0}
    write_rows(inbox, "training_steps", "r", "two", [{**step, "step": i} for i in (1, 2)])
    write_rows(inbox, "training_steps", "r", "one", [{**step, "step": 3}])
    write_rows(inbox, "runs", "r", "u", [{"flow": "demo", "status": "completed"}])
    (inbox / "runs" / "r" / "deep").mkdir()
    shutil.copy(inbox / "runs/r/u.parquet", inbox / "runs/r/deep/u.parquet")
    shutil.copy(inbox / "runs/r/u.parquet", inbox / "runs/u.parquet")
    shutil.copy(inbox / "runs/r/u.parquet", inbox / "runs/r/u.csv")
    (inbox / "gossip/r").mkdir(parents=True)
    shutil.copy(inbox / "runs/r/u.parquet", inbox / "gossip/r/u.parquet")
    result = load(inbox, tmp_path / "w.duckdb")
    form = "not of the form <table>/<run_id>/<unit>.parquet"
    listed = _rows(
        tmp_path / "w.duckdb", "select path, table_name, num_rows, status, problem from inbox_files"
    )
    assert listed == [
        ("gossip/r/u.parquet", None, None, "quarantined", "no table 'gossip' takes rows"),
        ("runs/r/deep/u.parquet", "runs", None, "quarantined", form),
        ("runs/r/u.csv", "runs", None, "quarantined", form),
        ("runs/r/u.parquet", "runs", 1, "loaded", None),
        ("runs/u.parquet", "runs", None, "quarantined", form),
        ("training_steps/r/one.parquet", "training_steps", 1, "loaded", None),
        ("training_steps/r/two.parquet", "training_steps", 2, "loaded", None),
    ]
    assert (result.path, result.num_files, result.reused) == (tmp_path / "w.duckdb", 7, False)
    assert [(item.path, item.problem) for item in result.quarantined] == [
        (path, problem) for path, _, _, status, problem in listed if status == "quarantined"
    ]
    assert (result.rows["training_steps"], result.rows["runs"], result.rows["published_results"]) == (
        3,
        1,
        288,
    )
    again = load(inbox, tmp_path / "w.duckdb")
    assert (again.reused, again.path, again.rows) == (True, result.path, result.rows)
    assert (again.num_files, again.quarantined) == (result.num_files, result.quarantined)
    assert _rows(tmp_path / "w.duckdb", "select version from schema_version") == [(SCHEMA_VERSION,)]


def test_rows_lie_in_the_order_of_their_key(tmp_path: Path) -> None:
    row = {"label": "M", "definition": "d", "is_wall_clock": False}
    for run_id, name in (("a", "m3"), ("b", "m1"), ("c", "m2")):
        write_rows(tmp_path / "inbox", "metrics", run_id, "u", [{**row, "metric": name}])
    load(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert _rows(tmp_path / "w.duckdb", "select metric from metrics") == [("m1",), ("m2",), ("m3",)]


def test_one_bad_file_of_a_table_spares_the_others(tmp_path: Path) -> None:
    row = {"dataset_id": "d", "stage": "s", "position": 0, "unit": "clips", "num_in": 3, "num_out": 2}
    for unit, stage in (("a", "s1"), ("b", "s2"), ("c", "s3")):
        write_rows(tmp_path / "inbox", "funnel", "r", unit, [{**row, "stage": stage}])
    bad = tmp_path / "inbox/funnel/r/b.parquet"
    table = pq.read_table(bad)
    index = table.schema.get_field_index("num_out")
    with pq.ParquetWriter(bad, table.schema) as writer:
        writer.write_table(table.set_column(index, table.schema.field(index), pa.array([-1], pa.int32())))
        writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION)})
    result = load(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert _rows(result.path, "select stage from funnel") == [("s1",), ("s3",)]
    assert [item.path for item in result.quarantined] == ["funnel/r/b.parquet"]
    assert "CHECK constraint" in result.quarantined[0].problem
    assert _rows(result.path, "select path, num_rows from inbox_files where status = 'loaded'") == [
        ("funnel/r/a.parquet", 1),
        ("funnel/r/c.parquet", 1),
    ]


def test_an_inbox_that_is_a_file_is_refused_and_one_that_is_absent_is_empty(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("not a folder")
    for action in (load, rebuild):
        with pytest.raises(WarehouseError, match=f"^{tmp_path}/inbox: the inbox is not a folder$"):
            action(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert not (tmp_path / "w.duckdb").exists()
    (tmp_path / "empty").mkdir()
    assert load(tmp_path / "empty", tmp_path / "w.duckdb").num_files == 0


def test_what_killed_programs_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / ".w.abc.tmp"
    folder.mkdir()
    (folder / "w.duckdb").touch()
    for name in (".w.p1-2-3.0badcafe.tmp.duckdb", ".w.p1-2-3.0badcafe.tmp.duckdb.wal"):
        (tmp_path / name).touch()
    (tmp_path / ".other.abc.tmp").mkdir()
    load(tmp_path / "inbox", tmp_path / "w.duckdb")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.abc.tmp", LOCK_NAME, "w.duckdb"]


def test_a_damaged_file_is_replaced_by_a_rebuild_only(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match="damaged"):
        load(tmp_path / "inbox", path)
    assert path.read_bytes() == b"not a database" * 1000
    assert not rebuild(tmp_path / "inbox", path).reused
    assert load(tmp_path / "inbox", path).reused
    assert not rebuild(tmp_path / "inbox", path).reused


def _garbage(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"x" * 4096
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_garbage, _cut, _overwritten])
def test_a_damaged_file_is_made_again_whatever_its_folder_is_called(
    inbox: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "blocks" / "w.duckdb"
    whole = rebuild(inbox, path)
    damage(path)
    with (
        pytest.raises(DamagedWarehouseError, match="damaged; `lipforcing warehouse rebuild`"),
        open_snapshot(path),
    ):
        pass
    with pytest.raises(DamagedWarehouseError):
        load(inbox, path)
    assert rebuild(inbox, path).rows == whole.rows


def test_the_file_of_someone_else_is_never_replaced_whatever_its_folder_is_called(
    inbox: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged" / "w.duckdb"
    path.parent.mkdir()
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table theirs as select 1 as a")
    before = path.read_bytes()
    with pytest.raises(WarehouseError, match="not a warehouse of this project"):
        rebuild(inbox, path)
    assert path.read_bytes() == before
