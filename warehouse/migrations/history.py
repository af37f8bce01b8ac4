"""Files of earlier schemas: which columns a table had in a version, and the way of its rows to today's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from lipforcing_core.base.errors import BadInputError
from warehouse.migrations.catalogue import MIGRATIONS
from warehouse.migrations.steps import Columns, Migration

if TYPE_CHECKING:
    from warehouse.schema import Relation

FIRST_VERSION = 1


def columns_at(
    relation: Relation, version: int, migrations: Sequence[Migration] = MIGRATIONS
) -> Columns | None:
    """The columns that a table had in a version of the schema; None where the table did not exist yet."""
    columns: Columns | None = {field.name: field for field in relation.arrow_schema}
    for migration in reversed(migrations):
        for step in reversed(migration.steps):
            if columns is not None and migration.version > version and step.table == relation.name:
                columns = step.before(columns)
    return columns


def upgrade(
    relation: Relation, data: pa.Table, version: int | None, migrations: Sequence[Migration] = MIGRATIONS
) -> pa.Table:
    """Rows that were written with schema ``version`` (None: the file does not say, so the first) in today's columns.

    A column that may be null may be missing. Raises BadInputError for a file of a newer schema, and for one whose
    columns are not those of its version.
    """
    latest = migrations[-1].version if migrations else FIRST_VERSION
    written = FIRST_VERSION if version is None else version
    if written > latest:
        _refuse_newer(relation, data, written, latest)
    columns = columns_at(relation, written, migrations)
    if columns is None:
        raise BadInputError(
            f"schema {written}, which the file was written with, has no table {relation.name}"
        )
    _check_names(relation, data, columns, version)
    for name, field in columns.items():
        if name not in data.column_names:
            data = data.append_column(name, pa.nulls(data.num_rows, field.type))
        elif data.schema.field(name).type != field.type:
            raise BadInputError(
                f"column {name} is {data.schema.field(name).type}, table {relation.name} has {field.type}"
            )
    for migration in migrations:
        after = columns_at(relation, migration.version, migrations) or {}
        for step in migration.steps:
            if migration.version > written and step.table == relation.name:
                data = step.upgrade(data, after)
    return pa.table({name: data.column(name) for name in relation.arrow_schema.names})


def _refuse_newer(relation: Relation, data: pa.Table, written: int, latest: int) -> None:
    extra = sorted(set(data.column_names) - set(relation.arrow_schema.names))
    unknown = f" with columns unknown here ({', '.join(extra)})" if extra else ""
    raise BadInputError(
        f"written by a newer version of lipforcing: schema {written}{unknown}, this version knows up to {latest}; "
        "update lipforcing, then load again"
    )


def _check_names(relation: Relation, data: pa.Table, columns: Columns, version: int | None) -> None:
    required = {name for name, field in columns.items() if not field.nullable}
    unknown = sorted(set(data.column_names) - set(columns))
    missing = sorted(required - set(data.column_names))
    if unknown or missing:
        hint = "" if version else " (a file that does not say its schema version is read as version 1)"
        raise BadInputError(
            f"columns differ from table {relation.name}: unknown {unknown}, missing {missing}{hint}"
        )
    if len(set(data.column_names)) != len(data.column_names):
        raise BadInputError(f"two columns of the same name in {sorted(data.column_names)}")
