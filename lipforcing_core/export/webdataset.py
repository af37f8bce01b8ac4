"""WebDataset: tar shards in which the files of a clip stand together under its name."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.card_text import card_text
from lipforcing_core.export.curated import CuratedSet, row_of
from lipforcing_core.export.protocol import (
    ExportSettings,
    Part,
    WrittenPart,
    by_split,
    shard_parts,
)

INDEX = "index.json"
_BLOCK = 512
_END = 2 * _BLOCK + 10_240
"""What a tar file has at most behind its members: two empty blocks, and zeros up to a full record."""

_SUFFIXES = (".json", ".mp4", ".npz", ".wav")
"""In the order in which they stand in a shard, that of their names."""


class WebDatasetForm:
    """Shards ``SPLIT-000000.tar``, an index with counts and hashes, the fingerprints, and the card.

    A member is called ``CLIP_ID`` and a suffix; ``.json`` is the row of the manifest. Members are plain ustar files
    with owner 0, mode 644 and time 0, so that equal clips give equal shards.
    """

    version = "1"

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> list[Part]:
        """The shards of every split."""
        return shard_parts(
            curated,
            max_bytes=settings.max_shard_bytes - _END,
            size=_size_in_tar,
            name=lambda split, number, num_shards: f"{split}-{number:06d}.tar",
            write=_write_shard,
        )

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """``index.json`` and the card."""
        splits: dict[str, dict[str, object]] = {}
        for split, shards in by_split(parts).items():
            splits[split] = {
                "urls": braces(split, len(shards)),
                "num_clips": sum(part.num_clips for part in shards),
                "shards": [
                    {"name": p.name, "num_clips": p.num_clips, "num_bytes": p.num_bytes, "sha256": p.sha256}
                    for p in shards
                ],
            }
        index = {"name": settings.name, "suffixes": list(_SUFFIXES), "splits": splits}
        first = next(iter(splits.values()))
        return {
            INDEX: json.dumps(index, indent=2, ensure_ascii=False) + "\n",
            "README.md": card_text(card, name=settings.name, usage=_USAGE.format(url=first["urls"])),
        }


def braces(split: str, num_shards: int) -> str:
    """The shards of a split as one address that ``webdataset`` takes: ``train-{000000..000003}.tar``."""
    return f"{split}-{{000000..{num_shards - 1:06d}}}.tar" if num_shards > 1 else f"{split}-000000.tar"


def _size_in_tar(curated: CuratedSet, clip: ClipRecord) -> int:
    contents = [curated.size(name) for name in (clip.clip_path, clip.audio_path, clip.alignment_path)]
    contents.append(len(_json(clip)))
    return sum(_BLOCK + -(-size // _BLOCK) * _BLOCK for size in contents if size)


def _json(clip: ClipRecord) -> bytes:
    row = json.dumps(row_of(clip), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return row.encode()


def _write_shard(curated: CuratedSet, clips: Sequence[ClipRecord], path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for clip in clips:
            for suffix in _SUFFIXES:
                content = _json(clip) if suffix == ".json" else curated.read(clip, suffix)
                if content:
                    member = tarfile.TarInfo(f"{clip.clip_id}{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


_USAGE = """## How to read it

The folder holds tar shards in the form of the `webdataset` library. `index.json` names the shards of each split with
their number of clips and their SHA-256.

```python
import webdataset

for clip in webdataset.WebDataset("{url}", shardshuffle=False).decode():
    clip["__key__"], clip["json"]  # the name of the clip, and its row of the manifest
    clip["mp4"], clip["wav"]  # picture (512 x 512, 25 frames per second) and sound (16 kHz, mono), encoded
    clip["npz"]  # the alignment: matrices_F23 map pixels of the source to the canonical pose
```"""
