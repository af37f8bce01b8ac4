"""Latents: the windows of the clips as training reads them, in shards: who trains on them encodes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256, read_json
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.card_text import card_text
from lipforcing_core.export.curated import CuratedSet
from lipforcing_core.export.protocol import ExportSettings, Part, WrittenPart, shard_parts
from lipforcing_core.presets.schema import Preset
from lipforcing_core.training.latent_files import write_shard

INDEX = "latents.json"
CODEC_FILE = "codec.safetensors"
TRAIN = "windows"


@dataclass(frozen=True, kw_only=True)
class EncodedBy:
    """What latents depend on besides the clips: a preset that agrees in all of this can be trained on them.

    encoders: SHA-256 of the fitted codec, or of the checkpoints of codec, decoder and audio encoder.
    """

    size: int
    window_frames: int
    window_stride_frames: int
    codec: str
    audio: str
    encoders: tuple[str, ...]

    @classmethod
    def of(cls, preset: Preset, encoders: Sequence[str]) -> EncodedBy:
        """What a preset encodes with."""
        video, backends = preset.video, preset.backends
        return cls(
            size=video.size,
            window_frames=video.window_frames,
            window_stride_frames=video.window_stride_frames,
            codec=backends.codec,
            audio=backends.audio,
            encoders=tuple(encoders),
        )

    @classmethod
    def read(cls, folder: Path) -> EncodedBy:
        """What an export was encoded by; raises ``BadInputError`` for a folder that is none."""
        try:
            values = read_json(folder / INDEX)["encoded_by"]
            return cls(**values | {"encoders": tuple(values["encoders"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"{folder}: is no export of latents: its {INDEX} cannot be read") from error

    def require(self, wanted: EncodedBy, folder: Path, preset: Preset) -> None:
        """Raise ``BadInputError`` that names the first thing in which latents are not those that a preset wants."""
        for name, value in asdict(self).items():
            if value != (other := asdict(wanted)[name]):
                raise BadInputError(
                    f"{folder}: was encoded with {name} = {value!r}, and preset {preset.name} wants {other!r}; export "
                    "the manifest again with this preset, or train on the manifest"
                )


@dataclass(frozen=True, kw_only=True)
class LatentsForm:
    """Shards ``windows/000000.safetensors`` of the training split, ``windows-SPLIT/...`` of others, and the codec.

    files: the encoded clips by id, see ``training.latent_files``; clips that are not among them are left out.
    codec_file: of the codec that encoded them, where it comes with the package or was fitted.
    """

    files: Mapping[str, Path]
    encoded_by: EncodedBy
    codec_file: Path | None = None

    @property
    def version(self) -> str:
        """What encoded the clips is a part of it."""
        return f"1-{content_key(asdict(self.encoded_by))[:16]}"

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> list[Part]:
        """The codec, and the shards of every split with their clips by id, the order in which training reads them."""
        clips = sorted((c for c in curated.clips if c.clip_id in self.files), key=lambda clip: clip.clip_id)
        shards = shard_parts(
            replace(curated, clips=tuple(clips)),
            max_bytes=settings.max_shard_bytes,
            size=lambda _curated, clip: self.files[clip.clip_id].stat().st_size,
            name=lambda split, number, _num: f"{_folder_of(split)}/{number:06d}.safetensors",
            write=self._write,
        )
        if self.codec_file is None:
            return shards
        codec = Part(
            name=CODEC_FILE,
            num_bytes=self.codec_file.stat().st_size,
            write=partial(shutil.copyfile, self.codec_file),
            sha256=file_sha256(self.codec_file),
        )
        return [codec, *shards]

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """``latents.json``, which says what encoded the clips, and the card."""
        index: dict[str, Any] = {
            "name": settings.name,
            "num_clips": sum(part.num_clips for part in parts),
            "encoded_by": asdict(self.encoded_by),
        }
        return {
            INDEX: json.dumps(index, indent=2, ensure_ascii=False) + "\n",
            "README.md": card_text(card, name=settings.name, usage=_USAGE),
        }

    def _write(self, _curated: CuratedSet, clips: Sequence[ClipRecord], path: Path) -> None:
        write_shard([self.files[clip.clip_id] for clip in clips], path)


def is_latents(path: Path) -> bool:
    """Whether a path is the folder of an export of latents."""
    return (path / INDEX).is_file()


def _folder_of(split: str) -> str:
    return TRAIN if split == "train" else f"{TRAIN}-{split}"


_USAGE = """## How to read it

Give this folder to training in place of a manifest; the preset must be one with the encoders and windows that
`latents.json` names:

```bash
lipforcing train teacher FOLDER -o teacher
```

The shards are safetensors files. The tensors of a clip are called `CLIP_ID/latents` (windows, channels, frames, height,
width), `CLIP_ID/masked_latents` (the same windows with a blanked mouth), `CLIP_ID/audio` (features of each frame),
`CLIP_ID/waveform` (16 kHz), `CLIP_ID/starts` (first frames of the windows) and `CLIP_ID/keep_mask`."""
