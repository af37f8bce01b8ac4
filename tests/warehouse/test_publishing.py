"""Publishing: by rename, whatever other programs hold open; in a format old clients read; within bounds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from lipforcing_core.base.errors import BadInputError, WarehouseError
from warehouse.connection import LockedWarehouseError, log_of, open_private, open_snapshot
from warehouse.digest import digest
from warehouse.limits import MAX_MEMORY_MB, MAX_THREADS, resource_config, spill_folder
from warehouse.loader import load, rebuild
from warehouse.query import fetch
from warehouse.schema import relations

WRITER = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("insert into runs (run_id, flow, status) values ('stranger', 'by hand', 'failed')")
print("held", flush=True)
sys.stdin.readline()
connection.execute("insert into runs (run_id, flow, status) values ('stranger-2', 'by hand', 'failed')")
print("written", flush=True)
sys.stdin.readline()
connection.close()
"""


class Writer:
    """A second program that has the snapshot open for writing, with rows of its own in the log beside it."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def go_on(self) -> None:
        """Let it write again, or, the second time, close."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def has_written(self) -> bool:
        assert self._process.stdout is not None
        return self._process.stdout.readline() == "written\n"

    def end(self) -> None:
        self._process.communicate("\n\n", timeout=120)


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    try:
        yield writer
    finally:
        writer.end()


def _runs(path: Path) -> list[str]:
    return [row[0] for row in fetch(path, "select run_id from runs order by 1")[1]]


@pytest.mark.parametrize("action", [load, rebuild])
def test_a_writer_elsewhere_holds_nothing_up_and_leaves_no_trace(
    inbox: Path, tmp_path: Path, fill: Callable[..., Path], action: Callable[..., object]
) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    fill(inbox, "demo-0002")
    with writing(path) as writer:
        assert log_of(path).exists()
        with pytest.raises(LockedWarehouseError, match=r"locked by process \d+"):
            fetch(path, "select 1")
        action(inbox, path)
        assert _runs(path) == ["demo-0001", "demo-0002"]
        before = digest(path)
        writer.go_on()
        assert writer.has_written()
        assert _runs(path) == ["demo-0001", "demo-0002"]
    assert _runs(path) == ["demo-0001", "demo-0002"]
    assert digest(path) == before
    assert load(inbox, path).reused


def test_an_unchanged_inbox_is_published_again_where_a_writer_may_have_changed_the_file(
    inbox: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    with writing(path):
        assert not load(inbox, path).reused
        assert _runs(path) == ["demo-0001"]


def test_a_connection_of_this_process_holds_nothing_up(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    with duckdb.connect(str(path)):
        assert not load(inbox, path).reused


def test_the_log_of_a_dead_writer_is_never_replayed(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    load(inbox, path)
    with writing(path):
        shutil.copy(log_of(path), tmp_path / "log")
    rebuild(inbox, path)
    shutil.copy(tmp_path / "log", log_of(path))
    with duckdb.connect(str(path), read_only=True) as connection:  # what DuckDB itself makes of it
        assert connection.execute("select count(*) from runs").fetchall() == [(2,)]
    assert _runs(path) == ["demo-0001"]
    assert log_of(path).exists()
    assert load(inbox, path).reused
    assert not log_of(path).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inbox", "loader.lock", "log", "w.duckdb"]


def test_a_foreign_database_is_spared_while_someone_writes_to_it(inbox: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table runs (run_id varchar, flow varchar, status varchar)")
    before = path.read_bytes()
    with writing(path):
        for action in (load, rebuild):
            with pytest.raises(WarehouseError, match="not a warehouse of this project"):
                action(inbox, path)
        assert path.read_bytes() == before


def test_the_file_is_written_in_the_oldest_format(snapshot: Path) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"attach '{snapshot}' as published (read_only)")
        ((tags,),) = connection.execute(
            "select tags from duckdb_databases() where database_name = 'published'"
        ).fetchall()
    assert tags["storage_version"].startswith("v1.0.0")


OLD_CLIENT = """
import sys
import duckdb
path, *names = sys.argv[1:]
connection = duckdb.connect(path, read_only=True)
for name in names:
    connection.execute(f"select * from {name}").fetchall()
(count,) = connection.execute("select count(*) from duckdb_columns() where comment is not null").fetchone()
print(duckdb.__version__, count)
"""


def test_an_older_python_client_reads_every_table_and_view(snapshot: Path) -> None:
    """Set LIPFORCING_OLD_DUCKDB to a folder made by ``pip install --no-deps --target FOLDER duckdb==1.1.3``."""
    folder = os.environ.get("LIPFORCING_OLD_DUCKDB")
    if not folder:
        pytest.skip("LIPFORCING_OLD_DUCKDB names no folder with an older duckdb")
    result = subprocess.run(
        [sys.executable, "-c", OLD_CLIENT, str(snapshot), *relations()],
        env={**os.environ, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    version, count = result.stdout.split()
    assert version != duckdb.__version__
    assert int(count) == sum(len(relation.columns) for relation in relations().values())


def test_the_command_line_client_reads_every_table_and_view(snapshot: Path) -> None:
    """``duckdb`` on PATH (``pip install duckdb-cli``, or LIPFORCING_DUCKDB_CLI) is the client that analysts have."""
    client = os.environ.get("LIPFORCING_DUCKDB_CLI") or shutil.which("duckdb")
    if not client:
        pytest.skip("there is no duckdb command line client; pip install duckdb-cli brings one")
    statements = "".join(f"select '{name}', count(*) from (from {name});" for name in relations())
    result = subprocess.run(
        [client, "-readonly", "-csv", "-noheader", str(snapshot), "-c", statements],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    counts = dict(line.split(",") for line in result.stdout.splitlines())
    assert set(counts) == set(relations())
    assert counts["published_results"] == "288"


def test_every_connection_is_bounded_and_spills_elsewhere(inbox: Path, tmp_path: Path) -> None:
    spill_folder.cache_clear()  # another test of this process may have had another temporary folder
    path = load(inbox, tmp_path / "w.duckdb").path
    wanted = resource_config()
    limit = "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    with duckdb.connect(":memory:", config={"memory_limit": wanted["memory_limit"]}) as plain:
        ((memory,),) = plain.execute("select current_setting('memory_limit')").fetchall()
    with open_snapshot(path) as connection:
        assert connection.execute(limit).fetchall() == [
            (memory, int(wanted["threads"]), wanted["temp_directory"])
        ]
    with open_private(tmp_path / "p.duckdb") as connection:
        assert connection.execute(limit).fetchall() == [
            (memory, int(wanted["threads"]), wanted["temp_directory"])
        ]
    assert 0 < int(wanted["memory_limit"].removesuffix("MB")) <= MAX_MEMORY_MB
    assert 0 < int(wanted["threads"]) <= MAX_THREADS
    assert 0 < int(wanted["max_temp_directory_size"].removesuffix("MB")) <= 16_000
    spill = Path(spill_folder(os.getpid()))
    assert spill.parent == Path(tempfile.gettempdir())
    assert spill.stat().st_mode & 0o077 == 0
    assert not spill.is_relative_to(tmp_path)


def test_a_question_too_large_is_one_sentence(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = load(inbox, tmp_path / "w.duckdb").path
    tight = {**resource_config(), "memory_limit": "50MB", "max_temp_directory_size": "10MB", "threads": "1"}
    monkeypatch.setattr("warehouse.connection.resource_config", lambda: tight)
    large = "select len(list(range)) from range(20000000)"
    with pytest.raises(BadInputError, match="needs more memory or temporary disk"):
        fetch(path, large)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inbox", "loader.lock", "w.duckdb"]


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("2000000000\n", "1000MB"), ("100000000", "200MB")):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr("warehouse.limits._CONTAINER_MEMORY", tmp_path / "memory.max")
        resource_config.cache_clear()
        assert resource_config()["memory_limit"] == expected
    monkeypatch.undo()
    resource_config.cache_clear()
    assert resource_config()["memory_limit"] != "200MB"
