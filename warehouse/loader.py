"""The loader: everything in the inbox becomes one snapshot, ``warehouse.duckdb``, published by atomic rename.

A load always builds the whole file from the inbox, so there is no state that could go stale: loading twice,
loading after a kill, and rebuilding after the file was deleted all give the same content. Where nothing in
the inbox, the schema or the published numbers has changed, the snapshot is left as it is. A program that has the
snapshot open for writing does not hold a load up: the new file takes over the name, the program keeps the old file.

Of several rows with one key, the one from the last file wins: files are ordered by run id, then unit.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from lipforcing_core.base.errors import BadInputError, WarehouseError
from lipforcing_core.base.names import printable, shown_name
from lipforcing_core.base.products import atomic_path, content_key, file_sha256
from warehouse.ablations import ablation_rows
from warehouse.connection import (
    DamagedWarehouseError,
    LockedWarehouseError,
    log_of,
    open_copy,
    open_private,
    open_snapshot,
)
from warehouse.inbox import check_constraints, check_run, read_rows
from warehouse.lock import loader_lock
from warehouse.published import PUBLISHED_CSV, published_rows
from warehouse.schema import SCHEMA_VERSION, Relation, apply_schema, inbox_tables, schema_sha256

LOCK_NAME = "loader.lock"


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """An inbox file that was left out: its path below the inbox root, and why."""

    path: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did. ``rows`` counts the rows of every table; ``reused`` when nothing had changed."""

    path: Path
    rows: dict[str, int]
    num_files: int
    quarantined: tuple[Quarantined, ...]
    reused: bool


def load(inbox_root: Path | str, warehouse_path: Path | str, *, wait_s: float = 30.0) -> LoadResult:
    """Bring the snapshot up to date with the inbox.

    Raises WarehouseError, and changes nothing, when another loader stays busy for ``wait_s`` seconds or when
    the snapshot is damaged, foreign, or of a newer schema. A file that cannot be used is
    named in the result and in the table inbox_files; the rest is loaded.
    """
    return _publish(Path(inbox_root), Path(warehouse_path), wait_s=wait_s, replace=False)


def rebuild(inbox_root: Path | str, warehouse_path: Path | str, *, wait_s: float = 30.0) -> LoadResult:
    """Make the snapshot again even when it is up to date or damaged.

    Raises WarehouseError as ``load`` does for everything else.
    """
    return _publish(Path(inbox_root), Path(warehouse_path), wait_s=wait_s, replace=True)


def _publish(inbox_root: Path, warehouse_path: Path, *, wait_s: float, replace: bool) -> LoadResult:
    if inbox_root.exists() and not inbox_root.is_dir():
        raise WarehouseError(f"{inbox_root}: the inbox is not a folder")
    try:
        with loader_lock(warehouse_path.parent / LOCK_NAME, wait_s=wait_s):
            for left_over in warehouse_path.parent.glob(f".{warehouse_path.stem}.*.tmp*"):
                _remove(left_over)
            files = _inbox_files(inbox_root)
            key = _content_key(inbox_root, files)
            found = _published(warehouse_path, key, damaged_is_absent=replace)
            if found is None or replace:
                with atomic_path(warehouse_path) as temporary:
                    found = _build(temporary, warehouse_path, inbox_root, files, key)
                    log_of(warehouse_path).unlink(missing_ok=True)  # of a writer of the file that goes
            return found
    except OSError as error:
        raise WarehouseError(f"{warehouse_path}: could not write the warehouse: {error}") from error


def _inbox_files(inbox_root: Path) -> list[Path]:
    """Files of the inbox in load order. Names that start with a dot are writes in flight."""
    found = (path for path in inbox_root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(found, key=lambda path: path.relative_to(inbox_root).parts)


def _content_key(inbox_root: Path, files: list[Path]) -> str:
    listing = [(shown_name(path.relative_to(inbox_root)), _sha256(path)) for path in files]
    shipped = [file_sha256(PUBLISHED_CSV), ablation_rows().to_pylist()]
    return content_key(SCHEMA_VERSION, schema_sha256(), shipped, listing)


def _published(warehouse_path: Path, key: str, *, damaged_is_absent: bool) -> LoadResult | None:
    """What the published snapshot holds; None where there is none with this content key.

    A snapshot that another program has open for writing does not count: that program may have changed it. It is looked
    at all the same, so that no database of someone else and none of a newer schema is replaced.
    """
    if not warehouse_path.exists():
        return None
    try:
        with open_snapshot(warehouse_path) as connection:
            if connection.execute("select content_key from schema_version").fetchall() != [(key,)]:
                return None
            log_of(warehouse_path).unlink(missing_ok=True)  # of a program that had it open and died
            return _result(connection, warehouse_path, reused=True)
    except LockedWarehouseError:
        with open_copy(warehouse_path):
            return None
    except DamagedWarehouseError:
        if damaged_is_absent:
            return None
        raise


def _remove(left_over: Path) -> None:
    if left_over.is_dir():
        shutil.rmtree(left_over, ignore_errors=True)
    else:
        left_over.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    """Hash of a file, or why there is none: a file that cannot be read is quarantined and must not stop the load."""
    try:
        return file_sha256(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _build(path: Path, final_path: Path, inbox_root: Path, files: list[Path], key: str) -> LoadResult:
    """Write everything into a new file at ``path``, which is to be published as ``final_path``."""
    with open_private(path) as connection:
        apply_schema(connection)
        connection.register("incoming", published_rows())
        connection.execute("insert into published_results by name select * from incoming")
        connection.register("incoming", ablation_rows())
        connection.execute("insert into ablation_rows by name select * from incoming")
        listing: list[dict[str, object]] = []
        by_table: dict[str, list[tuple[Path, pa.Table]]] = {}
        for file in files:
            _read_one(file, inbox_root, by_table, listing)
        for name, relation in inbox_tables().items():
            _merge(connection, relation, inbox_root, by_table.get(name, []), listing)
        _write_listing(connection, listing)
        connection.execute("insert into schema_version values (?, ?)", [SCHEMA_VERSION, key])
        return _result(connection, final_path, reused=False)


def _read_one(
    file: Path,
    inbox_root: Path,
    by_table: dict[str, list[tuple[Path, pa.Table]]],
    listing: list[dict[str, object]],
) -> None:
    relative = file.relative_to(inbox_root)
    table = relative.parts[0]
    try:
        if len(relative.parts) != 3 or file.suffix != ".parquet":
            raise BadInputError("not of the form <table>/<run_id>/<unit>.parquet")
        if table not in inbox_tables():
            raise BadInputError(f"no table {table!r} takes rows")
        relation = inbox_tables()[table]
        data = read_rows(relation, file)
        check_run(relation, data, relative.parts[1])
        by_table.setdefault(table, []).append((file, data))
    except BadInputError as error:
        listing.append(_listed(relative, None, problem=printable(str(error))))


def _merge(
    connection: duckdb.DuckDBPyConnection,
    relation: Relation,
    inbox_root: Path,
    parts: list[tuple[Path, pa.Table]],
    listing: list[dict[str, object]],
) -> None:
    """Insert the parts of one table, last file first in rank; on a broken constraint find the guilty files."""
    try:
        _insert(connection, relation, [data for _, data in parts])
    except duckdb.ConstraintException:
        sound = []
        for file, data in parts:
            try:
                check_constraints(relation, data)
                sound.append((file, data))
            except BadInputError as error:
                listing.append(_listed(file.relative_to(inbox_root), None, problem=str(error)))
        parts = sound
        _insert(connection, relation, [data for _, data in parts])
    listing.extend(_listed(file.relative_to(inbox_root), data.num_rows) for file, data in parts)


def _insert(connection: duckdb.DuckDBPyConnection, relation: Relation, parts: list[pa.Table]) -> None:
    if not parts:
        return
    ranked = [
        data.append_column("file_rank", pa.array([rank] * data.num_rows, pa.int64()))
        for rank, data in enumerate(parts)
    ]
    connection.register("incoming", pa.concat_tables(ranked))
    names = ", ".join(relation.arrow_schema.names)
    key = ", ".join(relation.key)
    connection.execute(
        f"insert into {relation.name} by name select {names} from incoming "
        f"qualify row_number() over (partition by {key} order by file_rank desc) = 1 order by {key}"
    )
    connection.unregister("incoming")


def _listed(relative: Path, num_rows: int | None, *, problem: str | None = None) -> dict[str, object]:
    return {
        "path": shown_name(relative),
        "table_name": relative.parts[0] if relative.parts[0] in inbox_tables() else None,
        "num_rows": num_rows,
        "status": "quarantined" if problem else "loaded",
        "problem": problem,
    }


def _write_listing(connection: duckdb.DuckDBPyConnection, listing: list[dict[str, object]]) -> None:
    rows = [tuple(row.values()) for row in sorted(listing, key=lambda row: str(row["path"]))]
    if rows:
        columns = list(zip(*rows, strict=True))
        types = [pa.string(), pa.string(), pa.int32(), pa.string(), pa.string()]
        arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
        connection.register("incoming", pa.Table.from_arrays(arrays, names=list(listing[0])))
        connection.execute("insert into inbox_files by name select * from incoming")
        connection.unregister("incoming")


def _result(connection: duckdb.DuckDBPyConnection, path: Path, *, reused: bool) -> LoadResult:
    rows = {
        name: connection.execute(f"select count(*) from {name}").fetchall()[0][0]
        for name in ("published_results", *inbox_tables())
    }
    listing = connection.execute("select path, status, problem from inbox_files order by path").fetchall()
    return LoadResult(
        path=path,
        rows=rows,
        num_files=len(listing),
        quarantined=tuple(
            Quarantined(path=name, problem=problem)
            for name, status, problem in listing
            if status == "quarantined"
        ),
        reused=reused,
    )
