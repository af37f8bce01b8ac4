"""What a form of export is: the files that hold the clips, and the papers that describe them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.prints import FINGERPRINTS
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.curated import CuratedSet

SMALLEST_SHARD_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What a user decides about an export.

    name: of the data set, as people read it. url, creator and published (YYYY-MM-DD) are told in the papers where they
    are given. max_shard_bytes: the size that the clips of a shard do not exceed, unless a single clip does.
    """

    name: str
    url: str = ""
    creator: str = ""
    published: str = ""
    max_shard_bytes: int = 500_000_000

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise BadInputError("export: name: a data set needs a name")
        if self.max_shard_bytes < SMALLEST_SHARD_BYTES:
            raise BadInputError(
                f"export: max_shard_bytes: {self.max_shard_bytes} is less than {SMALLEST_SHARD_BYTES} (1 MB)"
            )
        if self.url and not re.match(r"https?://\S+$", self.url):
            raise BadInputError(f"export: url: {self.url!r} does not begin with http:// or https://")
        if self.published:
            try:
                date.fromisoformat(self.published)
            except ValueError as error:
                raise BadInputError(f"export: published: {self.published!r} is no date YYYY-MM-DD") from error


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file of an export, still to be written.

    name: its path below the export's folder. num_bytes: about how large it becomes. split: that of its clips, where it
    belongs to one. sha256: of the content, where it is known before. origin: the file that it becomes a second name of,
    where it is one; it then takes space on another disk only. write: writes it to a path.
    """

    name: str
    num_bytes: int
    write: Callable[[Path], object]
    num_clips: int = 0
    split: str = ""
    sha256: str | None = None
    origin: Path | None = None


def fingerprint_parts(curated: CuratedSet) -> list[Part]:
    """The fingerprints of the clips as they are, if there are any: by them ``curate --against`` knows an export."""
    path = curated.fingerprints
    if path is None:
        return []
    return [
        Part(
            name=FINGERPRINTS,
            num_bytes=path.stat().st_size,
            write=partial(shutil.copyfile, path),
            sha256=file_sha256(path),
        )
    ]


@dataclass(frozen=True, kw_only=True)
class WrittenPart:
    """A file of an export that is there."""

    name: str
    num_bytes: int
    sha256: str
    num_clips: int = 0
    split: str = ""


class ExportForm(Protocol):
    """Writes a curated data set in one form; equal input gives equal bytes."""

    @property
    def version(self) -> str:
        """Part of the key of a finished export; it changes whenever the files change."""
        ...

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> Sequence[Part]:
        """The files that hold the data, in the order in which they are written.

        Of the clips nothing is read but names and sizes. A part may be written by another process than the parts before
        it.
        """
        ...

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """The texts that describe the data set and the written parts, by their names below the export's folder."""
        ...


Item = TypeVar("Item", ClipRecord, WrittenPart)


def by_split(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The clips or files of each split, ``train`` first and the others by name; their order is kept.

    Files that belong to no split are left out.
    """
    found: dict[str, list[Item]] = {}
    for item in items:
        if item.split:
            found.setdefault(item.split, []).append(item)
    return dict(sorted(found.items(), key=lambda entry: (entry[0] != "train", entry[0])))


def in_shards(sizes: Sequence[int], max_bytes: int) -> list[range]:
    """Neighbouring items put together so that no shard exceeds ``max_bytes``, unless one item alone does."""
    shards: list[range] = []
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > max_bytes:
            shards.append(range(start, index))
            start, total = index, 0
        total += size
    return [*shards, range(start, len(sizes))] if sizes else []


def shard_parts(
    curated: CuratedSet,
    *,
    max_bytes: int,
    size: Callable[[CuratedSet, ClipRecord], int],
    name: Callable[[str, int, int], str],
    write: Callable[[CuratedSet, Sequence[ClipRecord], Path], object],
) -> list[Part]:
    """The shards of every split, and the fingerprints.

    size: about how many bytes a clip takes in a shard. name: of a shard by its split, its number from 0, and how many
    shards the split has. write: writes these clips to a path.
    """
    found = []
    for split, clips in by_split(curated.clips).items():
        sizes = [size(curated, clip) for clip in clips]
        shards = in_shards(sizes, max_bytes)
        for number, shard in enumerate(shards):
            members = [clips[index] for index in shard]
            found.append(
                Part(
                    name=name(split, number, len(shards)),
                    num_bytes=sum(sizes[index] for index in shard),
                    write=partial(write, curated, members),
                    num_clips=len(members),
                    split=split,
                )
            )
    return [*found, *fingerprint_parts(curated)]
