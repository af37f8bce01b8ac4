"""Questions in SQL: read-only, on a published snapshot, with no way to other files or the network."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import printable
from warehouse.connection import open_snapshot
from warehouse.formats import OutputFormat

MAX_CELL_WIDTH = 48
"""Characters of a cell that a table shows unless it is asked for everything."""

_NOT_ASCII_SAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def fetch(warehouse_path: Path | str, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and the rows of one statement as plain Python values; null is None.

    Raises BadInputError with DuckDB's own message for a statement that cannot be run (bad SQL, an attempt to
    write or to reach another file); where the snapshot cannot be opened, as ``open_snapshot`` does.
    """
    with open_snapshot(warehouse_path) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise BadInputError(
                    f"give one statement; there are {len(statements)} in {sql!r}"
                    + (
                        "; run them one by one, or join their rows with `union all by name`"
                        if statements
                        else ""
                    )
                )
            cursor = connection.execute(statements[0])
            return [item[0] for item in cursor.description], cursor.fetchall()
        except duckdb.OutOfMemoryException as error:
            raise BadInputError(
                f"the question needs more memory or temporary disk than it may have; ask for fewer rows or columns. "
                f"{str(error).strip()}"
            ) from error
        except duckdb.Error as error:
            raise BadInputError(f"the statement cannot be run. {str(error).strip()}") from error


def render(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    output: OutputFormat = OutputFormat.TABLE,
    *,
    full: bool = False,
    terminal: bool = False,
) -> str:
    """Rows as text. ``table`` is aligned and, unless ``full``, cut to readable widths, which it says; ``csv`` and
    ``json`` keep every digit.

    Characters that a terminal would act on are shown escaped in tables and Markdown. JSON writes them as its own
    escapes, which stand for the same text. CSV has none: it keeps them, unless it goes to a ``terminal``.
    """
    if output == OutputFormat.CSV:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return printable(stream.getvalue()) if terminal else stream.getvalue()
    if output == OutputFormat.JSON:
        names = _distinct(columns)
        records = [dict(zip(names, map(_json_cell, row), strict=True)) for row in rows]
        text = json.dumps(records, indent=2, ensure_ascii=False, default=_json_value) + "\n"
        return _NOT_ASCII_SAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    names = [_cell(name) for name in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    if output == OutputFormat.MARKDOWN:
        lines = [names, ["---"] * len(names), *cells]
        return "".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines)
    numeric = [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    return _aligned(names, cells, numeric, MAX_CELL_WIDTH if not full else None)


def _aligned(columns: list[str], cells: list[list[str]], numeric: list[bool], width: int | None) -> str:
    short = [[_cut(cell, width) for cell in line] for line in cells]
    widths = [max([len(name), *(len(line[i]) for line in short)]) for i, name in enumerate(columns)]
    header = "  ".join(
        n.rjust(w) if r else n.ljust(w) for n, w, r in zip(columns, widths, numeric, strict=True)
    )
    lines = [header.rstrip(), "  ".join("-" * width for width in widths)]
    for line in short:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, numeric, strict=True))
        lines.append("  ".join(padded).rstrip())
    num_cut = sum(
        a != b for line, whole in zip(short, cells, strict=True) for a, b in zip(line, whole, strict=True)
    )
    counted = f"{len(cells)} row{'' if len(cells) == 1 else 's'}"
    if num_cut:
        values = "1 value is" if num_cut == 1 else f"{num_cut} values are"
        counted += f"; {values} cut to {width} characters, --full shows everything"
    lines.append(f"({counted})")
    return "\n".join(lines) + "\n"


def _distinct(columns: Sequence[str]) -> list[str]:
    """The names with a number behind each that was there before, so that no column of an object is lost."""
    names: list[str] = []
    for name in columns:
        number, free = 0, name
        while free in names:
            number += 1
            free = f"{name}_{number}"
        names.append(free)
    return names


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:z.6g}"
    return printable(re.sub(r"[\r\n\t]+", " ", str(value)))


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json_cell(value: Any) -> Any:
    """JSON has no NaN or infinity, and a DECIMAL is a number."""
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
