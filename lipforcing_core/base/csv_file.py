"""CSV files that a user gives: a header, then rows, separated by commas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import require_regular

_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_NEEDS_QUOTES = "a field with a comma in it needs quotes"
_UNCLOSED = "a quote is opened and not closed, so the row is taken to end with its line"
_TEXT_BEHIND = "text follows the quote that closes a field (a quote inside a field is written twice)"


@dataclass(frozen=True, kw_only=True)
class CsvRow:
    """One row: its fields by column, and the line of the file that it begins in (the first line is 1).

    problem: why it cannot be used, empty where it can; its fields then tell no more than what it is probably about.
    """

    line: int
    fields: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """The columns and the rows of a file."""

    header: list[str]
    rows: list[CsvRow]


def read_csv(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a file with a header that has the ``required`` columns; see ``read_csv_table``."""
    return [row.fields for row in read_csv_table(path, required).rows]


def read_csv_table(path: Path, required: Sequence[str], *, lenient: bool = False) -> CsvTable:
    """The columns and rows of a file with a header that has the ``required`` columns; none where the file is empty.

    Blank lines are no rows. Fields that a row lacks at its end are "". Raises ``BadInputError`` for a file that cannot
    be read or is no CSV, naming the row that has more fields than the header or a quote that is not closed (rows count
    from 1 below the header), or naming the columns that are missing and, where the header looks like it, the separator
    that was used instead of commas. lenient: rows with a ``problem`` are for the caller to judge.
    """
    require_regular(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not a CSV file: {error}") from error
    try:
        table = csv_table(text)
    except ValueError as error:
        raise BadInputError(f"{path} is not a CSV file: {error}") from error
    if not table.header and not table.rows:
        return table
    if missing := [name for name in required if name not in table.header]:
        raise BadInputError(f"{path}: {_columns(missing)} missing in its first line{_hint(table.header)}")
    for number, row in enumerate(table.rows, start=1):
        if row.problem and not lenient:
            raise BadInputError(f"{path}, row {number}: {row.problem}")
    return table


def csv_table(text: str) -> CsvTable:
    """The table in a text. Raises ``ValueError`` where the first line is none.

    A row whose quote is not closed ends with its line, so that it does not swallow the rows below it.
    """
    records = _records(text)
    _, header, problem = next(records, (1, [], ""))
    if problem:
        raise ValueError(f"its first line cannot be read: {problem}")
    rows = []
    for line, fields, problem in records:
        if not problem and len(fields) > len(header):
            problem = (
                f"{len(fields)} fields, but the first line names {len(header)} columns ({_NEEDS_QUOTES})"
            )
        if fields or problem:
            known = zip_longest(header, fields[: len(header)], fillvalue="")
            rows.append(CsvRow(line=line, fields=dict(known), problem=problem))
    return CsvTable(header=header, rows=rows)


def _records(text: str) -> Iterator[tuple[int, list[str], str]]:
    """The line, the fields and the problem of every record, the header too.

    A field may hold line breaks. A record over several lines with fewer fields than the header is taken for one whose
    quote is closed by a quote of another row.
    """
    lines = list(io.StringIO(text, newline=""))
    width: int | None = None
    first = 0
    while first < len(lines):
        records = csv.reader(map(lines.__getitem__, range(first, len(lines))), strict=True)
        before, problem = 0, ""
        while not problem:
            try:
                fields = next(records, None)
            except csv.Error as error:
                problem = _what_is_wrong(error, records.line_num - before)
                break
            if fields is None:
                return
            if records.line_num - before > 1 and width is not None and len(fields) < width:
                problem = _UNCLOSED
                break
            width = len(fields) if width is None else width
            yield first + before + 1, fields, ""
            before = records.line_num
        first += before
        yield first + 1, _fields_of(lines[first]), problem
        first += 1


def _what_is_wrong(error: csv.Error, num_lines: int) -> str:
    """Why a record of so many lines cannot be read."""
    if num_lines > 1 or "end of data" in str(error):
        return _UNCLOSED
    return _TEXT_BEHIND if "expected after" in str(error) else str(error)


def _fields_of(line: str) -> list[str]:
    """The fields of a line that cannot be read, as they were probably meant."""
    try:
        *fields, last = next(csv.reader([line.rstrip("\r\n")]), [""])
    except csv.Error:
        return []
    return [*fields, *last.split(",")]


def _columns(names: Sequence[str]) -> str:
    return f"column{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _hint(header: Sequence[str]) -> str:
    if not any(header):
        return ", which is blank"
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return f"; the columns look separated by {name}, but commas are needed"
    return f" (found: {', '.join(header)})"
