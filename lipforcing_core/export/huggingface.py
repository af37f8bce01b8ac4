"""A folder of Hugging Face ``datasets``: Parquet with video and audio features, and the data-set card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.card_text import card_text
from lipforcing_core.export.curated import CuratedSet, row_of
from lipforcing_core.export.huggingface_header import card_header
from lipforcing_core.export.protocol import (
    ExportSettings,
    Part,
    WrittenPart,
    by_split,
    in_shards,
    shard_parts,
)
from lipforcing_core.media.clock import SAMPLE_RATE

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES = 64_000_000
"""Rows of about so many bytes are held in memory and become one row group."""

_PATHS = ("clip_path", "audio_path", "alignment_path")
"""Columns of the manifest that name files; the files themselves stand in their place."""

_MEDIA = {"video": ".mp4", "audio": ".wav"}
_SPLITS = {"val": "validation"}
_DTYPES = {"int64": "int64", "double": "float64", "bool": "bool", "string": "string", "binary": "binary"}


class HuggingFaceForm:
    """``data/SPLIT-00000-of-0000N.parquet`` and ``README.md`` with the header that the hub and ``datasets`` read.

    Columns: ``video`` and ``audio`` with the encoded bytes, ``alignment`` with the bytes of the ``.npz``, and the
    columns of the manifest without its paths. The split ``val`` is called ``validation``, as the library expects. The
    fingerprints of the clips lie beside the folder ``data``.
    """

    version = "1"

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> list[Part]:
        """The Parquet files of every split."""
        return shard_parts(
            curated, max_bytes=settings.max_shard_bytes, size=_size, name=_table_name, write=_write_table
        )

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """The card with its header."""
        splits = {}
        for split, shards in by_split(parts).items():
            num_bytes = sum(part.num_bytes for part in shards)
            splits[split_name(split)] = (sum(part.num_clips for part in shards), num_bytes)
        header = card_header(card, name=settings.name, splits=splits, features=features())
        return {"README.md": header + card_text(card, name=settings.name, usage=_USAGE)}


def split_name(split: str) -> str:
    """What Hugging Face calls a split."""
    return _SPLITS.get(split, split)


def features() -> dict[str, dict[str, Any]]:
    """The columns as ``datasets`` describes them."""
    found: dict[str, dict[str, Any]] = {
        "video": {"_type": "Video"},
        "audio": {"sampling_rate": SAMPLE_RATE, "_type": "Audio"},
    }
    for column in _columns():
        found[column.name] = {"dtype": _DTYPES[str(column.type)], "_type": "Value"}
    return found


def schema() -> pa.Schema:
    """The Arrow schema, with the metadata by which ``datasets`` knows video and sound."""
    import pyarrow as pa

    encoded = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = [*(pa.field(name, encoded) for name in _MEDIA), *_columns()]
    told = json.dumps({"info": {"features": features()}})
    return pa.schema(columns, metadata={"huggingface": told})


def _columns() -> list[pa.Field]:
    import pyarrow as pa

    from lipforcing_core.curation.manifest import arrow_schema

    columns = [column.with_nullable(True) for column in arrow_schema(ClipRecord) if column.name not in _PATHS]
    return [*columns, pa.field("alignment", pa.binary())]


def _table_name(split: str, number: int, num_shards: int) -> str:
    return f"data/{split_name(split)}-{number:05d}-of-{num_shards:05d}.parquet"


def _size(curated: CuratedSet, clip: ClipRecord) -> int:
    return sum(curated.size(getattr(clip, name)) for name in _PATHS)


def _write_table(curated: CuratedSet, clips: Sequence[ClipRecord], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = schema()
    encoded = {*(f"{name}.bytes" for name in _MEDIA), "alignment"}
    compression = {name: "none" if name in encoded else "zstd" for name in _leaves()}
    with (
        open(path, "wb") as stream,
        pq.ParquetWriter(stream, described, compression=compression, use_dictionary=False) as writer,
    ):
        for group in _groups(curated, clips):
            writer.write_table(
                pa.Table.from_pylist([_row(curated, clip) for clip in group], schema=described)
            )


def _leaves() -> list[str]:
    media = [f"{name}.{part}" for name in _MEDIA for part in ("bytes", "path")]
    return [*media, *(column.name for column in _columns())]


def _groups(curated: CuratedSet, clips: Sequence[ClipRecord]) -> Iterator[list[ClipRecord]]:
    sizes = [_size(curated, clip) for clip in clips]
    for rows in in_shards(sizes, ROW_GROUP_BYTES):
        yield [clips[index] for index in rows]


def _row(curated: CuratedSet, clip: ClipRecord) -> dict[str, Any]:
    row = {name: value for name, value in row_of(clip).items() if name not in _PATHS}
    for name, suffix in _MEDIA.items():
        row[name] = {"bytes": curated.read(clip, suffix), "path": f"{clip.clip_id}{suffix}"}
    return row | {"alignment": curated.read(clip, ".npz") or None}


_USAGE = """## How to read it

The folder is in the form of the `datasets` library. `export.json` lists every file with its SHA-256.

```python
from datasets import Audio, Video, load_dataset

clips = load_dataset("FOLDER")  # the path of this folder
encoded = clips.cast_column("video", Video(decode=False)).cast_column("audio", Audio(decode=False))
for clip in encoded["train"]:
    clip["video"]["bytes"], clip["audio"]["bytes"]  # MP4 (512 x 512, 25 frames per second) and WAV (16 kHz, mono)
    clip["alignment"]  # bytes of the .npz: matrices_F23 map pixels of the source to the canonical pose
```

Without `decode=False` the library decodes pictures and sound, for which it needs `torchcodec`."""
