"""Annotation files, row by row: each row with the line that it begins in, and a problem for each that is no use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import printable, shown_name
from lipforcing_core.base.user_file import read_text
from lipforcing_core.corpora.protocol import CorpusProblem

LARGEST_ANNOTATIONS = 2_000_000_000
"""Bytes; the largest published file, TalkVid's with captions, has a fifth of this."""

_CLOCK = re.compile(r"(?:(?P<hours>\d{1,3}):)?(?P<minutes>\d{1,3}):(?P<seconds>\d{1,2}(?:\.\d{1,9})?)")
_SPACE = re.compile(r"[\s,]*")
_LONGEST_VALUE = 80


class RowError(ValueError):
    """A row cannot be used: which field, and what is wrong with it; ``line`` where the reader of the row knows it."""

    def __init__(self, field: str, message: str, line: int | None = None) -> None:
        self.field = field
        self.line = line
        super().__init__(message)


@dataclass(frozen=True)
class Problems:
    """Collects the problems of the annotation files of a corpus, whose names are relative to ``root``."""

    root: Path
    found: list[CorpusProblem] = field(default_factory=list)

    def add(self, path: Path, line: int | None, error: RowError) -> None:
        """Note that this row cannot be used."""
        name = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        message = printable(str(error)).replace("\n", " ")
        self.found.append(
            CorpusProblem(file=shown_name(name), line=line, field=shown_name(error.field), message=message)
        )


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold something, stripped, with their numbers; a comment begins with ``#``."""
    for number, line in enumerate(read_text(path, largest=LARGEST_ANNOTATIONS).splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def clock_seconds(text: str) -> Fraction:
    """Seconds of a time that is written ``MM:SS`` or ``HH:MM:SS``; raises ``ValueError`` for another text."""
    found = _CLOCK.fullmatch(text)
    if found is None or Fraction(found["seconds"]) >= 60 or (found["hours"] and int(found["minutes"]) >= 60):
        raise ValueError(f"{quoted(text)} is no time (MM:SS or HH:MM:SS)")
    return int(found["hours"] or 0) * 3600 + int(found["minutes"]) * 60 + Fraction(found["seconds"])


def quoted(value: Any) -> str:
    """A value of an annotation as a message shows it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."


def json_rows(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array or of JSON lines, each with the line that it begins in.

    An object with a mistake of syntax becomes a problem, and reading goes on behind it. Raises ``BadInputError`` for a
    file that is neither, or whose brackets do not match.
    """
    text = read_text(path, largest=LARGEST_ANNOTATIONS)
    position = _SPACE.match(text)
    start = position.end() if position else 0
    in_array = text.startswith("[", start)
    start += in_array
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    line, counted_to = 1, 0
    while (start := _skip_space(text, start)) < len(text):
        line, counted_to = line + text.count("\n", counted_to, start), start
        if in_array and text[start] == "]":
            return
        try:
            value, start = decoder.raw_decode(text, start)
            if not isinstance(value, dict):
                raise RowError("row", f"must be an object {{...}}, and is {quoted(value)}")
            yield line, value
        except RowError as error:
            problems.add(path, line, error)
        except (ValueError, RecursionError) as error:
            if text[start] != "{":
                raise BadInputError(f"{shown_name(path)}, line {line}: is no list of JSON objects") from error
            words = str(error).split(":")[0].lower() if isinstance(error, ValueError) else "nested too deeply"
            problems.add(path, line, RowError("row", f"is no JSON ({words})"))
            start = _end_of_object(text, start, path, line)
    if in_array:
        raise BadInputError(f"{shown_name(path)}: ends in the middle of its list; get the file again")


def _skip_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


_STRUCTURE = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}]')


def _end_of_object(text: str, start: int, path: Path, line: int) -> int:
    """Behind the bracket that closes the one at ``start``; strings are passed over."""
    depth = 0
    for found in _STRUCTURE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end()
    raise BadInputError(
        f"{shown_name(path)}, line {line}: an object begins here that never ends; get the file again"
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
