"""Corpora and data sets in object stores: folders at a URI, copied to this file system and back by fsspec.

``s3://bucket/talks``, ``gs://...``, ``file://...``, ``sftp://...``: whatever fsspec knows. A corpus is mirrored into
the workspace, where all workers see it; only what is new or has changed there is fetched. A data set is complete at its
URI when its manifest is there, since that is copied last.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.products import atomic_path, content_key
from lipforcing_core.corpora import manifest
from lipforcing_core.curation.sources import TABLE_NAME, sidecar_of
from tasks.digests import source_digests
from tasks.progress import Advance, step
from tasks.workspace import Workspace

AT_ONCE = 8
MANIFEST = "manifest.parquet"
HASHES = ".lipforcing.json"
"""The SHA-256 of every file that was published, beside them: so a copy is known without being read."""

_VERSION = ("size", "ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "created")
"""What file systems call the properties that change with a file."""


def here(place: Path | str, workspace: Workspace) -> Path:
    """A path as it is, and the local copy of what a URI names, see ``mirrored``."""
    return mirrored(place, workspace) if isinstance(place, str) else place


def mirrored(uri: str, workspace: Workspace) -> Path:
    """The local copy of the folder or file at ``uri``, brought up to date first.

    It stands in the workspace under ``state/remote``. A manifest comes with the files that it names, and a video with
    its side information. Files appear when they are complete, so a copy that was killed goes on where it was; those
    that are gone at the URI are removed. Raises ``BadInputError`` where nothing can be listed there, and
    ``LipForcingError`` where a file cannot be fetched.
    """
    place = _Place.of(uri)
    files = place.files()
    if not files:
        raise BadInputError(f"{shown_name(uri)}: there is nothing there")
    home = workspace.state / "remote" / content_key(uri)
    folder = home / (place.parent.name or "corpus")
    known = _Fetched(home / "fetched.jsonl")
    _bring(place, files, folder, known)
    if place.is_file:
        files |= place.files_beside(folder / place.name)
        _bring(place, files, folder, known)
    for path in _files_below(folder):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    return folder / place.name if place.is_file else folder


def _bring(place: _Place, files: dict[str, list[str]], folder: Path, known: _Fetched) -> None:
    """Fetch those of the files that are not in ``folder`` in this version."""
    new = [name for name in files if known.get(name) != files[name] or not (folder / name).is_file()]

    def fetch(name: str) -> None:
        with atomic_path(folder / name) as temporary:
            place.system.get_file(place.at(name), str(temporary))
        known.add(name, files[name])

    if new:
        shown = shown_name(place.uri)
        with step(f"fetch {len(new)} of {len(files)} files of {shown}", "files") as advance:
            _each(fetch, new, advance, f"{shown}: cannot be fetched")


def publish(folder: Path, uri: str, workspace: Workspace) -> int:
    """Copy a finished data set to a URI, its manifest last; returns how many files had to be copied.

    Files that are there already with the same content stay, and so does what a URI holds beside them; those that an
    earlier publication has put there and this data set does not hold are removed. The log of the run and hidden files
    are not copied. A file that has not changed since it was last published is not read. Raises
    ``LipForcingError`` where one cannot be copied.
    """
    place = _Place.of(uri)
    there = place.files()
    known = place.read_json(HASHES) if HASHES in there else {}
    found = [path for path in _files_below(folder) if path.suffix != ".log" and not path.name.startswith(".")]
    files = {path.relative_to(folder).as_posix(): path for path in found}
    hashes = dict(zip(files, source_digests(found, folder, workspace.state), strict=True))
    new = [name for name in files if known.get(name) != hashes[name] or name not in there]

    def copy(name: str) -> None:
        place.system.makedirs(place.at(name).rpartition("/")[0], exist_ok=True)
        place.system.put_file(str(files[name]), place.at(name))

    with step(f"copy {len(new)} of {len(files)} files to {shown_name(uri)}", "files") as advance:
        for last in (False, True):
            part = [name for name in new if (name == MANIFEST) is last]
            _each(copy, part, advance, f"{shown_name(uri)}: cannot be written")
        for name in (
            known.keys() - hashes.keys()
        ) & there.keys():  # withdrawn since: no manifest names it any more
            place.system.rm_file(place.at(name))
        place.system.pipe(place.at(HASHES), json.dumps(hashes, indent=2, sort_keys=True).encode())
    return len(new)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What a URI names: a folder, or a single file in one, of a file system of fsspec."""

    uri: str
    system: Any
    parent: PurePosixPath
    name: str = ""

    @property
    def is_file(self) -> bool:
        return bool(self.name)

    @classmethod
    def of(cls, uri: str) -> _Place:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as error:
            raise BadInputError(f"{shown_name(uri)}: {error}") from error
        if "://" in root:  # such as of the web, whose servers list nothing
            raise BadInputError(
                f"{shown_name(uri)}: this kind of address has no folders that can be listed; fetch its files first, "
                "or name a bucket (s3://, gs://) or a folder"
            )
        path = PurePosixPath(root)
        try:
            system.invalidate_cache()
            if system.isfile(root):
                return cls(uri=uri, system=system, parent=path.parent, name=path.name)
        except Exception as error:  # every file system has exceptions of its own
            raise BadInputError(f"{shown_name(uri)}: cannot be read ({error})") from error
        return cls(uri=uri, system=system, parent=path)

    def at(self, relative: str) -> str:
        """The path there of a file below the folder."""
        return str(self.parent / relative)

    def files(self) -> dict[str, list[str]]:
        """Every file by its relative path, with what changes when it changes; empty where there is nothing."""
        return self._below(str(self.parent / self.name))

    def files_beside(self, local: Path) -> dict[str, list[str]]:
        """The files that belong to a single one, of which ``local`` is a copy, as ``files`` gives them.

        Of a manifest those that it names, of a video its sidecar and the table of its folder.
        """
        if local.suffix.lower() in manifest.SUFFIXES:
            wanted, found = manifest.named_files(local), self._below(str(self.parent))
        else:
            wanted = frozenset({sidecar_of(local).name, TABLE_NAME})
            found = self._below(str(self.parent), maxdepth=1)
        return {name: version for name, version in found.items() if name in wanted}

    def _below(self, folder: str, **options: Any) -> dict[str, list[str]]:
        try:
            found = self.system.find(folder, detail=True, **options)
        except FileNotFoundError:
            return {}
        except Exception as error:  # every file system has exceptions of its own
            raise BadInputError(f"{shown_name(self.uri)}: cannot be listed ({error})") from error
        return {self._relative(path): _version(info) for path, info in found.items()}

    def read_json(self, name: str) -> dict[str, str]:
        """The object in a file of ours; empty where it is none."""
        try:
            found = json.loads(self.system.cat_file(self.at(name)))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _relative(self, path: str) -> str:
        relative = PurePosixPath(path).relative_to(self.parent)
        if ".." in relative.parts:
            raise BadInputError(f"{shown_name(self.uri)}: {shown_name(path)} leads out of its folder")
        return str(relative)


class _Fetched:
    """Which version of every file has been fetched: a log with a line for each, so that a kill loses one at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions: dict[str, list[str]] = {}
        self._lock = Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            try:
                name, version = json.loads(line)
            except ValueError:  # cut off by a kill
                continue
            self._versions[name] = version

    def get(self, name: str) -> list[str] | None:
        return self._versions.get(name)

    def add(self, name: str, version: list[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, open(self._path, "a", encoding="utf-8") as stream:
            stream.write("\n" * (stream.tell() > 0) + json.dumps([name, version]))


def _version(info: dict[str, Any]) -> list[str]:
    return [f"{name}={info[name]}" for name in _VERSION if info.get(name) is not None]


def _each(work: Callable[[str], None], names: list[str], advance: Advance, problem: str) -> None:
    """Do some at once; raises ``LipForcingError`` for the first that fails, when those at work are done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(work, name): name for name in names}
        try:
            for number, future in enumerate(as_completed(running), start=1):
                try:
                    future.result()
                except Exception as error:  # every file system has exceptions of its own
                    raise LipForcingError(f"{problem}: {shown_name(running[future])} ({error})") from error
                advance(number, len(names))
        finally:
            pool.shutdown(cancel_futures=True)


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
