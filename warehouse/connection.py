"""Opening the warehouse: read-only for everyone, private files for the loader, DuckDB's errors in our words.

A program that opens the published file for writing (DuckDB's UI, DBeaver, a notebook) keeps a lock on it and a
write-ahead log beside it. DuckDB replays a log into whatever file has the name, also into a snapshot that was published
since; so a snapshot, which is always complete without a log, is read under another name wherever a log lies beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from lipforcing_core.base.errors import BadInputError, WarehouseError
from warehouse.limits import resource_config
from warehouse.schema import SCHEMA_VERSION

OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}

STORAGE_VERSION = "v1.0.0"
"""Format of the published file: the oldest that DuckDB can write, so that the clients people have can read it."""


LOCKED = ("Could not set lock", "different configuration than existing connections")
DAMAGED = ("not a valid DuckDB database", "Corrupt database file", "Could not read enough bytes")
"""What DuckDB says of such files. Messages also hold paths, so these are phrases that no folder is called."""


class LockedWarehouseError(WarehouseError):
    """Another program has the snapshot open for writing."""


class DamagedWarehouseError(WarehouseError):
    """The snapshot is no DuckDB file, or not a whole one."""


def read_rows(path: Path | str, query: str, parameters: Any = None) -> list[dict[str, Any]]:
    """As ``rows_of``, of a snapshot that is opened for it; raises as ``open_snapshot`` does."""
    with open_snapshot(path) as connection:
        return rows_of(connection, query, parameters)


def rows_of(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Any = None
) -> list[dict[str, Any]]:
    """The rows of a statement of ours by column, with plain Python values.

    parameters: a list for ``$1``, ``$2``, ..., or a mapping for ``$name``. For questions of users see ``query.fetch``.
    """
    cursor = connection.execute(query, parameters)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def open_snapshot(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a published snapshot that can reach no other file and no network.

    Raises BadInputError when there is no file, and WarehouseError when it is locked (LockedWarehouseError), damaged
    (DamagedWarehouseError), foreign, or of a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(
            f"there is no warehouse at {path}; `lipforcing warehouse rebuild` makes one, and so does every run of "
            "demo, curate, train or evaluate in that workspace"
        )
    with _without_log(path) as plain, _opened(plain, path) as connection:
        yield connection


@contextmanager
def open_copy(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """As ``open_snapshot``, on a copy of the file: what a locked snapshot says, without asking for the lock."""
    with tempfile.TemporaryDirectory(prefix="lipforcing-warehouse-") as folder:
        copy = Path(folder) / "copy.duckdb"
        shutil.copyfile(path, copy)
        with _opened(copy, path) as connection:
            yield connection


@contextmanager
def open_private(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A writing connection to a file nobody else knows; DuckDB's failures become WarehouseError."""
    try:
        with duckdb.connect(":memory:", config={**OFFLINE, **resource_config()}) as connection:
            target = str(path).replace("'", "''")
            connection.execute(f"attach '{target}' as warehouse (storage_version '{STORAGE_VERSION}')")
            connection.execute("use warehouse")
            yield connection
            connection.execute("checkpoint")
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise WarehouseError(f"{path.parent}: could not write the warehouse: {first_line(error)}") from error
    except UnicodeEncodeError as error:
        raise WarehouseError(_no_utf8(path)) from error


def log_of(path: Path) -> Path:
    """Where DuckDB keeps the write-ahead log of a file."""
    return path.with_name(path.name + ".wal")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a pointer into the statement."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@contextmanager
def _without_log(path: Path) -> Iterator[Path]:
    """The path, or another name of the same file where a log lies beside it."""
    if not log_of(path).exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent) as folder:
        plain = Path(folder) / path.name
        os.link(path.resolve(), plain)
        yield plain


@contextmanager
def _opened(path: Path, called: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to ``path`` with its schema checked; messages name the file as it is ``called``."""
    try:
        connection = duckdb.connect(str(path), read_only=True, config={**OFFLINE, **resource_config()})
        connection.execute(
            "set enable_external_access = false"
        )  # last: it also forbids naming the spill folder
    except duckdb.Error as error:
        raise _not_opened(called, error) from error
    except UnicodeEncodeError as error:
        raise WarehouseError(_no_utf8(called)) from error
    with connection:
        _check_version(connection, called)
        yield connection


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        rows = connection.execute("select version from schema_version").fetchall()
    except duckdb.Error as error:
        if _tells(error, DAMAGED):
            raise _not_opened(path, error) from error
        raise WarehouseError(
            f"{path}: a DuckDB file, but not a warehouse of this project; choose another path"
        ) from error
    version = rows[0][0] if rows else 0
    if version > SCHEMA_VERSION:
        raise WarehouseError(
            f"{path}: written with schema {version}, this version knows up to {SCHEMA_VERSION}; update lipforcing"
        )


def _tells(error: duckdb.Error, phrases: tuple[str, ...]) -> bool:
    return any(phrase in str(error) for phrase in phrases)


def _not_opened(path: Path, error: duckdb.Error) -> WarehouseError:
    if _tells(error, LOCKED):
        holder = re.search(r"\(PID (\d+)\)", str(error))
        who = f"process {holder[1]}" if holder else "another connection"
        return LockedWarehouseError(
            f"{path}: the warehouse is locked by {who}, which has it open for writing; close it and try again, or open "
            "it read-only there"
        )
    if _tells(error, DAMAGED):
        return DamagedWarehouseError(
            f"{path}: the warehouse file is damaged; `lipforcing warehouse rebuild` makes it again"
        )
    return WarehouseError(f"{path}: the warehouse cannot be opened: {first_line(error)}")


def _no_utf8(path: Path) -> str:
    return f"{path}: DuckDB opens only files whose path is UTF-8; put the workspace into another folder"
