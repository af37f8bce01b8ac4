"""The inbox: one immutable Parquet file for each finished unit of work, ``<table>/<run_id>/<unit>.parquet``.

Workers anywhere write here and never open the database. A file has the exact schema of its table and says which version
of the schema that is; its rows are sorted by the table's key, and equal rows give equal bytes. Files of earlier
versions are read as well (``warehouse.migrations``): the inbox is the record of all runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.base.suggestions import did_you_mean
from warehouse.connection import first_line
from warehouse.migrations.history import upgrade
from warehouse.schema import SCHEMA_VERSION, Column, Relation, create_table, inbox_tables

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

Rows = Iterable[Mapping[str, Any]] | Iterable["DataclassInstance"]

VERSION_KEY = b"lipforcing.schema_version"
"""Key of the Parquet metadata that says with which schema version a file was written; absent in version 1."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@+-]*")


def write_rows(
    inbox_root: Path | str,
    table: str,
    run_id: str,
    unit: str,
    rows: Rows | pd.DataFrame,
    *,
    fill: Mapping[str, Any] | None = None,
) -> Path:
    """Write the rows of one unit of work as one Parquet file and return its path.

    ``rows`` are mappings from column to value, dataclass instances, or a data frame; a column that may be null
    may be left out. ``run_id``, and the columns in ``fill``, are set on every row that lacks them. None and, in
    columns that may be null, NaN mean null. Writing the same unit again replaces its file.

    Raises BadInputError naming the table and row: unknown table, unknown or missing column, a value of the
    wrong type, an infinite number, NaN or null where a value is required, a broken check, or two rows with one key.
    """
    relation = _relation(table)
    path = rows_path(inbox_root, table, run_id, unit)
    constants = dict(fill or {})
    if "run_id" in relation.arrow_schema.names:
        constants.setdefault("run_id", run_id)
    data = _to_arrow(relation, _records(rows), constants)
    check_run(relation, data, run_id)
    check_constraints(relation, data)
    data = data.sort_by([(name, "ascending") for name in relation.key])
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        options = {"compression": "zstd", "version": "2.6", "store_schema": False}
        with pq.ParquetWriter(stream, data.schema, **options) as writer:
            writer.write_table(data)
            writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION)})
    return path


def remove_rows(inbox_root: Path | str, table: str, run_id: str, unit: str) -> None:
    """Remove the file of a unit of work that turned out to have no rows, if there is one."""
    rows_path(inbox_root, table, run_id, unit).unlink(missing_ok=True)


def rows_path(inbox_root: Path | str, table: str, run_id: str, unit: str) -> Path:
    """Where the file of a unit of work is, or would be; raises BadInputError for names that cannot be in a path."""
    check_name("run id", run_id)
    check_name("unit", unit)
    return Path(inbox_root) / table / run_id / f"{unit}.parquet"


def has_rows(inbox_root: Path | str, table: str, run_id: str, unit: str) -> bool:
    """Whether there is a file of a unit of work."""
    return rows_path(inbox_root, table, run_id, unit).is_file()


def check_name(what: str, name: str) -> None:
    """Raise BadInputError unless ``name`` can be part of a path in the inbox; ``what`` says whose name it is."""
    if not _SAFE_NAME.fullmatch(name):
        raise BadInputError(f"{what} {name!r} cannot be a file name: use letters, digits and . _ = @ + -")


def read_rows(relation: Relation, path: Path) -> pa.Table:
    """The rows of an inbox file in today's columns, whichever version of the schema it was written with.

    Raises BadInputError when it is no Parquet file, is of a newer schema, has not the columns of its version, or holds
    numbers that are none (NaN, infinite).
    """
    try:
        with open(path, "rb") as stream, pq.ParquetFile(stream) as file:
            version = _written_version(file.metadata.metadata or {})
            data = file.read()
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"not readable as Parquet: {first_line(error)}") from error
    rows = upgrade(relation, data, version)
    _check_finite(relation, rows)
    return rows


def _written_version(metadata: Mapping[bytes, bytes]) -> int | None:
    """The schema version in the metadata of a Parquet file; None where it says none."""
    text = metadata.get(VERSION_KEY)
    if text is None:
        return None
    if not re.fullmatch(rb"[1-9][0-9]{0,8}", text):
        raise BadInputError(f"{VERSION_KEY.decode()} in its metadata is {text!r}, not a schema version")
    return int(text)


def _check_finite(relation: Relation, data: pa.Table) -> None:
    """Raise BadInputError with the column and the first row that holds NaN or an infinite number."""
    for field in data.schema:
        if not pa.types.is_floating(field.type):
            continue
        wrong = pc.fill_null(pc.invert(pc.is_finite(data.column(field.name))), False)
        if count := pc.sum(wrong).as_py():
            (row,) = data.filter(wrong).slice(0, 1).to_pylist()
            named = ", ".join(f"{name}={row[name]!r}" for name in relation.key if row[name] is not None)
            raise BadInputError(
                f"column {field.name} holds {row[field.name]} where a number is needed, in {count} of "
                f"{data.num_rows} rows (first: {named}); rewrite the file without them"
            )


def check_run(relation: Relation, data: pa.Table, run_id: str) -> None:
    """Rows belong to the run whose folder they lie in. Raises BadInputError where they do not."""
    if "run_id" not in data.column_names:
        return
    if others := sorted({str(name) for name in data.column("run_id").to_pylist()} - {run_id}):
        raise BadInputError(f"table {relation.name}: rows of run {', '.join(others)} among those of {run_id}")


def check_constraints(relation: Relation, data: pa.Table) -> None:
    """Try the rows on an empty copy of the table. Raises BadInputError with the constraint that is broken."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        create_table(connection, relation.name)
        connection.register("incoming", data)
        try:
            connection.execute(f"insert into {relation.name} by name select * from incoming")
        except duckdb.ConstraintException as error:
            raise BadInputError(f"table {relation.name}: {first_line(error)}") from error
    _check_unique_with_nulls(relation, data)


def _relation(table: str) -> Relation:
    tables = inbox_tables()
    if table not in tables:
        raise BadInputError(
            f"no table {table!r} takes rows{did_you_mean(table, tables)}; there are: {', '.join(tables)}"
        )
    return tables[table]


def _records(rows: Rows | pd.DataFrame) -> list[dict[str, Any]]:
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        plain = rows.astype(object)
        return [
            {str(k): v for k, v in row.items()} for row in plain.where(rows.notna(), None).to_dict("records")
        ]
    return [dict(row) if isinstance(row, Mapping) else asdict(row) for row in rows]


def _to_arrow(relation: Relation, records: list[dict[str, Any]], constants: dict[str, Any]) -> pa.Table:
    known = {column.name for column in relation.columns}
    if strange := sorted({*constants, *(name for record in records for name in record)} - known):
        told = ", ".join(f"{name}{did_you_mean(name, known)}" for name in strange)
        raise BadInputError(f"table {relation.name} has no column {told}; it has {sorted(known)}")
    arrays = []
    for column in relation.columns:
        default = constants.get(column.name)
        values = [
            _clean(relation, column, row, record.get(column.name, default))
            for row, record in enumerate(records)
        ]
        arrays.append(pa.array(values, type=column.arrow_type))
    return pa.Table.from_arrays(arrays, schema=relation.arrow_schema)


def _clean(relation: Relation, column: Column, row: int, value: Any) -> Any:
    where = f"table {relation.name}, row {row}, column {column.name}"
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    missing = value is None or value != value
    if missing:
        if not column.nullable:
            raise BadInputError(f"{where}: a value is required, got {value!r}")
        return None
    if isinstance(value, float) and math.isinf(value):
        raise BadInputError(f"{where}: a finite number is needed, got {value}")
    try:
        return _CONVERTERS[column.sql_type](value)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{where}: expected {column.sql_type.lower()}, got {value!r}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise TypeError
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError
    return 0.0 if value == 0 else float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _instant(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise TypeError
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _check_unique_with_nulls(relation: Relation, data: pa.Table) -> None:
    """SQL holds two nulls for different; a key does not."""
    seen: set[tuple[Any, ...]] = set()
    for key in zip(*(data.column(name).to_pylist() for name in relation.key), strict=True):
        if key in seen:
            named = ", ".join(f"{name}={value!r}" for name, value in zip(relation.key, key, strict=True))
            raise BadInputError(f"table {relation.name}: two rows with the same key ({named})")
        seen.add(key)


_CONVERTERS = {
    "VARCHAR": _text,
    "INTEGER": _whole,
    "BIGINT": _whole,
    "DOUBLE": _real,
    "BOOLEAN": _truth,
    "TIMESTAMP": _instant,
}
