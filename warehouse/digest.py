"""Content digests: whether two warehouses say the same, whatever clock or machine they were made on.

Left out are tables and columns whose SQL comment ends in ``[volatile]`` (timings, start times, host names),
and rows of metrics that are measured with a clock (``metrics.is_wall_clock``; training values ending in ``_s``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from lipforcing_core.base.errors import WarehouseError
from warehouse.connection import open_snapshot
from warehouse.schema import relations

WALL_CLOCK_ROWS = {
    "metric_values": "metric in (select metric from metrics where is_wall_clock)",
    "paired_differences": "metric in (select metric from metrics where is_wall_clock)",
    "training_steps": "ends_with(name, '_s')",
}
"""Rows left out of the digest, as a condition per table."""

_ROWS_AT_A_TIME = 10_000


def digest(
    warehouse_path: Path | str,
    *,
    ignore_run_id: bool = False,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, str]:
    """Hex SHA-256 of the comparable content of every table; equal digests mean equal rows.

    ``ignore_run_id`` compares two runs of different names. ``columns`` names the tables and columns to read instead,
    for a comparison with a warehouse of an earlier schema. Raises as ``open_snapshot`` does, and WarehouseError for a
    snapshot of an earlier schema that has not all columns.
    """
    chosen = _comparable_columns(ignore_run_id) if columns is None else columns
    result = {}
    with open_snapshot(warehouse_path) as connection:
        for table, names in chosen.items():
            condition = WALL_CLOCK_ROWS.get(table, "false")
            try:
                rows = connection.execute(
                    f"select {', '.join(names)} from {table} where not ({condition}) order by all"
                )
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                raise WarehouseError(
                    f"{warehouse_path}: of an earlier schema, without all columns of {table}; "
                    "`lipforcing warehouse rebuild` brings it up to date"
                ) from error
            sha = hashlib.sha256(repr(list(names)).encode())
            while block := rows.fetchmany(_ROWS_AT_A_TIME):
                for row in block:
                    sha.update(repr(row).encode())
            result[table] = sha.hexdigest()
    return result


def _comparable_columns(ignore_run_id: bool) -> dict[str, list[str]]:
    """Of every table the columns that do not depend on a clock or a machine, and, if asked, not on the run's name."""
    chosen = {}
    for name, relation in relations().items():
        columns = [
            column.name
            for column in relation.columns
            if not column.volatile and not (ignore_run_id and column.name == "run_id")
        ]
        if columns and not relation.is_view and not relation.volatile:
            chosen[name] = columns
    return chosen
