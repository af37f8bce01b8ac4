"""Questions in SQL: read-only, on a published snapshot, with no way to other files or the network."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from lipforcing_core.base.errors import BadInputError
from warehouse.connection import open_snapshot

if TYPE_CHECKING:
    import pandas as pd

OutputFormat = Literal["table", "csv", "json", "markdown"]

_MAX_CELL_WIDTH = 48


def run_sql(warehouse_path: Path | str, sql: str) -> pd.DataFrame:
    """The result of one statement as a data frame.

    Raises BadInputError with DuckDB's own message for a statement that cannot be run (bad SQL, an attempt to
    write or to reach another file); where the snapshot cannot be opened, as ``open_snapshot`` does.
    """
    columns, rows = fetch(warehouse_path, sql)
    import pandas as pd

    return pd.DataFrame.from_records(rows, columns=columns)


def fetch(warehouse_path: Path | str, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """As ``run_sql``, but column names and rows as plain Python values; null is None. Needs no pandas."""
    with open_snapshot(warehouse_path) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise BadInputError(f"give one statement; there are {len(statements)} in {sql!r}")
            cursor = connection.execute(statements[0])
            return [item[0] for item in cursor.description], cursor.fetchall()
        except duckdb.Error as error:
            raise BadInputError(f"the statement cannot be run. {str(error).strip()}") from error


def render(columns: Sequence[str], rows: Sequence[Sequence[Any]], output: OutputFormat = "table") -> str:
    """Rows as text. ``table`` is aligned and cut to readable widths; ``csv`` and ``json`` keep every digit."""
    if output == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return stream.getvalue()
    if output == "json":
        records = [dict(zip(columns, map(_json_cell, row), strict=True)) for row in rows]
        return json.dumps(records, indent=2, ensure_ascii=False, default=_json_value) + "\n"
    cells = [[_cell(value) for value in row] for row in rows]
    if output == "markdown":
        lines = [list(columns), ["---"] * len(columns), *cells]
        return "".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines)
    numeric = [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    return _aligned(list(columns), cells, numeric)


def _aligned(columns: list[str], cells: list[list[str]], numeric: list[bool]) -> str:
    short = [[_cut(cell) for cell in line] for line in cells]
    widths = [max([len(name), *(len(line[i]) for line in short)]) for i, name in enumerate(columns)]
    header = "  ".join(
        n.rjust(w) if r else n.ljust(w) for n, w, r in zip(columns, widths, numeric, strict=True)
    )
    lines = [header.rstrip(), "  ".join("-" * width for width in widths)]
    for line in short:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, numeric, strict=True))
        lines.append("  ".join(padded).rstrip())
    lines.append(f"({len(cells)} row{'' if len(cells) == 1 else 's'})")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:z.6g}"
    return str(value).replace("\n", " ")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL_WIDTH else text[: _MAX_CELL_WIDTH - 3] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json_cell(value: Any) -> Any:
    """JSON has no NaN or infinity, and a DECIMAL is a number."""
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
