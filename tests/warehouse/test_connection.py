"""Opening files: what is said of those that cannot be opened, and what lies beside them meanwhile."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb
import pytest

from lipforcing_core.base.errors import WarehouseError
from warehouse.connection import (
    LockedWarehouseError,
    _not_opened,
    first_line,
    log_of,
    open_copy,
    open_private,
    open_snapshot,
)
from warehouse.query import fetch
from warehouse.schema import SCHEMA_VERSION


@pytest.mark.parametrize(
    ("message", "said", "locked"),
    [
        (
            'Could not set lock on file "w": held in python3 (PID 4711) by user',
            "w.duckdb: the warehouse is locked by process 4711, which has it open for writing; close it and try again, "
            "or open it read-only there",
            True,
        ),
        (
            "Can't open a connection to same database file with a different configuration than existing connections",
            "w.duckdb: the warehouse is locked by another connection, which has it open for writing; close it and try "
            "again, or open it read-only there",
            True,
        ),
        ("Could not set lock: somebody holds it", "w.duckdb: the warehouse is locked by another connection", True),
        ("the file is not a valid DuckDB database file!", "w.duckdb: the warehouse file is damaged; `", False),
        ("Corrupt database file: checksum", "w.duckdb: the warehouse file is damaged; `lipforcing warehouse", False),
        ("Permission denied\nand more", "w.duckdb: the warehouse cannot be opened: Permission denied", False),
    ],
)  # fmt: skip
def test_what_duckdb_says_in_our_words(message: str, said: str, locked: bool) -> None:
    error = _not_opened(Path("w.duckdb"), message)
    assert str(error).startswith(said)
    assert isinstance(error, LockedWarehouseError) is locked
    if "cannot be opened" in said:
        assert str(error) == said


def test_the_first_line_of_an_error_or_its_kind() -> None:
    assert first_line(ValueError("  one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"


def test_a_snapshot_with_a_log_is_read_under_another_name(snapshot: Path, tmp_path: Path) -> None:
    real = tmp_path / "real" / "w.duckdb"
    real.parent.mkdir()
    real.write_bytes(snapshot.read_bytes())
    link = tmp_path / "w.duckdb"
    link.symlink_to("real/w.duckdb")
    log_of(link).write_bytes(b"of a stranger")
    with open_snapshot(link) as connection:
        assert connection.execute("select count(*) from runs").fetchall() == [(1,)]
        (folder,) = (path for path in tmp_path.iterdir() if path.is_dir() and path.name != "real")
        assert folder.name.startswith(".w."), "the loader finds what a killed reader leaves by this name"
        assert folder.name.endswith(".tmp")
        assert [path.name for path in folder.iterdir()] == ["w.duckdb"]
        assert (folder / "w.duckdb").stat().st_ino == real.stat().st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real", "w.duckdb", "w.duckdb.wal"]


def test_a_message_names_the_file_as_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(b"no database" * 1000)
    log_of(path).write_bytes(b"of a stranger")
    for opened in (open_snapshot, open_copy):
        with pytest.raises(WarehouseError) as caught, opened(path):
            pass
        assert str(caught.value).startswith(f"{path}: the warehouse file is damaged")


def test_a_copy_lies_with_other_temporary_files(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    folder = tempfile.TemporaryDirectory

    def making(**options: str) -> tempfile.TemporaryDirectory[str]:
        made.append(options["prefix"])
        return folder(**options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", making)
    before = snapshot.read_bytes()
    with open_copy(snapshot) as connection:
        assert connection.execute("select run_id from runs").fetchall() == [("demo-0001",)]
        ((path,),) = connection.execute(
            "select path from duckdb_databases() where path is not null"
        ).fetchall()
        assert Path(path).name == "copy.duckdb"
        assert Path(path).parent.parent == Path(tempfile.gettempdir())
    assert made == ["lipforcing-warehouse-"]
    assert not Path(path).exists()
    assert snapshot.read_bytes() == before


def test_no_connection_fetches_extensions(snapshot: Path, tmp_path: Path) -> None:
    ask = (
        "select current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions')"
    )
    with open_snapshot(snapshot) as connection:
        assert connection.execute(ask).fetchall() == [(False, False)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("create table t (x int)")
    with open_private(tmp_path / "p.duckdb") as connection:
        assert connection.execute(ask).fetchall() == [(False, False)]


def test_a_private_file_is_complete_and_may_have_a_quote_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ann's.duckdb"
    with open_private(path) as connection:
        connection.execute("create table t as select 7 as x")
    assert not log_of(path).exists()
    assert sorted(os.listdir(tmp_path)) == ["ann's.duckdb"]
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select x from t").fetchall() == [(7,)]
        ((tags,),) = connection.execute(
            "select tags from duckdb_databases() where database_name = 'ann''s'"
        ).fetchall()
    assert tags["storage_version"].startswith("v1.0.0")


@pytest.mark.parametrize(
    ("versions", "opens"), [((), True), ((SCHEMA_VERSION,), True), ((SCHEMA_VERSION + 1,), False)]
)
def test_a_file_of_this_schema_or_an_earlier_one_is_opened(
    versions: tuple[int, ...], opens: bool, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table schema_version (version int)")
        for version in versions:
            connection.execute("insert into schema_version values (?)", [version])
    if opens:
        assert fetch(path, "select count(*) from schema_version")[1] == [(len(versions),)]
    else:
        with pytest.raises(WarehouseError, match="update lipforcing"):
            fetch(path, "select 1")
