"""Find source videos, and tell them apart by content."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.products import KEY_LENGTH, file_sha256, sha256_once

_SUFFIXES = (
    "mp4 m4v mov qt mkv webm avi divx mpg mpeg mpe m1v m2v vob ts mts m2ts mxf flv f4v wmv asf 3gp 3g2 ogv rm rmvb dv "
    "nut y4m gif"
)
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
SIDECAR_SUFFIX = ".meta.json"
TABLE_NAME = "sources.csv"

_LONGEST_SUFFIX = 12


@dataclass(frozen=True, kw_only=True)
class IgnoredFiles:
    """Files of one kind that are no sources: how many, and the first by name."""

    kind: str
    num_files: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """Everything that a corpus folder holds, each file counted once.

    ``sources`` are sorted; ``side_files`` are the sidecars of sources and the table at the root; ``stray_sidecars``
    belong to no source; everything else is ignored and counted by kind, the most frequent first.
    """

    root: Path
    sources: tuple[Path, ...]
    side_files: tuple[Path, ...] = ()
    stray_sidecars: tuple[Path, ...] = ()
    ignored: tuple[IgnoredFiles, ...] = ()

    @property
    def num_ignored(self) -> int:
        """Files that are neither sources nor about them."""
        return sum(entry.num_files for entry in self.ignored)


def ignored_line(ignored: tuple[IgnoredFiles, ...]) -> str:
    """One line for people, ``ignored: 3 .txt, 1 hidden``; empty where nothing was ignored."""
    if not ignored:
        return ""
    return "ignored: " + ", ".join(f"{entry.num_files} {entry.kind}" for entry in ignored)


def find_sources(
    folder_or_file: Path | str,
    *,
    leave_out: Collection[Path] = (),
    is_about: Callable[[Path], bool] = lambda path: False,
) -> Discovery:
    """Video files of a folder and its sub-folders, or the one file given, and a count of everything else.

    Links are followed, to folders too. Files that cannot be opened and dangling links are among the sources, to be
    accounted for. Hidden files and folders are ignored; a suffix counts in either case. ``leave_out`` are folders that
    are not looked into, and ``is_about`` says which other files belong to the sources. Raises BadInputError where the
    path does not exist, holds no video, or has a folder that cannot be read.
    """
    root = Path(folder_or_file)
    if root.is_file():
        return Discovery(root=root.parent, sources=(root,))
    if not root.is_dir():
        raise BadInputError(f"{root}: there is no such file or folder")
    hidden_folders: list[Path] = []
    files = sorted(_files(root, hidden_folders, {os.path.abspath(folder) for folder in leave_out}))
    sources = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and not _is_hidden(path)]
    if not sources:
        raise BadInputError(f"{root}: no videos here (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    about = {sidecar_of(path) for path in sources} | {root / TABLE_NAME}
    taken = about.union(sources)
    about.update(path for path in files if path not in taken and not _is_hidden(path) and is_about(path))
    rest = [path for path in files if path not in taken and path not in about]
    strays = [path for path in rest if path.name.endswith(SIDECAR_SUFFIX) and not _is_hidden(path)]
    ignored = [(_kind(path), path) for path in sorted(set(rest).difference(strays))]
    ignored += [("hidden folder", path) for path in sorted(hidden_folders)]
    return Discovery(
        root=root,
        sources=tuple(sources),
        side_files=tuple(path for path in files if path in about),
        stray_sidecars=tuple(strays),
        ignored=_counted(ignored, root),
    )


def sidecar_of(path: Path) -> Path:
    """Where the side information of a source lies if it has a file of its own."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _counted(ignored: list[tuple[str, Path]], root: Path) -> tuple[IgnoredFiles, ...]:
    counts = Counter(kind for kind, _ in ignored)
    first: dict[str, Path] = {}
    for kind, path in ignored:
        first.setdefault(kind, path)
    return tuple(
        IgnoredFiles(kind=kind, num_files=count, example=source_name(first[kind], root))
        for kind, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    )


def _kind(path: Path) -> str:
    if _is_hidden(path):
        return "hidden"
    suffix = path.suffix.lower()
    if not suffix:
        return "without a suffix"
    plain = suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= _LONGEST_SUFFIX
    return suffix if plain else "of other kinds"


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _files(root: Path, hidden_folders: list[Path], leave_out: Collection[str]) -> Iterator[Path]:
    """Everything below ``root`` that is no folder; hidden folders are not entered and go into the list.

    A folder that is linked into itself counts once.
    """
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
        above = {os.path.realpath(parent) for parent in (Path(folder), *Path(folder).parents)}
        hidden_folders += [Path(folder, name) for name in folders if name.startswith(".")]
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and os.path.realpath(Path(folder, name)) not in above
            and (not leave_out or os.path.abspath(Path(folder, name)) not in leave_out)
        ]
        yield from (Path(folder, name) for name in names)


def _refuse_folder(error: OSError) -> None:
    raise BadInputError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error


class SourceLostError(LipForcingError):
    """The bytes of a source cannot be read, or no longer; ``problem`` says why."""

    def __init__(self, name: str, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{name}: {problem}")


class SourceChangedError(SourceLostError):
    """A source has other bytes than a moment ago."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A source that could be read from end to end, told apart by its content."""

    path: Path
    name: str
    sha256: str

    @property
    def source_id(self) -> str:
        """The short form of the content hash."""
        return self.sha256[:KEY_LENGTH]


def identify_source(path: Path | str, root: Path | str) -> SourceFile:
    """Read a source once; raises ``SourceLostError`` where it cannot be opened, or read to its end.

    Raises ``BadInputError`` for a path outside ``root``.
    """
    path, name = Path(path), source_name(path, root)
    if problem := why_inaccessible(path):
        raise SourceLostError(name, problem)
    try:
        return SourceFile(path=path, name=name, sha256=sha256_once(path))
    except OSError as error:
        raise SourceLostError(name, _words(error)) from error


def check_unchanged(source: SourceFile, *, reread: bool) -> None:
    """Make sure that what was just read was the source as it was identified.

    With ``reread`` every byte is read again, as is right after a decoder's complaint: a disk that fails and a file that
    is damaged look alike to a decoder. Without, the file is read again only if its size or times have changed. Raises
    ``SourceLostError`` or ``SourceChangedError``.
    """
    try:
        found = file_sha256(source.path) if reread else sha256_once(source.path)
    except OSError as error:
        raise SourceLostError(source.name, why_inaccessible(source.path) or _words(error)) from error
    if found != source.sha256:
        raise SourceChangedError(source.name, "it changed while it was being read")


def why_inaccessible(path: Path | str) -> str | None:
    """Why a source cannot be opened and read; None where its first byte can be."""
    path = Path(path)
    try:
        if path.is_symlink() and not path.exists():
            return f"a link to {shown_name(os.readlink(path))}, which is not there"
        if not os.path.lexists(path):
            return "it is no longer there"
        if not path.is_file():
            return "no regular file"
        with open(path, "rb") as stream:
            stream.read(1)
            return None
    except OSError as error:
        return _words(error)


def source_sha256(path: Path | str, root: Path | str) -> str:
    """SHA-256 of a source's content; of its name where it cannot be read, so that two such are no duplicates."""
    try:
        return identify_source(path, root).sha256
    except SourceLostError:
        return lost_sha256(source_name(path, root))


def lost_sha256(name: str) -> str:
    """What stands for the content of a source that cannot be read."""
    return hashlib.sha256(f"inaccessible:{name}".encode()).hexdigest()


def source_name(path: Path | str, root: Path | str) -> str:
    """The path relative to the root of the corpus as plain text (see ``shown_name``), with forward slashes.

    Raises BadInputError for a path outside the root. A link counts where it stands: corpora are often folders of links
    to a store elsewhere.
    """
    return shown_name(relative_path(path, root))


def relative_path(path: Path | str, root: Path | str) -> str:
    """The path relative to the root of the corpus, as the file system has it; raises BadInputError if outside it."""
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    if not path.is_relative_to(root):
        raise BadInputError(f"{path}: lies outside the corpus folder {root}")
    return path.relative_to(root).as_posix()


def _words(error: OSError) -> str:
    return error.strerror or str(error)
