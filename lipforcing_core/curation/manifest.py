"""The manifest and the decisions as Parquet files: same rows, same bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.packed_rows import batches
from lipforcing_core.base.products import atomic_path
from lipforcing_core.base.user_file import require_regular
from lipforcing_core.base.value_words import complaint, shown_value
from lipforcing_core.curation.records import MAY_LACK, SCORE_NAMES, ClipRecord, Decision, ScoredRow, Scores

BATCH_ROWS = 4096
"""So many rows of a table are in memory at once."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")

_ARROW = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def write_manifest(path: Path | str, clips: Iterable[ClipRecord]) -> None:
    """Write accepted clips, sorted by source and start frame."""
    ordered = sorted(clips, key=lambda c: (c.source, c.start_frame, c.clip_id))
    write_in_order(path, ClipRecord, ordered)


def read_manifest(path: Path | str) -> list[ClipRecord]:
    """The clips of a manifest. Raises BadInputError if it is not one, or if a path leaves its folder."""
    return list(clips_in(path))


def require_names(path: Path | str, clips: Sequence[ClipRecord]) -> None:
    """Raise ``BadInputError`` where an id or a split of these clips cannot be a file name, or an id stands twice."""
    for clip in clips:
        for column in ("clip_id", "split"):
            if not _PLAIN.fullmatch(getattr(clip, column)):
                raise BadInputError(
                    f"{path}: column {column}: {getattr(clip, column)!r} cannot be part of a file name; "
                    "letters, digits, - and _ can"
                )
    for name, count in Counter(clip.clip_id for clip in clips).most_common(1):
        if count > 1:
            raise BadInputError(f"{path}: column clip_id: {name} stands in {count} rows, and must be unique")


def require_clip_files(path: Path | str, clips: Sequence[ClipRecord]) -> None:
    """Raise ``BadInputError`` where the picture or the sound of one of these clips of a manifest is not there."""
    folder = Path(path).parent
    files = [name for clip in clips for name in (clip.clip_path, clip.audio_path)]
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInputError(
            f"{path}: {missing[0]}{more} of the files that it lists are not there; a manifest is of use only in the "
            "folder that curation wrote, with clips/ beside it"
        )


def write_decisions(path: Path | str, decisions: Iterable[Decision]) -> None:
    """Write decisions, sorted by source and start frame."""
    ordered = sorted(decisions, key=lambda d: (d.source, d.start_frame, d.stop_frame))
    write_in_order(path, Decision, ordered)


def read_decisions(path: Path | str) -> list[Decision]:
    """The decisions in a file of `write_decisions`."""
    return list(decisions_in(path))


def write_tables(path: Path | str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables, one after the other, as one Parquet file: the same rows give the same bytes."""
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as stream,  # arrow takes UTF-8 alone
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table)


def arrow_schema(model: type[ScoredRow]) -> pa.Schema:
    """Arrow columns of a record type: integers, floats and booleans as such, everything else as text.

    Scores are columns among the others, which may be null unless rows of this type are complete.
    """
    columns = []
    for name, field in model.model_fields.items():
        if field.annotation is Scores:
            hints = get_type_hints(Scores)
            columns += [
                _column(score, hints[score], nullable=not model.complete or score in MAY_LACK)
                for score in SCORE_NAMES
            ]
        else:
            columns.append(_column(name, field.annotation))
    return pa.schema(columns)


def _column(name: str, annotation: Any, *, nullable: bool = True) -> pa.Field:
    kinds: set[Any] = {annotation}
    if get_origin(annotation) in (Union, UnionType):
        kinds = set(get_args(annotation))
    (kind,) = kinds - {NoneType}
    return pa.field(name, _ARROW.get(kind, pa.string()), nullable=nullable and NoneType in kinds)


def write_in_order(path: Path | str, model: type[ScoredRow], rows: Iterable[ScoredRow]) -> None:
    """Write rows that come in the order in which they are to stand, of which only a few are in memory at once."""
    schema = arrow_schema(model)
    write_tables(path, schema, (table_of(batch, schema) for batch in batches(rows, BATCH_ROWS)))


def table_of(rows: Iterable[ScoredRow], schema: pa.Schema) -> pa.Table:
    """Rows as a table of those columns that a schema has."""
    return pa.Table.from_pylist([row.model_dump(mode="json") for row in rows], schema=schema)


def decisions_in(path: Path | str) -> Iterator[Decision]:
    """The decisions in a file of `write_decisions`, of which only a few are in memory at once."""
    return _rows(path, Decision)


def clips_in(path: Path | str) -> Iterator[ClipRecord]:
    """The clips of a manifest as ``read_manifest`` gives them, of which only a few are in memory at once."""
    root = Path(path).parent.resolve()
    for clip in _rows(path, ClipRecord):
        for name in (clip.clip_path, clip.audio_path, clip.alignment_path):
            if not (root / name).resolve().is_relative_to(root):
                raise BadInputError(
                    f"{path}: path {name!r} of clip {clip.clip_id} leaves the manifest's folder"
                )
        yield clip


def _rows(path: Path | str, model: type[Any]) -> Iterator[Any]:
    require_regular(Path(path))
    try:
        with open(path, "rb") as stream, pq.ParquetFile(stream) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield from (model.model_validate(row) for row in batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{path}: is not a readable Parquet file ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInputError(f"{path}: {complaint(first)}") from error
        raise BadInputError(
            f"{path}: column {first['loc'][-1]}: {complaint(first)} (got {shown_value(first['input'])})"
        ) from error
