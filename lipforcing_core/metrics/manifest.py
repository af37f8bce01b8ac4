"""What is evaluated: held-out items, and predictions listed in a manifest (clip id, path, SHA-256).

Nothing is guessed from file names, and a file that is not the one listed is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lipforcing_core.base.csv_file import read_csv
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_in
from lipforcing_core.base.products import file_sha256, write_json
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.base.user_file import no_file, read_json_value

UNRELATED_SUFFIX = "+unrelated_audio"

_REQUIRED = ("clip_id", "system", "path", "sha256")


class DrivenBy(StrEnum):
    """Which speech a prediction was made from. Every prediction is scored against the item's driving speech."""

    DRIVING = "driving"
    UNRELATED = "unrelated"  # a control: the same system, given a third speech
    OWN = "own"  # a control: the source as it is, with its own speech


@dataclass(frozen=True, kw_only=True)
class EvalItem:
    """One held-out clip: what the perfect answer is, what systems were given, and who is shown.

    truth_video: the perfect answer at 25 fps. source_video: what systems redraw. driving_audio, unrelated_audio: the
    speeches. identity: the person, over which intervals are resampled.
    """

    clip_id: str
    identity: str
    truth_video: Path
    driving_audio: Path
    source_video: Path | None = None
    unrelated_audio: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """One predicted video; ``sha256`` is that of the file when it was listed."""

    clip_id: str
    system: str
    path: Path
    sha256: str
    driven_by: DrivenBy = DrivenBy.DRIVING

    @property
    def label(self) -> str:
        """Name of the system in results: predictions from unrelated speech are a system of their own."""
        return self.system + UNRELATED_SUFFIX if self.driven_by is DrivenBy.UNRELATED else self.system


def record_prediction(
    clip_id: str, system: str, path: Path | str, *, driven_by: DrivenBy = DrivenBy.DRIVING
) -> PredictionRecord:
    """The record of a file as it is now."""
    path = Path(path)
    if problem := no_file(path):
        raise BadInputError(f"prediction {path} of {system} for {clip_id} {problem}")
    return PredictionRecord(
        clip_id=clip_id, system=system, path=path, sha256=file_sha256(path), driven_by=driven_by
    )


def write_predictions(path: Path | str, records: Iterable[PredictionRecord]) -> None:
    """Write a JSON manifest; paths inside its folder are stored relative to it."""
    root = Path(path).resolve().parent
    rows = []
    for record in records:
        target = record.path.resolve()
        rows.append(
            {
                "clip_id": record.clip_id,
                "system": record.system,
                "path": str(target.relative_to(root)) if target.is_relative_to(root) else str(target),
                "sha256": record.sha256,
                "driven_by": record.driven_by.value,
            }
        )
    write_json(path, rows)


def read_predictions(path: Path | str, *, root: Path | None = None) -> list[PredictionRecord]:
    """Read a manifest: CSV with a header, or a JSON list of objects.

    Columns ``clip_id``, ``system``, ``path``, ``sha256`` and optionally ``driven_by``. Paths are relative to ``root``
    (the manifest's folder if not given) and must not leave it. Hashes are checked when a clip is scored, so a file
    that is not there yet is listed as missing, not refused. Raises ``BadInputError`` naming the row that is wrong.
    """
    path = Path(path)
    if problem := no_file(path):
        raise BadInputError(f"predictions manifest {path} {problem}")
    root = (root or path.parent).resolve()
    records = [
        _record(row, root=root, where=f"{path}, row {number}")
        for number, row in enumerate(_rows(path), start=1)
    ]
    if not records:
        raise BadInputError(f"{path} lists no predictions")
    check_unique(records)
    return records


def check_unique(records: Sequence[PredictionRecord]) -> None:
    """Raise ``BadInputError`` where two predictions claim the same system and clip."""
    seen: set[tuple[str, str]] = set()
    for record in records:
        if (key := (record.label, record.clip_id)) in seen:
            raise BadInputError(f"two predictions of {record.label} for clip {record.clip_id}")
        seen.add(key)


def verified_path(record: PredictionRecord) -> Path | None:
    """The prediction's file, None where it does not exist; raises ``BadInputError`` where it is another file."""
    if not record.path.is_file():
        return None
    if (found := file_sha256(record.path)) != record.sha256:
        raise BadInputError(
            f"{record.path}: sha256 is {found}, the manifest lists {record.sha256}; "
            "list the file again if it was made anew"
        )
    return record.path


def _rows(path: Path) -> list[dict[str, str]]:
    if path.suffix.lower() == ".csv":
        return read_csv(path, _REQUIRED)
    rows = read_json_value(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInputError(f"{path} must hold a list of objects with {', '.join(_REQUIRED)}")
    return rows


def _record(row: dict[str, str], *, root: Path, where: str) -> PredictionRecord:
    if missing := [name for name in _REQUIRED if not row.get(name)]:
        raise BadInputError(f"{where}: {', '.join(missing)} missing")
    for name in (*_REQUIRED, "driven_by"):
        value = row.get(name) or ""
        if not isinstance(value, str) or "\0" in value:
            raise BadInputError(f"{where}: {name} must be a text, and is {str(value)[:60]!r}")
    target = path_in(root, row["path"]).resolve()
    if not target.is_relative_to(root):
        raise BadInputError(f"{where}: {row['path']} leaves {root}")
    sha256 = row["sha256"].lower()
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BadInputError(f"{where}: {row['sha256']!r} is not a SHA-256")
    driven_by = row.get("driven_by") or DrivenBy.DRIVING.value
    if driven_by not in list(DrivenBy):
        raise BadInputError(f"{where}: {unknown('driven_by', driven_by, DrivenBy)}")
    return PredictionRecord(
        clip_id=row["clip_id"],
        system=row["system"],
        path=target,
        sha256=sha256,
        driven_by=DrivenBy(driven_by),
    )
