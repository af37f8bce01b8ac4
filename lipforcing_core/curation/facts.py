"""What is known of sources besides their content: identity and licence, from sidecars and the table of the corpus."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.csv_file import read_csv_table
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_in, shown_name
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


def read_facts(path: Path | str, root: Path | str) -> SourceFacts:
    """Identity and licence of a source.

    From ``<video>.meta.json`` beside it, else from its row in ``sources.csv`` at the root (columns ``path`` and
    any of ``KNOWN``), else unknown. Raises BadInputError for a malformed file.
    """
    sidecar = sidecar_of(Path(path))
    if os.path.lexists(sidecar):
        return facts_of(read_json_object(sidecar), str(sidecar))
    rows = _rows_of(Path(root))
    row = rows.get(relative_path(path, root)) or rows.get(source_name(path, root))
    return row.facts if row else SourceFacts()


def side_warnings(found: Discovery) -> tuple[str, ...]:
    """One line, with file and line, for everything in the side information of a corpus that has no effect.

    Rows that name no video, columns and keys that nobody knows, rows that repeat another, sidecars without a video,
    sound files that are not there.
    Raises BadInputError for a malformed file, before hours of work.
    """
    warnings = list(_table_warnings(found.root))
    for path in found.sources:
        sound = read_facts(path, found.root).audio
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
    """A row of the table, with the line of the file that it begins in."""

    line: int
    name: str
    facts: SourceFacts


def _rows_of(root: Path) -> Mapping[str, _Row]:
    table = root / TABLE_NAME
    if not table.is_file():
        return {}
    state = table.stat()
    return {row.name: row for row in _table(table, state.st_mtime_ns, state.st_size)}


@lru_cache(maxsize=4)
def _table(table: Path, _mtime_ns: int, _size: int) -> tuple[_Row, ...]:
    """Every row of a table, read once for all sources of a corpus, and again when the file has changed."""
    rows = []
    for row in read_csv_table(table, ["path"]).rows:
        given = row.fields["path"]
        if not given:
            raise BadInputError(f"{table}, line {row.line}: every row needs a 'path'")
        origin = f"{table}, line {row.line}"
        facts = facts_of({key: value for key, value in row.fields.items() if key != "path"}, origin)
        rows.append(_Row(line=row.line, name=_below(table.parent, given, origin), facts=facts))
    return tuple(rows)


def _below(root: Path, given: str, origin: str) -> str:
    """A path of the table, plain or as ``shown_name`` writes it, relative to the folder of the table."""
    if "\0" in given or not path_in(root, given).resolve().is_relative_to(root.resolve()):
        raise BadInputError(f"{origin}: path {given!r} leaves the folder")
    joined = os.path.normpath(os.path.abspath(path_in(root, given)))
    return Path(os.path.relpath(joined, os.path.abspath(root))).as_posix()


def _table_warnings(root: Path) -> Iterator[str]:
    table = root / TABLE_NAME
    if not table.is_file():
        return
    label = shown_name(table)
    for column in read_csv_table(table, ["path"]).header:
        if column not in COLUMNS:
            yield f"{label}, line 1: unknown column {shown_name(column)!r}{meant(column, COLUMNS)}"
    state = table.stat()
    first: dict[str, int] = {}
    for row in _table(table, state.st_mtime_ns, state.st_size):
        name = shown_name(row.name)
        if not os.path.lexists(root / row.name):
            yield f"{label}, line {row.line}: names {name}, which is not there"
        elif Path(row.name).suffix.lower() not in VIDEO_SUFFIXES:
            yield f"{label}, line {row.line}: names {name}, which is not taken for a video"
        if row.name in first:
            yield f"{label}, line {row.line}: names {name} again after line {first[row.name]}; the last row counts"
        first.setdefault(row.name, row.line)


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


def facts_of(values: Mapping[str, Any], origin: str) -> SourceFacts:
    """The facts among the columns of a row, empty ones left out; ``BadInputError`` names ``origin`` and the column."""
    known = {key: values[key] for key in KNOWN if values.get(key) not in (None, "")}
    try:
        facts = SourceFacts.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(
            f"{origin}: {first['loc'][0]}: {complaint(first)} (got {shown_value(first['input'])})"
        ) from error
    if facts.audio and (
        "\0" in facts.audio or facts.audio.startswith("/") or ".." in Path(facts.audio).parts
    ):
        raise BadInputError(f"{origin}: audio: path {facts.audio!r} leaves the folder")
    return facts
