"""What is known of sources besides their content: identity and licence, from sidecars and the table of the corpus."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.csv_file import CsvRow, read_csv_table
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_in, shown_name
from lipforcing_core.base.repeated_rows import Stated, stated
from lipforcing_core.base.suggestions import did_you_mean
from lipforcing_core.base.user_file import read_json_object, read_text
from lipforcing_core.base.value_words import complaint, shown_value
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.sources import (
    SIDECAR_SUFFIX,
    TABLE_NAME,
    VIDEO_SUFFIXES,
    Discovery,
    relative_path,
    sidecar_of,
    source_name,
)

KNOWN = tuple(name for name in SourceFacts.model_fields if name != "origin")
"""The facts that side information may hold; what a file was cut from is known to official corpora alone."""

COLUMNS = ("path", *KNOWN)


class FactError(BadInputError):
    """A row of side information, or a sidecar, that cannot be used: in which field, and what is wrong with that.

    file, line: where it stands; None where whoever asks knows, and for a sidecar, which is one row.
    """

    def __init__(
        self, field: str, problem: str, *, file: Path | None = None, line: int | None = None
    ) -> None:
        self.field, self.problem = field, problem
        self.file, self.line = file, line
        place = "" if file is None else f"{file}{f', line {line}' if line else ''}: "
        super().__init__(f"{place}{field}: {problem}")


def read_facts(path: Path | str, root: Path | str) -> SourceFacts:
    """Identity and licence of a source.

    From ``<video>.meta.json`` beside it, else from its row in ``sources.csv`` at the root (columns ``path`` and
    any of ``KNOWN``), else unknown. Raises ``FactError`` where its sidecar or its row is malformed or two of its rows
    contradict each other, and ``BadInputError`` for a table that is none.
    """
    sidecar = sidecar_of(Path(path))
    if os.path.lexists(sidecar):
        return facts_of(_in_sidecar(sidecar), file=sidecar)
    rows = _rows_of(Path(root)).by_name
    row = rows.get(relative_path(path, root)) or rows.get(source_name(path, root))
    if row is not None and row.error is not None:
        raise row.error
    return row.facts if row else SourceFacts()


def table_errors(root: Path) -> tuple[FactError, ...]:
    """The rows of ``sources.csv`` that cannot be used, by line; raises ``BadInputError`` for a table that is none.

    Rows that contradict an earlier one about the same video are among them.
    """
    table = _rows_of(root)
    known = dict.fromkeys(
        row.error for row in (*table.rows, *table.by_name.values()) if row.error is not None
    )
    return tuple(sorted(known, key=lambda error: error.line or 0))


def side_warnings(found: Discovery) -> tuple[str, ...]:
    """One line, with file and line, for everything in the side information of a corpus that has no effect.

    Rows that name no video, columns and keys that nobody knows, rows that repeat another, sidecars without a video,
    sound files that are not there. Malformed rows and sidecars are passed over: ``read_facts`` raises for them.
    Raises BadInputError for a table that is none, before hours of work.
    """
    warnings = list(_table_warnings(found.root))
    for path in found.sources:
        try:
            sound = read_facts(path, found.root).audio
        except FactError:
            continue
        if sound and not path_in(found.root, sound).is_file():
            warnings.append(f"{shown_name(path)}: its separate sound {shown_name(sound)} is not there")
        if os.path.lexists(sidecar_of(path)):
            warnings += _sidecar_warnings(sidecar_of(path))
    for path in found.stray_sidecars:
        warnings.append(_stray(path, found.sources))
    return tuple(warnings)


def _stray(sidecar: Path, sources: Iterable[Path]) -> str:
    """A sidecar of no video, with the names that were meant where it is called after a video without its suffix."""
    words = f"{shown_name(sidecar)}: there is no video of this name beside it"
    stem = sidecar.name.removesuffix(SIDECAR_SUFFIX)
    beside = (path for path in sources if path.parent == sidecar.parent and path.stem == stem)
    meant = [shown_name(sidecar_of(path).name) for path in sorted(beside)]
    return f"{words}; was {' or '.join(meant)} meant?" if meant else words


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of the table, with the line of the file that it begins in.

    name: of the video, empty where the row has none. error: why the row cannot be used.
    """

    line: int
    name: str
    facts: SourceFacts = field(default_factory=SourceFacts)
    error: FactError | None = None


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The rows of a table in their order, and by the video that they are about."""

    rows: tuple[_Row, ...] = ()
    by_name: Mapping[str, _Row] = field(default_factory=dict)
    repeated: Mapping[str, Stated[SourceFacts]] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Path, rows: tuple[_Row, ...]) -> _Table:
        """A malformed row counts as repaired where a row about the same video follows it; all others must agree."""
        usable = [row for row in rows if row.error is None]
        said = stated(((row.name, row.line, row.facts) for row in usable), _told)
        by_name = {row.name: row for row in rows}
        for name, known in said.items():
            if (found := known.contradiction) is not None:
                error = FactError(found.field, found.message, file=table, line=found.line)
                by_name[name] = _Row(line=found.line, name=name, error=error)
        return cls(rows=rows, by_name=by_name, repeated=said)


def _told(facts: SourceFacts) -> Mapping[str, object]:
    """The facts as side information writes them."""
    return facts.model_dump(mode="json", exclude_none=True)


def _rows_of(root: Path) -> _Table:
    table = root / TABLE_NAME
    if not table.is_file():
        return _Table()
    state = table.stat()
    return _table(table, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _table(table: Path, _mtime_ns: int, _size: int) -> _Table:
    """Every row of a table, read once for all sources of a corpus, and again when the file has changed."""
    rows = (_row(table, row) for row in read_csv_table(table, ["path"], lenient=True).rows)
    return _Table.of(table, tuple(rows))


def _row(table: Path, row: CsvRow) -> _Row:
    name = ""
    try:
        name = _below(table, row)
        if row.problem:
            raise FactError("row", row.problem, file=table, line=row.line)
        values = {key: value for key, value in row.fields.items() if key != "path"}
        return _Row(line=row.line, name=name, facts=facts_of(values, file=table, line=row.line))
    except FactError as error:
        return _Row(line=row.line, name=name, error=error)


def _below(table: Path, row: CsvRow) -> str:
    """A path of the table, plain or as ``shown_name`` writes it, relative to the folder of the table."""
    root, given = table.parent, row.fields["path"]
    if not given:
        raise FactError("path", "every row needs a 'path'", file=table, line=row.line)
    if "\0" in given or not path_in(root, given).resolve().is_relative_to(root.resolve()):
        raise FactError("path", f"{given!r} leaves the folder", file=table, line=row.line)
    joined = os.path.normpath(os.path.abspath(path_in(root, given)))
    return Path(os.path.relpath(joined, os.path.abspath(root))).as_posix()


def _in_sidecar(sidecar: Path) -> dict[str, Any]:
    try:
        return read_json_object(sidecar)
    except BadInputError as error:
        problem = str(error).removeprefix(f"{shown_name(sidecar)}: ")
        raise FactError("file", problem, file=sidecar) from error


def _table_warnings(root: Path) -> Iterator[str]:
    table = root / TABLE_NAME
    if not table.is_file():
        return
    label = shown_name(table)
    for column in read_csv_table(table, ["path"], lenient=True).header:
        if column not in COLUMNS:
            yield f"{label}, line 1: unknown column {shown_name(column)!r}{meant(column, COLUMNS)}"
    known = _rows_of(root)
    for row in known.rows:
        name = shown_name(row.name)
        if row.error is not None:
            continue
        if not os.path.lexists(root / row.name):
            yield f"{label}, line {row.line}: names {name}, which is not there"
        elif Path(row.name).suffix.lower() not in VIDEO_SUFFIXES:
            yield f"{label}, line {row.line}: names {name}, which is not taken for a video"
    for name, said in known.repeated.items():
        if words := said.repetition(shown_name(name)):
            yield f"{label}, line {said.line}: {words}"


def _sidecar_warnings(sidecar: Path) -> Iterator[str]:
    text = read_text(sidecar)
    for key in read_json_object(sidecar):
        if key not in KNOWN:
            line = text[: max(text.find(json.dumps(key)), 0)].count("\n") + 1
            hint = meant(key, KNOWN)
            yield f"{shown_name(sidecar)}, line {line}: unknown key {shown_name(key)!r}{hint}"


def meant(word: str, known: Iterable[str]) -> str:
    """The known word that an unknown one was meant to be, as the end of a clause; all of them where none is close."""
    return did_you_mean(word.lower(), known) or f" (known: {', '.join(known)})"


def facts_of(values: Mapping[str, Any], *, file: Path | None = None, line: int | None = None) -> SourceFacts:
    """The facts among the columns of a row, empty ones left out; ``FactError`` says which of them is no such fact."""
    known = {key: values[key] for key in KNOWN if values.get(key) not in (None, "")}
    try:
        facts = SourceFacts.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{complaint(first)} (got {shown_value(first['input'])})"
        raise FactError(str(first["loc"][0]), problem, file=file, line=line) from error
    if facts.audio and (
        "\0" in facts.audio or facts.audio.startswith("/") or ".." in Path(facts.audio).parts
    ):
        raise FactError("audio", f"path {facts.audio!r} leaves the folder", file=file, line=line)
    return facts
