"""Export a curated data set: whole or not at all, resumed after a kill, and never over something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from lipforcing_core.base.errors import BadInputError, SurroundingsError
from lipforcing_core.base.products import (
    atomic_path,
    content_key,
    file_sha256,
    one_process,
    read_json,
    short_name,
    write_json,
)
from lipforcing_core.curation.contract_text import failure_lines, stored_checks
from lipforcing_core.export.card import Card, make_card
from lipforcing_core.export.catalogue import EXPORTS
from lipforcing_core.export.curated import CuratedSet, changed_file, read_curated
from lipforcing_core.export.protocol import ExportForm, ExportSettings, Part, WrittenPart

RECORD = "export.json"
"""The file of an export that says what it was made from, and lists the others with their sizes and hashes."""

_LOCK = ".lock"

Advance = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Where an export is, and what it holds.

    reused: whether it was there before. broken: a line for each check of the curation's contract that fails.
    """

    folder: Path
    form: str
    card: Card
    files: tuple[WrittenPart, ...]
    reused: bool
    broken: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.num_bytes for file in self.files)


def write_export(
    manifest: Path | str,
    out_dir: Path | str,
    *,
    form: str,
    settings: ExportSettings,
    made: ExportForm | None = None,
    only: Collection[str] | None = None,
    advance: Advance | None = None,
) -> ExportReport:
    """Export the data set of a manifest into ``out_dir``, which appears when it is complete.

    Finished files of an export that was killed are kept beside ``out_dir`` in a hidden folder, and the same call goes
    on from there. A folder that holds an equal export (the same manifest, books, form and settings; every file there
    with its size) is reused. ``made`` is the form itself, where it is not the one of the catalogue; ``only`` are the
    ids of the clips that are exported, where not all are. Raises ``BadInputError`` for a folder that holds anything
    else, for an unknown form, for a manifest that cannot be exported, and for clip files that are not those of the
    manifest.
    """
    out_dir = Path(os.path.realpath(out_dir))
    exporter = made or EXPORTS[form].load()
    curated = read_curated(manifest)
    if only is not None:
        curated = replace(curated, clips=tuple(clip for clip in curated.clips if clip.clip_id in only))
    parts = list(exporter.parts(curated, settings))
    plan = [(part.name, part.num_bytes, part.sha256) for part in parts]
    key = content_key("export", form, exporter.version, settings, curated.key, plan)
    card = make_card(curated)
    report = partial(ExportReport, folder=out_dir, form=form, card=card, broken=_broken(curated))
    if (files := _finished(out_dir, form, key)) is not None:
        return report(files=files, reused=True)
    unfinished = out_dir.with_name(f".{short_name(out_dir.name)}.{content_key(key, out_dir.name)}.partial")
    with one_process(unfinished / _LOCK):
        if (files := _finished(out_dir, form, key)) is not None:  # another process finished it meanwhile
            shutil.rmtree(unfinished, ignore_errors=True)
            return report(files=files, reused=True)
        _require_space(unfinished, parts)
        written = _write(curated, parts, unfinished, advance or (lambda done, total: None))
        files = (*written, *_write_papers(exporter.papers(card, settings, written), unfinished))
        record = {
            "form": form,
            "version": exporter.version,
            "key": key,
            "name": settings.name,
            "num_clips": len(curated.clips),
            "files": [asdict(file) for file in files],
        }
        write_json(unfinished / RECORD, record)
        os.replace(unfinished, out_dir)
        (out_dir / _LOCK).unlink(missing_ok=True)
    return report(files=files, reused=False)


def _broken(curated: CuratedSet) -> tuple[str, ...]:
    """A line for each check that fails; one at least where the contract is broken, whatever version has written it."""
    lines = failure_lines(stored_checks(curated.contract))
    if not lines and curated.contract.get("success") is False:
        return ("its checks are in contract.json",)
    return tuple(lines)


def _finished(out_dir: Path, form: str, key: str) -> tuple[WrittenPart, ...] | None:
    """The files of the equal export in a folder; None for an absent or empty folder, BadInputError for all else."""
    if not os.path.lexists(out_dir) or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    elsewhere = "choose another folder with -o, or remove this one"
    if not out_dir.is_dir():
        raise BadInputError(f"{out_dir}: is not a folder; {elsewhere}")
    try:
        record = read_json(out_dir / RECORD)
        files = tuple(WrittenPart(**file) for file in record["files"])
        known = (record["form"], record["key"])
    except FileNotFoundError:
        raise BadInputError(f"{out_dir}: holds something that is not an export; {elsewhere}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BadInputError(f"{out_dir}: its {RECORD} is damaged; {elsewhere}") from error
    if known != (form, key):
        raise BadInputError(
            f"{out_dir}: holds another export ({known[0]}, {known[1]}) than this one ({form}, {key}); {elsewhere}"
        )
    for file in files:
        path = out_dir / file.name
        if not path.is_file() or path.stat().st_size != file.num_bytes:
            raise BadInputError(f"{path}: is missing or of another size than in {RECORD}; {elsewhere}")
    return files


def _require_space(unfinished: Path, parts: Sequence[Part]) -> None:
    device = unfinished.stat().st_dev
    new = [part for part in parts if not (unfinished / part.name).is_file()]
    needed = sum(p.num_bytes for p in new if p.origin is None or p.origin.stat().st_dev != device)
    free = shutil.disk_usage(unfinished).free
    if needed > free:
        raise SurroundingsError(
            f"{unfinished.parent}: the export needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, "
            "or choose a folder on another disk"
        )


def _write(curated: CuratedSet, parts: Sequence[Part], folder: Path, advance: Advance) -> list[WrittenPart]:
    """Write what is not there yet into the folder of an unfinished export."""
    for left in list(folder.rglob(".*.tmp*")):  # what an earlier, killed attempt was writing
        left.unlink()
    written, done = [], 0
    for part in parts:
        advance(done, len(curated.clips))
        path = folder / part.name
        if not path.is_file():
            with atomic_path(path) as temporary:
                part.write(temporary)
        sha256 = file_sha256(path)
        if part.sha256 not in (None, sha256):
            path.unlink()
            raise changed_file(curated.folder / part.name, sha256, part.sha256)
        written.append(
            WrittenPart(
                name=part.name,
                num_bytes=path.stat().st_size,
                sha256=sha256,
                num_clips=part.num_clips,
                split=part.split,
            )
        )
        done += part.num_clips
    advance(len(curated.clips), len(curated.clips))
    return written


def _write_papers(papers: Mapping[str, str], folder: Path) -> Iterator[WrittenPart]:
    for name, text in papers.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        path = folder / name
        yield WrittenPart(name=name, num_bytes=path.stat().st_size, sha256=file_sha256(path))
