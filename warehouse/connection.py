"""Opening the warehouse: read-only for everyone, private files for the loader, DuckDB's errors in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lipforcing_core.base.errors import BadInputError, WarehouseError
from warehouse.schema import SCHEMA_VERSION

OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


@contextmanager
def open_snapshot(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a published snapshot that can reach no other file and no network.

    Raises BadInputError when there is no file, and WarehouseError when it is locked, damaged, foreign, or of a newer
    schema.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(
            f"there is no warehouse at {path}; `lipforcing warehouse rebuild` makes one, and so does every run of "
            "demo, curate, train or evaluate in that workspace"
        )
    try:
        connection = duckdb.connect(
            str(path), read_only=True, config={**OFFLINE, "enable_external_access": "false"}
        )
    except duckdb.Error as error:
        raise WarehouseError(_why_not_opened(path, str(error))) from error
    with connection:
        _check_version(connection, path)
        yield connection


@contextmanager
def open_private(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A writing connection to a file nobody else knows; DuckDB's failures become WarehouseError."""
    try:
        with duckdb.connect(str(path), config=dict(OFFLINE)) as connection:
            yield connection
            connection.execute("checkpoint")
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise WarehouseError(f"{path.parent}: could not write the warehouse: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a pointer into the statement."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        rows = connection.execute("select version from schema_version").fetchall()
    except duckdb.Error as error:
        raise WarehouseError(
            f"{path}: a DuckDB file, but not a warehouse of this project; choose another path"
        ) from error
    version = rows[0][0] if rows else 0
    if version > SCHEMA_VERSION:
        raise WarehouseError(
            f"{path}: written with schema {version}, this version knows up to {SCHEMA_VERSION}; update lipforcing"
        )


def _why_not_opened(path: Path, message: str) -> str:
    if "lock" in message or "different configuration" in message:
        holder = re.search(r"PID (\d+)", message)
        who = f"process {holder[1]}" if holder else "another connection"
        return (
            f"{path}: the warehouse is locked by {who}, which has it open for writing; close it and try again"
        )
    if "not a valid DuckDB" in message or "orrupt" in message:
        return f"{path}: the warehouse file is damaged; `lipforcing warehouse rebuild` makes it again"
    return f"{path}: the warehouse cannot be opened: {message.splitlines()[0]}"
