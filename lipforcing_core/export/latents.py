"""Latents: the windows of the clips as training reads them, in shards: who trains on them encodes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.curation.manifest import write_manifest
from lipforcing_core.curation.prints import MANIFEST
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.card_text import card_text
from lipforcing_core.export.curated import CuratedSet
from lipforcing_core.export.protocol import ExportSettings, Part, WrittenPart, shard_parts
from lipforcing_core.training.latent_files import write_shard
from lipforcing_core.training.latent_sets import CODEC_FILE, INDEX, WINDOWS_FOLDER, EncodedBy, index_of


@dataclass(frozen=True, kw_only=True)
class LatentsForm:
    """Shards ``windows/000000.safetensors`` of the training split, ``windows-SPLIT/...`` of others, and the codec.

    ``manifest.parquet`` has the rows of the exported clips: identity, licence, consent, hashes of what was encoded.
    files: the encoded clips by id, see ``training.latent_files``. codec_file: of the codec that encoded them, where it
    comes with the package.
    """

    files: Mapping[str, Path]
    encoded_by: EncodedBy
    codec_file: Path | None = None

    @property
    def version(self) -> str:
        """What encoded the clips is a part of it."""
        return f"1-{content_key(asdict(self.encoded_by))}"

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> list[Part]:
        """The codec, the manifest, and the shards with their clips by id, the order in which training reads them."""
        clips = sorted(curated.clips, key=lambda clip: clip.clip_id)
        shards = shard_parts(
            replace(curated, clips=tuple(clips)),
            max_bytes=settings.max_shard_bytes,
            size=lambda _curated, clip: self.files[clip.clip_id].stat().st_size,
            name=lambda split, number, _num: f"{_folder_of(split)}/{number:06d}.safetensors",
            write=self._write,
        )
        manifest = Part(
            name=MANIFEST,
            num_bytes=curated.manifest.stat().st_size,
            write=lambda path: write_manifest(path, clips),
        )
        if self.codec_file is None:
            return [manifest, *shards]
        codec = Part(
            name=CODEC_FILE,
            num_bytes=self.codec_file.stat().st_size,
            write=partial(shutil.copyfile, self.codec_file),
            sha256=file_sha256(self.codec_file),
        )
        return [codec, manifest, *shards]

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """``latents.json``, which says what encoded the clips and lists the shards, and the card."""
        index = index_of(self.encoded_by, [asdict(part) for part in parts if part.split])
        return {
            INDEX: json.dumps(index, indent=2, ensure_ascii=False) + "\n",
            "README.md": card_text(card, name=settings.name, usage=_USAGE),
        }

    def _write(self, _curated: CuratedSet, clips: Sequence[ClipRecord], path: Path) -> None:
        write_shard([self.files[clip.clip_id] for clip in clips], path)


def _folder_of(split: str) -> str:
    return WINDOWS_FOLDER if split == "train" else f"{WINDOWS_FOLDER}-{split}"


_USAGE = """## How to read it

Give this folder to training in place of a manifest; the preset must be one with the encoders and windows that
`latents.json` names:

```bash
lipforcing train teacher FOLDER -o teacher
```

The shards are safetensors files. The tensors of a clip are called `CLIP_ID/latents` (windows, channels, frames, height,
width), `CLIP_ID/masked_latents` (the same windows with a blanked mouth), `CLIP_ID/audio` (features of each frame),
`CLIP_ID/waveform` (16 kHz), `CLIP_ID/starts` (first frames of the windows) and `CLIP_ID/keep_mask`. `manifest.parquet`
has a row for each of these clips."""
