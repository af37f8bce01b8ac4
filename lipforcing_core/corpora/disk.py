"""The media files of a corpus on disk, found by the names that annotations give them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.sources import IgnoredFiles, find_sources, relative_path

SOUND_SUFFIXES = frozenset({".m4a", ".wav", ".aac", ".mp3", ".flac", ".ogg", ".opus"})
CONSTANT_RATE = "_cfr25"
"""What the names of clips end with that were converted to 25 frames per second for evaluation."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Videos below a folder by their stems (the name without suffix and without ``_cfr25``), and the rest by kind."""

    root: Path
    videos: dict[str, tuple[Path, ...]]
    ignored: tuple[IgnoredFiles, ...]

    def paths(self) -> list[Path]:
        """All videos."""
        return [path for paths in self.videos.values() for path in paths]


def look(
    root: Path,
    layout: str,
    *,
    annotations: Collection[Path] = (),
    leave_out: Collection[Path] = (),
    is_about: Callable[[Path], bool] = lambda path: False,
) -> Disk:
    """Find the videos below ``root``; ``layout`` says what must be there, for the message where there is none.

    ``annotations`` are files and ``leave_out`` folders of the corpus; ``is_about`` tells its other files that are no
    videos, such as sound beside them.
    """
    known = set(annotations)
    try:
        found = find_sources(root, leave_out=leave_out, is_about=lambda path: path in known or is_about(path))
    except BadInputError as error:
        raise BadInputError(f"{error}; {layout}") from error
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in found.sources:
        by_stem[plain_stem(path.name)].append(path)
    videos = {stem: tuple(paths) for stem, paths in by_stem.items()}
    return Disk(root=root, videos=videos, ignored=found.ignored)


def plain_stem(name: str) -> str:
    """A file name without its suffix and without ``_cfr25``."""
    return Path(name).stem.removesuffix(CONSTANT_RATE)


def is_sound(path: Path) -> bool:
    """Whether a file is sound without a picture, by its suffix."""
    return path.suffix.lower() in SOUND_SUFFIXES


def sound_beside(path: Path, root: Path, folders: Iterable[Path] = ()) -> str | None:
    """The separate sound file of a video, relative to ``root``: of the same stem, beside it or in one of
    ``folders``."""
    for folder in (path.parent, *folders):
        for suffix in (".m4a", ".wav"):
            beside = folder / (path.stem + suffix)
            if beside.is_file():
                return relative_path(beside, root)
    return None


def require_folder(given: Path, layout: str) -> Path:
    """``given`` if it is a folder; otherwise ``BadInputError`` that says what must be on disk."""
    if given.is_dir():
        return given
    raise BadInputError(f"{given}: is {'a file' if given.exists() else 'not there'}; {layout}")
