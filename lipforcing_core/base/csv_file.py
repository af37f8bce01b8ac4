"""CSV files that a user gives: a header, then rows, separated by commas."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import require_regular

_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True, kw_only=True)
class CsvRow:
    """One row: its fields by column, and the line of the file that it begins in (the first line is 1).

    surplus: how many fields more than the header it has.
    """

    line: int
    fields: dict[str, str]
    surplus: int = 0


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """The columns and the rows of a file."""

    header: list[str]
    rows: list[CsvRow]


def read_csv(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a file with a header that has the ``required`` columns; see ``read_csv_table``."""
    return [row.fields for row in read_csv_table(path, required).rows]


def read_csv_table(path: Path, required: Sequence[str], *, allow_surplus: bool = False) -> CsvTable:
    """The columns and rows of a file with a header that has the ``required`` columns; none where the file is empty.

    Blank lines are no rows. Fields that a row lacks at its end are "". Raises ``BadInputError`` for a file that cannot
    be read or is no CSV, naming the row that has more fields than the header (rows count from 1 below it), or naming
    the columns that are missing and, where the header looks like it, the separator that was used instead of commas.
    allow_surplus: rows with more fields than the header are for the caller to judge; the fields behind are left out.
    """
    require_regular(path)
    found: list[tuple[int, list[str]]] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            lines = csv.reader(stream)
            header = next(lines, None)
            line = lines.line_num + 1
            for fields in lines:
                if fields:
                    found.append((line, fields))
                line = lines.line_num + 1
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path} is not a CSV file: {error}") from error
    if header is None:
        return CsvTable(header=[], rows=[])
    if missing := [name for name in required if name not in header]:
        raise BadInputError(f"{path}: {_columns(missing)} missing in its first line{_hint(header)}")
    for number, (_, fields) in enumerate(found, start=1):
        if len(fields) > len(header) and not allow_surplus:
            raise BadInputError(
                f"{path}, row {number}: {len(fields)} fields, but the first line names {len(header)} columns (a field "
                "with a comma in it needs quotes)"
            )
    return CsvTable(header=header, rows=[_row(line, header, fields) for line, fields in found])


def _row(line: int, header: Sequence[str], fields: Sequence[str]) -> CsvRow:
    known = zip_longest(header, fields[: len(header)], fillvalue="")
    return CsvRow(line=line, fields=dict(known), surplus=max(0, len(fields) - len(header)))


def _columns(names: Sequence[str]) -> str:
    return f"column{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _hint(header: Sequence[str]) -> str:
    if not any(header):
        return ", which is blank"
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return f"; the columns look separated by {name}, but commas are needed"
    return f" (found: {', '.join(header)})"
