"""Content digests: whether two warehouses say the same, whatever clock or machine they were made on.

Left out are tables and columns whose SQL comment ends in ``[volatile]`` (timings, start times, host names),
and rows of metrics that are measured with a clock (``metrics.is_wall_clock``; training values ending in ``_s``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from warehouse.connection import open_snapshot
from warehouse.schema import relations

WALL_CLOCK_ROWS = {
    "metric_values": "metric in (select metric from metrics where is_wall_clock)",
    "paired_differences": "metric in (select metric from metrics where is_wall_clock)",
    "training_steps": "ends_with(name, '_s')",
}
"""Rows left out of the digest, as a condition per table."""

_ROWS_AT_A_TIME = 10_000


def digest(warehouse_path: Path | str, *, ignore_run_id: bool = False) -> dict[str, str]:
    """Hex SHA-256 of the comparable content of every table; equal digests mean equal rows.

    ``ignore_run_id`` compares two runs of different names. Raises as ``open_snapshot`` does.
    """
    result = {}
    with open_snapshot(warehouse_path) as connection:
        for name, relation in relations().items():
            columns = [
                column.name
                for column in relation.columns
                if not column.volatile and not (ignore_run_id and column.name == "run_id")
            ]
            if relation.is_view or relation.volatile or not columns:
                continue
            condition = WALL_CLOCK_ROWS.get(name, "false")
            rows = connection.execute(
                f"select {', '.join(columns)} from {name} where not ({condition}) order by all"
            )
            sha = hashlib.sha256(repr(columns).encode())
            while block := rows.fetchmany(_ROWS_AT_A_TIME):
                for row in block:
                    sha.update(repr(row).encode())
            result[name] = sha.hexdigest()
    return result
