"""Find source videos and what is known of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.csv_file import read_csv
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.base.user_file import read_json_object
from lipforcing_core.curation.records import SourceFacts

_SUFFIXES = "mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts flv wmv 3gp ogv"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
SIDECAR_SUFFIX = ".meta.json"
TABLE_NAME = "sources.csv"


def discover_sources(folder_or_file: Path | str) -> list[Path]:
    """Video files of a folder and its sub-folders, sorted, or the one file given.

    Links are followed, to folders too. Files that cannot be opened and dangling links are among the files, to be
    accounted for. Hidden files and folders are skipped; a suffix counts in either case. Raises BadInputError where the
    path does not exist, holds no video, or has a folder that cannot be read.
    """
    root = Path(folder_or_file)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise BadInputError(f"{root}: there is no such file or folder")
    found = sorted(path for path in _files(root) if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise BadInputError(f"{root}: no videos here (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    return found


def _files(root: Path) -> Iterator[Path]:
    """Everything below ``root`` that is no folder and not hidden; a folder that is linked into itself counts once."""
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
        above = {os.path.realpath(parent) for parent in (Path(folder), *Path(folder).parents)}
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(folder, name)) not in above
        ]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _refuse_folder(error: OSError) -> None:
    raise BadInputError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error


def why_inaccessible(path: Path | str) -> str | None:
    """Why a source cannot be opened; None where it can be."""
    path = Path(path)
    try:
        if path.is_symlink() and not path.exists():
            return f"a link to {os.readlink(path)}, which is not there"
        if not path.is_file():
            return "no regular file"
        with open(path, "rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def source_sha256(path: Path | str, root: Path | str) -> str:
    """SHA-256 of a source's content; of its name where it cannot be opened, so that two such are no duplicates."""
    if why_inaccessible(path) is None:
        return file_sha256(path)
    return hashlib.sha256(f"inaccessible:{source_name(path, root)}".encode()).hexdigest()


def source_name(path: Path | str, root: Path | str) -> str:
    """The path relative to the root of the corpus, with forward slashes; raises BadInputError if outside it.

    A link counts where it stands: corpora are often folders of links to a store elsewhere.
    """
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    if not path.is_relative_to(root):
        raise BadInputError(f"{path}: lies outside the corpus folder {root}")
    return path.relative_to(root).as_posix()


def read_facts(path: Path | str, root: Path | str) -> SourceFacts:
    """Identity and licence of a source.

    From ``<video>.meta.json`` beside it, else from its row in ``sources.csv`` at the root (columns ``path`` and
    any of ``identity``, ``licence``, ``commercial_ok``), else unknown. Raises BadInputError for a malformed file.
    """
    path = Path(path)
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    if sidecar.is_file():
        return _facts(read_json_object(sidecar), sidecar)
    table = Path(root) / TABLE_NAME
    if table.is_file():
        state = table.stat()
        return _table(table, state.st_mtime_ns, state.st_size).get(source_name(path, root), SourceFacts())
    return SourceFacts()


@lru_cache(maxsize=4)
def _table(table: Path, _mtime_ns: int, _size: int) -> dict[str, SourceFacts]:
    """Every row of a table, read once for all sources of a corpus, and again when the file has changed."""
    facts: dict[str, SourceFacts] = {}
    for row in read_csv(table, ["path"]):
        name = row.pop("path")
        if not name:
            raise BadInputError(f"{table}: every row needs a 'path'")
        resolved = (table.parent / name).resolve()
        if not resolved.is_relative_to(table.parent.resolve()):
            raise BadInputError(f"{table}: path {name!r} leaves the folder")
        facts[Path(name).as_posix()] = _facts(row, table)
    return facts


def _facts(values: dict[str, Any], origin: Path) -> SourceFacts:
    known = {key: values[key] for key in SourceFacts.model_fields if values.get(key) not in (None, "")}
    try:
        return SourceFacts.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(
            f"{origin}: {first['loc'][0]}: {first['msg']} (got {first['input']!r})"
        ) from error
