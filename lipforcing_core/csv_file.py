"""CSV files that a user gives: a header, then rows, separated by commas."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lipforcing_core.errors import BadInputError

_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


def read_csv(path: Path, required: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file with a header that has the ``required`` columns; none where the file is empty.

    Raises ``BadInputError`` for a file that is no CSV, or naming the columns that are missing and, where the header
    looks like it, the separator that was used instead of commas.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path} is not a CSV file: {error}") from error
    if header is not None and (missing := [name for name in required if name not in header]):
        raise BadInputError(f"{path}: {_columns(missing)} missing in its first line{_hint(header)}")
    return rows


def _columns(names: Sequence[str]) -> str:
    return f"column{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _hint(header: Sequence[str]) -> str:
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return f"; the columns look separated by {name}, but commas are needed"
    return f" (found: {', '.join(header)})"
