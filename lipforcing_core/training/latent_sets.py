"""A training set on disk, and what encoded it: the layout that training reads, whoever has written it.

``windows/`` holds the files of ``latent_files``, one a clip or shards of many, and ``codec.safetensors`` is the codec
where it comes with the package or was fitted. A set that was exported has ``latents.json`` besides, which says what
encoded it and lists its shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import read_json, sha256_once
from lipforcing_core.media.window_plan import PLAN_VERSION
from lipforcing_core.presets.schema import Preset

ENCODING_VERSION = 1
"""Part of every key of encoded clips; it changes whenever ``dataset.encode_clip`` writes something else."""

CODEC_FILE = "codec.safetensors"
WINDOWS_FOLDER = "windows"
INDEX = "latents.json"


@dataclass(frozen=True, kw_only=True)
class EncodedBy:
    """All that latents depend on besides the clips: a preset that agrees in it can be trained on them.

    encoders: SHA-256 of the codec that was fitted or comes with the package, or of the checkpoints of codec and audio
    encoder. encoding and plan are the versions of what encodes a clip and of what places its windows.
    """

    size: int
    window_frames: int
    window_stride_frames: int
    codec: str
    audio: str
    encoders: tuple[str, ...]
    encoding: int = ENCODING_VERSION
    plan: int = PLAN_VERSION

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

    def require(self, wanted: EncodedBy, folder: Path, preset: Preset) -> None:
        """Raise ``BadInputError`` that names the first thing in which latents are not those that a preset wants."""
        for name, value in asdict(self).items():
            if value != (other := asdict(wanted)[name]):
                raise BadInputError(
                    f"{folder}: was encoded with {name} = {value!r}, and preset {preset.name} wants {other!r}; export "
                    "the manifest again with this preset, or train on the manifest"
                )


def window_files(folder: Path) -> list[Path]:
    """The files of windows of a training set, in the order of the clips' ids, which the draws of training go by."""
    return sorted((folder / WINDOWS_FOLDER).glob("*.safetensors"), key=lambda path: path.stem)


def is_exported_set(path: Path) -> bool:
    """Whether a path is the folder of an export of latents."""
    return (path / INDEX).is_file()


def index_of(encoded_by: EncodedBy, shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of ``latents.json``; a shard has ``name``, ``num_bytes``, ``sha256``, ``num_clips`` and ``split``."""
    return {"encoded_by": asdict(encoded_by), "shards": list(shards)}


def require_exported_set(folder: Path, wanted: EncodedBy, preset: Preset) -> None:
    """Raise ``BadInputError`` where an exported set is not what a preset trains on, or not what was exported.

    Every shard of the training split is read once and held against its SHA-256.
    """
    try:
        index = read_json(folder / INDEX)
        values = index["encoded_by"]
        found = EncodedBy(**values | {"encoders": tuple(values["encoders"])})
        shards = [(str(s["name"]), int(s["num_bytes"]), str(s["sha256"])) for s in index["shards"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{folder}: is no export of latents: its {INDEX} cannot be read") from error
    found.require(wanted, folder, preset)
    mine = [shard for shard in shards if Path(shard[0]).parent.name == WINDOWS_FOLDER]
    if not mine:
        raise BadInputError(f"{folder}: holds no clip of the training split")
    for name, num_bytes, sha256 in mine:
        path = folder / name
        if not path.is_file() or path.stat().st_size != num_bytes or sha256_once(path) != sha256:
            raise BadInputError(
                f"{path}: is missing or not the file that {INDEX} lists; copy the export again, or make it again"
            )
