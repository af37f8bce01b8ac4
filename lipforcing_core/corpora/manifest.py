"""A manifest: a table with one row a source, as CSV, Parquet or JSON lines.

Columns: ``path`` (relative to the folder of the manifest) and any of the facts of a source, of which a cell may be
empty: ``identity``, ``licence``, ``commercial_ok``, ``language``, ``split``, ``consent``, ``dataset``, ``audio``,
``ranges`` (``12.5-20; 30-45``) and ``crop`` (``x y width height``, or with ``@frame_height``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lipforcing_core.base.csv_file import csv_table
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_in, shown_name
from lipforcing_core.base.user_file import read_text, require_regular
from lipforcing_core.corpora.protocol import (
    CorpusListing,
    CorpusSource,
    Omission,
    TestList,
    counted,
    unusable,
)
from lipforcing_core.corpora.rows import LARGEST_ANNOTATIONS, Problems, RowError, json_object, quoted
from lipforcing_core.curation.facts import COLUMNS, KNOWN, FactError, facts_of, meant
from lipforcing_core.curation.sources import relative_path

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson")
LAYOUT = (
    "a manifest is a .csv, .parquet or .jsonl file with a column path and one row a source (or a folder with a file "
    "of that kind called manifest)"
)

Row = tuple[int, dict[str, Any], str]
"""The line of a row, its fields, and what is wrong with it as a whole; then the fields are what was probably meant."""


class Manifest:
    """The files that a table names, each with the facts of its row."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the rows of the table; those that cannot be used become problems, and files that are missing are
        counted."""
        path = _file(given)
        root = path.parent
        problems = Problems(root)
        unknown: dict[str, None] = {}
        missing: list[str] = []
        omitted: dict[Path, Omission] = {}

        def usable() -> Iterator[tuple[str, int, CorpusSource]]:
            for line, row, mistake in _rows(path, problems):
                unknown.update(dict.fromkeys(name for name in row if name not in COLUMNS))
                try:
                    if mistake:
                        raise RowError("row", mistake)
                    source = _source(row, root)
                    name = relative_path(source.path, root)
                    if not os.path.lexists(source.path):
                        missing.append(name)
                        continue
                    if source.facts.audio and not (root / source.facts.audio).is_file():
                        raise RowError("audio", f"{quoted(source.facts.audio)} is not there")
                    yield name, line, source
                except RowError as error:
                    problem = problems.add(path, line, error)
                    if (file := _file_of(row, root)) is not None:
                        omitted[file] = unusable(problem)

        found, refused = problems.agreed(
            path, usable(), lambda source: source.facts.model_dump(mode="json", exclude_none=True)
        )
        omitted |= {found.pop(name).path: unusable(problem) for name, problem in refused.items()}
        if not found and not problems.found and not missing:
            raise BadInputError(f"{shown_name(path)}: has no rows; {LAYOUT}")
        warnings = tuple(
            f"{shown_name(path)}: unknown column {shown_name(name)!r}{meant(name, COLUMNS)}"
            for name in unknown
        )
        return CorpusListing(
            root=root,
            sources=tuple(found[name] for name in sorted(found)),
            problems=tuple(problems.found),
            left_out=counted("files that the manifest names and that are not on disk", missing),
            warnings=(*warnings, *problems.repeated),
            omitted={file: why for file, why in omitted.items() if relative_path(file, root) not in found},
        )


def named_files(path: Path) -> frozenset[str]:
    """The files that the rows of a manifest name, relative to its folder, whether they are there or not.

    Raises ``BadInputError`` for what is no manifest.
    """
    rows = _rows(_file(path), Problems(path.parent))
    given = (row.get(name) for _, row, _ in rows for name in ("path", "audio"))
    return frozenset(os.path.normpath(name) for name in given if isinstance(name, str) and name)


def _file(given: Path) -> Path:
    if given.is_dir():
        files = [file for suffix in SUFFIXES if (file := given / f"manifest{suffix}").is_file()]
        if len(files) != 1:
            names = " and ".join(file.name for file in files) or "no manifest"
            raise BadInputError(f"{given}: holds {names}; name the file itself, {LAYOUT}")
        return files[0]
    require_regular(given)
    if given.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{given}: is called {given.suffix or 'without a suffix'}; {LAYOUT}")
    return given


def _source(row: dict[str, Any], root: Path) -> CorpusSource:
    given = row.get("path")
    if not isinstance(given, str) or not given:
        raise RowError("path", f"must be the path of a video, and is {quoted(given)}")
    if "\0" in given:
        raise RowError("path", f"{quoted(given)} is no path")
    path = _below(root, given)
    if path is None:
        raise RowError(
            "path", f"{quoted(given)} leaves the folder of the manifest; put the manifest above its files"
        )
    try:
        facts = facts_of({name: value for name, value in row.items() if name in KNOWN})
    except FactError as error:
        raise RowError(error.field, error.problem) from error
    return CorpusSource(path=path, facts=facts)


def _below(root: Path, given: str) -> Path | None:
    """The path that a row names; None where it leaves the folder of the manifest."""
    path = Path(os.path.normpath(os.path.abspath(path_in(root, given))))
    above = os.path.abspath(root)
    return root / path.relative_to(above) if path.is_relative_to(above) else None


def _file_of(row: dict[str, Any], root: Path) -> Path | None:
    """The file below the folder of the manifest that a row is about, if it is there."""
    given = row.get("path")
    path = _below(root, given) if isinstance(given, str) and given and "\0" not in given else None
    return path if path is not None and os.path.lexists(path) else None


def _rows(path: Path, problems: Problems) -> Iterator[Row]:
    kind = path.suffix.lower()
    rows = {".csv": _csv_rows, ".parquet": _parquet_rows}.get(kind, _json_rows)
    return rows(path, problems)


def _csv_rows(path: Path, _problems: Problems) -> Iterator[Row]:
    text = read_text(path, largest=LARGEST_ANNOTATIONS)
    try:
        table = csv_table(text)
    except ValueError as error:
        raise BadInputError(f"{shown_name(path)} is not a CSV file: {error}") from error
    if "path" not in table.header:
        raise BadInputError(f"{shown_name(path)}: column path is missing in its first line; {LAYOUT}")
    for row in table.rows:
        yield row.line, dict(row.fields), row.problem


def _json_rows(path: Path, problems: Problems) -> Iterator[Row]:
    for line, text in enumerate(read_text(path, largest=LARGEST_ANNOTATIONS).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            yield line, json_object(text), ""
        except RowError as error:
            problems.add(path, line, error)


def _parquet_rows(path: Path, problems: Problems) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as stream:
            file = pq.ParquetFile(stream)
            if "path" not in file.schema_arrow.names:
                raise BadInputError(f"{shown_name(path)}: column path is missing; {LAYOUT}")
            number = 1
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    yield number, row, ""
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{shown_name(path)}: is not a readable Parquet file ({error})") from error
