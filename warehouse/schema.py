"""The schema: numbered SQL files, one table or view each, and what can be read back from them.

The SQL files are the only place where tables, columns, keys and comments are written down. Parquet schemas,
merge keys, the content digest and the data dictionary are all derived from a database they were applied to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.migrations.catalogue import CURRENT_VERSION

SCHEMA_VERSION = CURRENT_VERSION
"""Raised with every change of the SQL files that changes a table: each is a file in ``warehouse/migrations``."""

VOLATILE = "[volatile]"
"""Ends the comment of a table or column that holds wall-clock measurements or facts about one machine."""

SQL_FOLDER = Path(__file__).parent / "sql"
"""The SQL files; one table or view each, created in the order of their numbers."""

NOT_FROM_INBOX = frozenset({"schema_version", "inbox_files", "published_results", "ablation_rows"})

_ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table or view: its SQL type, whether it may be null, and its comment."""

    name: str
    sql_type: str
    nullable: bool
    comment: str

    @property
    def volatile(self) -> bool:
        """Whether it is left out when the content of two warehouses is compared."""
        return self.comment.endswith(VOLATILE)

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of the column in inbox files."""
        return _ARROW_TYPES[self.sql_type]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table or view. ``key`` names the columns that identify a row; empty for views and single-row tables."""

    name: str
    is_view: bool
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def volatile(self) -> bool:
        """Whether the whole relation is left out when the content of two warehouses is compared."""
        return self.comment.endswith(VOLATILE)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The one schema that inbox files of this table have."""
        return pa.schema([pa.field(c.name, c.arrow_type, nullable=c.nullable) for c in self.columns])


def apply_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every table and view in an empty database, in the order of the file numbers."""
    for path in _sql_files():
        connection.execute(path.read_text(encoding="utf-8"))


def create_table(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Create one table alone."""
    (path,) = (path for path in _sql_files() if path.stem[4:] == name)
    connection.execute(path.read_text(encoding="utf-8").split(";", 1)[0])


@lru_cache(maxsize=1)
def relations() -> dict[str, Relation]:
    """Every table and view by name, in the order of the SQL files."""
    with duckdb.connect(":memory:") as connection:
        apply_schema(connection)
        return _read_relations(connection)


def inbox_tables() -> dict[str, Relation]:
    """The tables that workers may write to."""
    return {
        name: relation
        for name, relation in relations().items()
        if not relation.is_view and name not in NOT_FROM_INBOX
    }


@lru_cache(maxsize=1)
def schema_sha256() -> str:
    """Hash of all SQL files."""
    digest = hashlib.sha256()
    for path in _sql_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sql_files() -> list[Path]:
    return sorted(SQL_FOLDER.glob("[0-9]*.sql"))


def _read_relations(connection: duckdb.DuckDBPyConnection) -> dict[str, Relation]:
    columns: dict[str, list[Column]] = {}
    for table, name, sql_type, nullable, comment in connection.execute(
        "select table_name, column_name, data_type, is_nullable, coalesce(comment, '') "
        "from duckdb_columns() where not internal order by table_name, column_index"
    ).fetchall():
        column = Column(name=name, sql_type=sql_type, nullable=bool(nullable), comment=comment)
        columns.setdefault(table, []).append(column)
    keys = {
        table: tuple(names)
        for table, names in connection.execute(
            "select table_name, constraint_column_names from duckdb_constraints() "
            "where constraint_type in ('PRIMARY KEY', 'UNIQUE')"
        ).fetchall()
    }
    comments = connection.execute(
        "select table_name, coalesce(comment, ''), false from duckdb_tables() where not internal "
        "union all select view_name, coalesce(comment, ''), true from duckdb_views() where not internal"
    ).fetchall()
    found = {
        name: Relation(
            name=name,
            is_view=is_view,
            comment=comment,
            columns=tuple(columns[name]),
            key=keys.get(name, ()),
        )
        for name, comment, is_view in comments
    }
    return {path.stem[4:]: found[path.stem[4:]] for path in _sql_files()}
