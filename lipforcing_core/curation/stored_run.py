"""A curation run as it lies on the disk, of this version or an older one; what it does not say is not recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import KEY_LENGTH
from lipforcing_core.base.suggestions import did_you_mean
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.records import ClipRecord, Decision
from lipforcing_core.curation.source_rows import SOURCES, SourceRow, read_source_rows

LATEST = "latest"
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """What a run has left. settings: as stored, names to values, perhaps of another version; empty if unknown.

    name: of the data set; empty where an older run has not recorded it.
    """

    folder: Path
    clips: tuple[ClipRecord, ...]
    decisions: tuple[Decision, ...]
    rows: tuple[SourceRow, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    hashes: tuple[str, ...] = ()
    started: str | None = None
    finished: str | None = None
    name: str = ""

    @property
    def run_id(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @cached_property
    def clip_of_id(self) -> dict[str, ClipRecord]:
        return {clip.clip_id: clip for clip in self.clips}

    @cached_property
    def row_of_source(self) -> dict[str, SourceRow]:
        return {row.source: row for row in self.rows}

    @cached_property
    def decisions_of_source(self) -> dict[str, list[Decision]]:
        """The decisions by source, in the order of the file; every source of the run is a key."""
        found: dict[str, list[Decision]] = {row.source: [] for row in self.rows}
        for decision in self.decisions:
            found.setdefault(decision.source, []).append(decision)
        return found

    def sha256_of(self, source: str) -> str | None:
        """The hash of a source's content; None where an older run has not recorded it."""
        if row := self.row_of_source.get(source):
            return row.sha256
        decisions = self.decisions_of_source.get(source, [])
        return self._hash_of_id.get(decisions[0].source_id) if decisions else None

    @cached_property
    def _hash_of_id(self) -> dict[str, str]:
        return {sha256[:KEY_LENGTH]: sha256 for sha256 in self.hashes}


def read_run(folder: Path) -> StoredRun:
    """The run in a folder. Raises ``BadInputError`` where there is none, or where it cannot be read."""
    folder = folder.resolve()
    if not (folder / "decisions.parquet").is_file():
        raise BadInputError(f"{folder}: is no folder of a curation run (it holds no decisions.parquet)")
    manifest = folder / "manifest.parquet"
    started, finished = _times(folder / "run.log")
    funnel = _mapping(folder / "funnel.json")
    settings = funnel.get("settings")
    config = _mapping(folder / "config.json")
    return StoredRun(
        folder=folder,
        clips=tuple(read_manifest(manifest)) if manifest.is_file() else (),
        decisions=tuple(read_decisions(folder / "decisions.parquet")),
        rows=tuple(read_source_rows(folder / SOURCES)),
        settings=settings if isinstance(settings, dict) else _as_mapping(config.get("settings")),
        hashes=_hashes(config.get("sources")),
        started=started,
        finished=finished,
        name=_name_in(funnel),
    )


def last_runs(runs: Path) -> dict[str, Path]:
    """The folder of the last run of every named data set, by its name.

    runs: the folder of all curation runs. Those that cannot be read are passed over.
    """
    found: dict[str, tuple[float, Path]] = {}
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        written = folder / "decisions.parquet"
        if folder.name == LATEST or not written.is_file():
            continue
        name = _name_in(_mapping(folder / "funnel.json"))
        moment = written.stat().st_mtime
        if name and moment >= found.get(name, (0.0, folder))[0]:
            found[name] = moment, folder
    return {name: folder for name, (_, folder) in sorted(found.items())}


def find_run(runs: Path, name: str) -> Path:
    """The folder of a run that somebody names: a folder, ``latest``, a run id, or an unambiguous beginning of one.

    runs: the folder of all curation runs. Raises ``BadInputError``, with the run that was probably meant.
    """
    given = Path(name)
    for folder in (given, given.parent):
        if (folder / "decisions.parquet").is_file() and (folder is given or given.is_file()):
            return folder
    known = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if name in known:
        return runs / name
    ids = [run for run in known if run != LATEST]
    if not ids:
        raise BadInputError(
            f"no curation has run here ({runs} holds no run); `lipforcing curate SOURCE` runs one"
        )
    fitting = [run for run in ids if run.startswith((name, f"curate-{name}"))] if name else []
    if len(fitting) == 1:
        return runs / fitting[0]
    if fitting:
        raise BadInputError(f"{name!r} may be any of these runs: {', '.join(fitting)}")
    raise BadInputError(
        f"no curation run {name!r} in {runs}{did_you_mean(name, known)}; `ls {runs}` lists them"
    )


def _times(log: Path) -> tuple[str | None, str | None]:
    """When the last run in this folder began and ended, from its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None, None
    times = [found.group() for line in lines if (found := _TIME.match(line))]
    begun = [time for line, time in zip(lines, times, strict=False) if " started " in line]
    return (begun[0] if begun else None), (times[-1] if times else None)


def _mapping(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file is not there, as in runs of other versions, or is none."""
    try:
        return _as_mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _name_in(funnel: Mapping[str, Any]) -> str:
    name = funnel.get("name")
    return name if isinstance(name, str) else ""


def _as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _hashes(listing: Any) -> tuple[str, ...]:
    """The hashes of a stored listing of names and hashes."""
    if not isinstance(listing, list):
        return ()
    return tuple(str(pair[1]) for pair in listing if isinstance(pair, list) and len(pair) == 2)
