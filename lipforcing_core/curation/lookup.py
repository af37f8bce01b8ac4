"""Which source of a run somebody means: by the id of a clip, the path of a source, or a file that holds a clip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_from_text, shown_name
from lipforcing_core.base.products import KEY_LENGTH, sha256_once
from lipforcing_core.base.suggestions import did_you_mean
from lipforcing_core.curation.stored_run import StoredRun, last_runs, read_run

_HASH = re.compile(r"[0-9a-f]{4,64}")
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A source, and the clip of it that was asked for; None for the whole source."""

    source: str
    clip_id: str | None = None


class UnknownSourceError(BadInputError):
    """Nothing of a run is what somebody asks for."""


def look_up_in(runs: Path, run: StoredRun, asked: str) -> Asked:
    """``look_up``, whose error names the data sets that hold what is asked, if the last run of another one does.

    runs: the folder of all curation runs.
    """
    try:
        return look_up(run, asked)
    except UnknownSourceError as error:
        holding = _holding(runs, run, asked)
        if not holding:
            raise
        sets = " and ".join(f"{name} (--run {run_id})" for name, run_id in holding)
        own = f"the data set {run.name}, run {run.run_id}" if run.name else f"the run {run.run_id}"
        raise BadInputError(f"{asked}: is not in {own}, but in the data set {sets}") from error


def _holding(runs: Path, run: StoredRun, asked: str) -> list[tuple[str, str]]:
    """The other data sets with their last runs in which exactly one thing is what is asked."""
    found = []
    for name, folder in last_runs(runs).items():
        if name == run.name:
            continue
        try:
            look_up(read_run(folder), asked)
        except BadInputError:
            continue
        found.append((name, folder.name))
    return found


def look_up(run: StoredRun, asked: str) -> Asked:
    """The source that ``asked`` means in a run: first as a name, then as an id, then by the content of a file.

    Raises ``UnknownSourceError`` where nothing fits, and ``BadInputError`` where more than one thing does.
    """
    sources = run.decisions_of_source
    shown = shown_name(asked)
    for name in (asked, shown, shown.removeprefix("./")):
        if name in sources:
            return Asked(source=name)
    if found := _by_id(run, Path(asked).stem if Path(asked).suffix in (".mp4", ".wav", ".npz") else asked):
        return found
    if found := _by_path(run, asked):
        return found
    raise UnknownSourceError(
        f"{asked}: neither a clip nor a source of the run {run.run_id}"
        f"{did_you_mean(shown, [*sources, *run.clip_of_id]) or did_you_mean(Path(shown).name, sources)}; "
        "give the id of a clip, a path below the folder that was curated, or --run for another run"
    )


def _by_id(run: StoredRun, word: str) -> Asked | None:
    """A clip whose id begins so, or else a source whose content hash does."""
    if not _HASH.fullmatch(word):
        return None
    clips = [clip for clip in run.clips if clip.clip_id.startswith(word)]
    if len(clips) == 1:
        return Asked(source=clips[0].source, clip_id=clips[0].clip_id)
    if clips:
        raise _ambiguous(word, [f"{clip.clip_id} ({clip.source})" for clip in clips])
    fitting = {
        source
        for source, decisions in run.decisions_of_source.items()
        if (run.sha256_of(source) or "").startswith(word)
        or any(decision.source_id.startswith(word) for decision in decisions)
    }
    return _only(word, sorted(fitting))


def _by_path(run: StoredRun, asked: str) -> Asked | None:
    """The source at a path, or with the content of the file there; a file that holds a clip; or a fitting name.

    A file that is there and has other content than the source of its name is another file.
    """
    path = Path(asked)
    place = shown_name(path.absolute().as_posix() if path.exists() else path.as_posix())
    for row in run.rows:
        if row.folder is not None and f"{shown_name(path_from_text(row.folder))}/{row.source}" == place:
            return Asked(source=row.source)
    names = sorted(run.decisions_of_source)
    fitting = [name for name in names if f"/{name}".endswith(f"/{place}") or place.endswith(f"/{name}")]
    if path.is_file():
        sha256 = sha256_once(path)
        for clip in run.clips:
            if sha256 in (clip.clip_sha256, clip.audio_sha256):
                return Asked(source=clip.source, clip_id=clip.clip_id)
        same = [name for name in names if _has_content(run, name, sha256)]
        unknown = [name for name in fitting if run.sha256_of(name) is None]
        fitting = [name for name in same if name in fitting] or same or unknown
    return _only(asked, fitting)


def _has_content(run: StoredRun, source: str, sha256: str) -> bool:
    ids = {decision.source_id for decision in run.decisions_of_source[source]}
    return run.sha256_of(source) == sha256 or sha256[:KEY_LENGTH] in ids


def _only(asked: str, sources: Sequence[str]) -> Asked | None:
    if len(sources) > 1:
        raise _ambiguous(asked, sources)
    return Asked(source=sources[0]) if sources else None


def _ambiguous(asked: str, choices: Sequence[str]) -> BadInputError:
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    return BadInputError(f"{asked!r} may be any of these: {', '.join(choices[:_SHOWN])}{more}")
