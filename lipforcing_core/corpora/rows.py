"""Annotation files, row by row: each row with the line that it begins in, and a problem for each that is no use."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO, TypeVar

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import printable, shortened, shown_name
from lipforcing_core.base.repeated_rows import stated
from lipforcing_core.base.user_file import no_constant, read_text, require_regular, require_whole_characters
from lipforcing_core.corpora.protocol import CorpusProblem
from lipforcing_core.curation.official import exact

LARGEST_ANNOTATIONS = 2_000_000_000
"""Bytes of a file that is read whole; the largest published one, of SpeakerVid-5M, has a tenth of this."""

CHUNK = 1 << 22
"""Characters of a JSON file that are read at a time."""

LARGEST_ROW = 1 << 26
"""Characters within which an object must end."""

_CLOCK = re.compile(r"(?:(?P<hours>\d{1,3}):)?(?P<minutes>\d{1,3}):(?P<seconds>\d{1,2}(?:\.\d{1,9})?)")
_SPACE = re.compile(r"[\s,]*")
_LONGEST_VALUE = 80


class RowError(ValueError):
    """A row cannot be used: which field, and what is wrong with it.

    file, line: where it stands, if the reader of the row knows it.
    """

    def __init__(self, field: str, message: str, line: int | None = None, file: Path | None = None) -> None:
        self.field = field
        self.line, self.file = line, file
        super().__init__(message)


T = TypeVar("T")


@dataclass(frozen=True)
class Problems:
    """Collects the problems of the annotation files of a corpus, whose names are relative to ``root``.

    repeated: a line for people about each thing of which several rows say the same.
    """

    root: Path
    found: list[CorpusProblem] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def add(self, path: Path, line: int | None, error: RowError) -> CorpusProblem:
        """Note that this row cannot be used, and return the note."""
        message = printable(str(error)).replace("\n", " ")
        problem = CorpusProblem(
            file=self._name(path), line=line, field=shown_name(error.field), message=message
        )
        self.found.append(problem)
        return problem

    def agreed(
        self,
        path: Path,
        rows: Iterable[tuple[str, int, T]],
        fields: Callable[[T], Mapping[str, object]],
    ) -> tuple[dict[str, T], dict[str, CorpusProblem]]:
        """What the rows of a file say of each name, and the problem of each name whose rows contradict each other.

        rows, fields: see ``stated``. Rows that say the same are noted in ``repeated`` and count once. Names with a
        problem are in both: what is said of them is that of the first row.
        """
        said, refused = {}, {}
        for name, known in stated(rows, fields).items():
            said[name] = known.value
            if (found := known.contradiction) is not None:
                refused[name] = self.add(path, found.line, RowError(found.field, found.message))
            elif words := known.repetition(shown_name(name)):
                self.repeat(path, known.line, words)
        return said, refused

    def repeat(self, path: Path, line: int, words: str) -> None:
        """Note that what this row says is said again further down."""
        self.repeated.append(f"{self._name(path)}, line {line}: {words}")

    def _name(self, path: Path) -> str:
        return shown_name(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold something, stripped, with their numbers; a comment begins with ``#``."""
    content = read_text(path, largest=LARGEST_ANNOTATIONS)
    for number, line in enumerate(io.StringIO(content, newline=None), start=1):
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
    return shortened(repr(value), _LONGEST_VALUE)


def exact_number(entry: Mapping[str, Any], name: str, *, what: str = "a number") -> Fraction:
    """A number, at least 0, of an object of annotations; ``RowError`` where it is missing or none of ``what``."""
    if name not in entry:
        raise RowError(name, "is missing")
    try:
        return exact(entry[name])
    except ValueError as error:
        raise RowError(name, f"must be {what}, at least 0, and is {quoted(entry[name])}") from error


def json_rows(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array or of JSON lines, each with the line that it begins in; the file is never held whole.

    An object with a mistake of syntax becomes a problem, and reading goes on behind it. Raises ``BadInputError`` for a
    file that is neither, or whose brackets do not match.
    """
    require_regular(path)
    try:
        with open(path, encoding="utf-8-sig") as stream:
            yield from _objects(_Window(stream), path, problems)
    except UnicodeDecodeError as error:
        raise BadInputError(f"{shown_name(path)} is not UTF-8 text") from error
    except OSError as error:
        raise BadInputError(f"{shown_name(path)}: cannot be read ({error.strerror})") from error


def json_object(text: str) -> dict[str, Any]:
    """The object in a JSON text; raises ``RowError`` for another value and for what is no JSON."""
    try:
        return _object(json.loads(text, parse_constant=no_constant), text)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, RowError) else _no_json(error) from error


class _Window:
    """The part of a text file that is being read, from ``start`` on, and the number of the line that it begins in."""

    def __init__(self, stream: TextIO) -> None:
        self.text = ""
        self.start = 0
        self._stream = stream
        self._line, self._counted = 1, 0

    def more(self) -> bool:
        """Read on; what lies before ``start`` is forgotten. False at the end of the file."""
        added = self._stream.read(CHUNK)
        self._line, self._counted = self.line, 0
        self.text, self.start = self.text[self.start :] + added, 0
        return bool(added)

    @property
    def line(self) -> int:
        """The line in which ``start`` is."""
        self._line += self.text.count("\n", self._counted, self.start)
        self._counted = self.start
        return self._line

    def next_value(self) -> str:
        """The first character of the next value, or the bracket that ends the list; empty at the end of the file."""
        while True:
            found = _SPACE.match(self.text, self.start)
            self.start = found.end() if found else self.start
            if self.start < len(self.text):
                return self.text[self.start]
            if not self.more():
                return ""


def _objects(window: _Window, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = json.JSONDecoder(parse_constant=no_constant)
    in_array = window.next_value() == "["
    window.start += in_array
    while first := window.next_value():
        if in_array and first == "]":
            return
        line = window.line
        try:
            value, end = decoder.raw_decode(window.text, window.start)
            if end == len(window.text) and window.more():  # a number may go on
                continue
            text, window.start = window.text[window.start : end], end
            yield line, _object(value, text)
        except RowError as error:
            problems.add(path, line, error)
        except (ValueError, RecursionError) as error:
            behind = _end_of_object(window.text, window.start) if first == "{" else None
            if behind is not None:
                problems.add(path, line, _no_json(error))
                window.start = behind
            elif len(window.text) - window.start > LARGEST_ROW or not window.more():
                what = "an object begins here that never ends; get the file again"
                words = what if first == "{" else "is no list of JSON objects"
                raise BadInputError(f"{shown_name(path)}, line {line}: {words}") from error
    if in_array:
        raise BadInputError(f"{shown_name(path)}: ends in the middle of its list; get the file again")


def _object(value: Any, text: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError("row", f"must be an object {{...}}, and is {quoted(value)}")
    try:
        require_whole_characters(value, text)
    except UnicodeEncodeError as error:
        raise RowError("row", "holds half a character (a surrogate without its partner)") from error
    return value


def _no_json(error: Exception) -> RowError:
    words = "nested too deeply" if isinstance(error, RecursionError) else str(error).split(":")[0].lower()
    return RowError("row", f"is no JSON ({words})")


_STRING = r'"(?:[^"\\\n]|\\.)*'
_STRUCTURE = re.compile(rf'{_STRING}"|(?P<open>{_STRING}\\?\Z)|[{{}}]')


def _end_of_object(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at ``start``, strings passed over; None where it is not in the text."""
    depth = 0
    for found in _STRUCTURE.finditer(text, start):
        if found["open"] is not None:
            return None
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end()
    return None
