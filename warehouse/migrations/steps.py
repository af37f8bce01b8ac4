"""The kinds of change that a migration is made of.

Each kind knows two things: how the columns of a table looked before the change (``before``), and how rows written
before it become rows written after it (``upgrade``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Columns = dict[str, pa.Field]
"""Columns of a table by name: the type that they have in inbox files, and whether they may be null."""


@dataclass(frozen=True, kw_only=True)
class AddTable:
    """The table exists from this version on."""

    table: str

    def before(self, columns: Columns) -> Columns | None:
        """The columns before the change: there was no table."""
        return None

    def upgrade(self, data: pa.Table, columns: Columns) -> pa.Table:
        """Rows after the change: there were none before."""
        return data


@dataclass(frozen=True, kw_only=True)
class AddColumn:
    """The column exists from this version on; in older rows it holds ``default``."""

    table: str
    column: str
    default: str | int | float | bool | None = None

    def before(self, columns: Columns) -> Columns | None:
        """The columns before the change."""
        return {name: field for name, field in columns.items() if name != self.column}

    def upgrade(self, data: pa.Table, columns: Columns) -> pa.Table:
        """Rows with the new column, filled with the default; ``columns`` are those after the change."""
        values = pa.array([self.default] * data.num_rows, columns[self.column].type)
        return data.append_column(self.column, values)


@dataclass(frozen=True, kw_only=True)
class RenameColumn:
    """The column that was called ``old`` is called ``new`` from this version on."""

    table: str
    old: str
    new: str

    def before(self, columns: Columns) -> Columns | None:
        """The columns before the change."""
        return {self.old if name == self.new else name: field for name, field in columns.items()}

    def upgrade(self, data: pa.Table, columns: Columns) -> pa.Table:
        """Rows under the new name."""
        return data.rename_columns([self.new if name == self.old else name for name in data.column_names])


@dataclass(frozen=True, kw_only=True)
class MapValues:
    """Some values of a column are written otherwise from this version on; values not named stay as they are."""

    table: str
    column: str
    values: Mapping[str | int | bool | None, str | int | bool | None]

    def before(self, columns: Columns) -> Columns | None:
        """The columns before the change, which are the same."""
        return columns

    def upgrade(self, data: pa.Table, columns: Columns) -> pa.Table:
        """Rows with the new values."""
        changed = [self.values.get(value, value) for value in data.column(self.column).to_pylist()]
        return _with_values(data, self.column, changed)


@dataclass(frozen=True, kw_only=True)
class Derive:
    """A column follows from others from this version on: ``rule`` takes the values of ``inputs`` of a row."""

    table: str
    column: str
    inputs: tuple[str, ...]
    rule: Callable[..., Any]

    def before(self, columns: Columns) -> Columns | None:
        """The columns before the change, which are the same."""
        return columns

    def upgrade(self, data: pa.Table, columns: Columns) -> pa.Table:
        """Rows with the derived values."""
        given = [data.column(name).to_pylist() for name in self.inputs]
        return _with_values(data, self.column, [self.rule(*values) for values in zip(*given, strict=True)])


Step = AddTable | AddColumn | RenameColumn | MapValues | Derive


@dataclass(frozen=True, kw_only=True)
class Migration:
    """All changes from the version before to ``version``, in order, and what they are for."""

    version: int
    summary: str
    steps: tuple[Step, ...]


def _with_values(data: pa.Table, column: str, values: list[Any]) -> pa.Table:
    index = data.schema.get_field_index(column)
    return data.set_column(index, column, pa.array(values, data.schema.field(index).type))
