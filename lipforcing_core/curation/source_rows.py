"""What is stored of each source beside its decisions: ``sources.parquet``, one row a source."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_as_text
from lipforcing_core.base.packed_rows import batches
from lipforcing_core.base.products import StepStore, as_json
from lipforcing_core.curation.manifest import BATCH_ROWS, write_tables
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.steps import READ, read_key
from lipforcing_core.curation.wanted import Wanted

SOURCES = "sources.parquet"

_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("frames_in", pa.int64(), nullable=False),
        pa.field("frames_trimmed", pa.int64(), nullable=False),
        pa.field("decoder_message", pa.string(), nullable=False),
        pa.field("facts", pa.string()),
        pa.field("folder", pa.string()),
        pa.field("reading", pa.string()),
    ]
)


class SourceRow(BaseModel):
    """One source. ``folder`` is the corpus folder that its name is relative to, as text for JSON.

    facts: what the corpus says of it, as JSON; None where nobody asked. reading: the key of the step ``read`` in the
    step store; None where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    source_id: str
    sha256: str
    status: str
    frames_in: int
    frames_trimmed: int
    decoder_message: str
    facts: str | None = None
    folder: str | None = None
    reading: str | None = None

    @property
    def known_facts(self) -> dict[str, object] | None:
        """The facts that say something; None where they are not recorded."""
        if self.facts is None:
            return None
        return {name: value for name, value in json.loads(self.facts).items() if value is not None}


def source_rows(
    outcomes: Collection[SourceOutcome],
    settings: CurationSettings,
    *,
    store: StepStore,
    facts: Mapping[str, SourceFacts] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> Iterator[SourceRow]:
    """The rows of these outcomes. facts, folders: what the corpus says of a source and where it lies, by its name."""
    detectors = (d.scores.detector_backend for o in outcomes for d in o.decisions)
    detector = next(filter(None, detectors), None)
    for outcome in outcomes:
        known = None if facts is None else facts.get(outcome.source, SourceFacts())
        folder = (folders or {}).get(outcome.source)
        yield SourceRow(
            source=outcome.source,
            source_id=outcome.source_id,
            sha256=outcome.sha256,
            status=outcome.status.value,
            frames_in=outcome.frames_in,
            frames_trimmed=outcome.frames_trimmed,
            decoder_message=outcome.decoder_message,
            facts=None if known is None else as_json(known),
            folder=None if folder is None else path_as_text(Path(os.path.abspath(folder))),
            reading=_reading_of(outcome, settings, known or SourceFacts(), folder, detector, store),
        )


def _reading_of(
    outcome: SourceOutcome,
    settings: CurationSettings,
    facts: SourceFacts,
    folder: Path | None,
    detector: str | None,
    store: StepStore,
) -> str | None:
    """The key of the step that has read a source. A clip lies in its folder; without one the key is made again."""
    for clip in outcome.clips:
        step, *rest = PurePosixPath(clip.clip).parts
        if step == READ and rest:
            return rest[0]
    own = next(filter(None, (d.scores.detector_backend for d in outcome.decisions)), detector)
    if own is None or (facts.audio and folder is None):
        return None
    try:
        key = read_key(outcome.sha256, Wanted.of(facts, folder or ""), settings, own)
    except OSError:  # the sound that lay beside it is gone
        return None
    return key if (store.folder(READ, key) / StepStore.RESULT).is_file() else None


def write_source_rows(path: Path | str, rows: Iterable[SourceRow]) -> None:
    """Write the rows sorted by source: the same rows give the same bytes."""
    ordered = sorted(rows, key=lambda row: row.source)
    write_source_rows_in_order(path, ordered)


def write_source_rows_in_order(path: Path | str, rows: Iterable[SourceRow]) -> None:
    """As ``write_source_rows``, of rows that are sorted already; only a few of them are in memory at once."""
    tables = (
        pa.Table.from_pylist([row.model_dump() for row in some], schema=_SCHEMA)
        for some in batches(rows, BATCH_ROWS)
    )
    write_tables(path, _SCHEMA, tables)


def read_source_rows(path: Path | str) -> list[SourceRow]:
    """The rows of a file of ``write_source_rows``; none where there is no such file, as in older runs."""
    try:
        with open(path, "rb") as stream:
            return [SourceRow.model_validate(row) for row in pq.read_table(stream).to_pylist()]
    except FileNotFoundError:
        return []
    except (pa.ArrowException, OSError, ValidationError) as error:
        raise BadInputError(f"{path}: is not a table of sources ({error})") from error
