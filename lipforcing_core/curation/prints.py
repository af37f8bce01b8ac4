"""``fingerprints.parquet`` of a data set: by what its clips are recognised, so that another set is held against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.packed_rows import batches
from lipforcing_core.base.products import StepStore, read_json
from lipforcing_core.curation.manifest import BATCH_ROWS, read_manifest, write_tables
from lipforcing_core.curation.records import ClipRecord, StoredClip
from lipforcing_core.curation.results import EmbeddingResult, FingerprintResult
from lipforcing_core.fingerprints.clips import FINGERPRINT_VERSION, ClipFingerprint, Fingerprint
from lipforcing_core.fingerprints.picture import NUM_BLOCKS, PictureFingerprint

MANIFEST = "manifest.parquet"
FINGERPRINTS = "fingerprints.parquet"
_COLUMNS = ("clip_id", "look", "motion", "codes")
_PLACE = ("source", "start_frame", "split")
"""Of each clip also these columns of the manifest, so that a data set is known by this file alone."""


@dataclass(frozen=True, kw_only=True)
class PrintedClip:
    """A clip and its fingerprint. ``origin``: the file that lists it, where that is another data set's."""

    clip_id: str
    source: str
    start_frame: int
    split: str
    fingerprint: Fingerprint
    origin: str = ""


def stored_fingerprint(clip: StoredClip, store: StepStore) -> ClipFingerprint | None:
    """The fingerprint that the store has of a clip; None for one that was curated before there were any."""
    if clip.fingerprint is None:
        return None
    return FingerprintResult.model_validate(read_json(store.root / clip.fingerprint)).fingerprint()


def stored_embedding(clip: StoredClip, store: StepStore) -> EmbeddingResult | None:
    """What a face network said of a clip; None where it was curated without one."""
    if clip.embedding is None:
        return None
    return EmbeddingResult.model_validate(read_json(store.root / clip.embedding))


def write_fingerprints(path: Path, clips: Iterable[ClipRecord], prints: Mapping[str, Fingerprint]) -> None:
    """Write the fingerprints of those clips that have one, ordered by clip id: same prints, same bytes."""
    kinds = (pa.string(), pa.string(), pa.binary(), pa.binary(), pa.string(), pa.int64(), pa.string())
    schema = pa.schema(
        list(zip((*_COLUMNS, *_PLACE), kinds, strict=True)),
        metadata={"fingerprint_version": str(FINGERPRINT_VERSION)},
    )
    places = sorted((c.clip_id, *(getattr(c, name) for name in _PLACE)) for c in clips if c.clip_id in prints)
    tables = (
        pa.Table.from_pylist([_row_of(prints[clip_id], clip_id, *place) for clip_id, *place in some], schema)
        for some in batches(places, BATCH_ROWS)
    )
    write_tables(path, schema, tables)


def _row_of(print_: Fingerprint, clip_id: str, *place: Any) -> dict[str, Any]:
    motion = print_.picture.motion_TB.astype("<i1").tobytes()
    codes = print_.codes_N.astype("<u4").tobytes()
    values = (clip_id, f"{print_.picture.look:016x}", motion, codes, *place)
    return dict(zip((*_COLUMNS, *_PLACE), values, strict=True))


def read_fingerprints(path: Path) -> dict[str, ClipFingerprint]:
    """The fingerprints in a file of ``write_fingerprints``, by clip id.

    Raises ``BadInputError`` for a file that is none or is missing, or that another version wrote.
    """
    return {row["clip_id"]: row["print"] for row in _read(path, _COLUMNS)}


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file of fingerprints, each with its fingerprint as ``print``."""
    again = "curate that data set again with this version"
    try:
        with open(path, "rb") as stream:
            table = pq.read_table(stream)
        version = (table.schema.metadata or {}).get(b"fingerprint_version", b"?").decode()
        if version != str(FINGERPRINT_VERSION):
            raise BadInputError(
                f"{path}: has fingerprints of version {version}, not {FINGERPRINT_VERSION}; {again}"
            )
        return [row | {"print": _print_of(row)} for row in table.select(list(columns)).to_pylist()]
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: there is no such file; {again}") from error
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path}: is no file of fingerprints ({error}); {again}") from error


def _print_of(row: Mapping[str, Any]) -> ClipFingerprint:
    motion_TB = np.frombuffer(row["motion"], dtype="<i1").reshape(-1, NUM_BLOCKS)
    return ClipFingerprint(
        picture=PictureFingerprint(look=int(row["look"], 16), motion_TB=motion_TB),
        codes_N=np.frombuffer(row["codes"], dtype="<u4"),
    )


def files_of_set(given: Path | str) -> tuple[Path, ...]:
    """The files that a data set is known by: a manifest and its fingerprints, or the fingerprints alone.

    given: a manifest, a file of fingerprints, or the folder of a curation or an export, which may hold no manifest.
    Raises ``BadInputError`` where there is no such file or folder.
    """
    given = Path(given)
    if not given.exists():
        raise BadInputError(
            f"{shown_name(given)}: there is no such data set; give a curation's manifest or an export's folder"
        )
    if given.is_dir():
        given = given / MANIFEST if (given / MANIFEST).is_file() else given / FINGERPRINTS
    return (given,) if given.name == FINGERPRINTS else (given, given.with_name(FINGERPRINTS))


def read_printed(sets: Sequence[Path | str]) -> list[PrintedClip]:
    """The clips of other data sets with their fingerprints; a set is given as for ``files_of_set``.

    Raises ``BadInputError`` where a manifest or its fingerprints cannot be read, or where one lacks a clip.
    """
    found: list[PrintedClip] = []
    for given in sets:
        manifest, *beside = files_of_set(given)
        if not beside:
            found += [_printed(row, manifest) for row in _read(manifest, (*_COLUMNS, *_PLACE))]
            continue
        prints = read_fingerprints(manifest.with_name(FINGERPRINTS))
        for clip in read_manifest(manifest):
            if clip.clip_id not in prints:
                raise BadInputError(
                    f"{manifest.with_name(FINGERPRINTS)}: lacks clip {clip.clip_id} of the manifest"
                )
            row = {name: getattr(clip, name) for name in ("clip_id", *_PLACE)}
            found.append(_printed(row | {"print": prints[clip.clip_id]}, manifest))
    return found


def _printed(row: Mapping[str, Any], origin: Path) -> PrintedClip:
    place = {name: row[name] for name in ("clip_id", *_PLACE)}
    return PrintedClip(**place, fingerprint=row["print"], origin=str(origin))
