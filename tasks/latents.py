"""Clips encoded for training: each once, as a step of its own that is found again by what the clip holds.

A killed run goes on where it was, a corpus that grew encodes what is new, and two training sets share what they have in
common. A worker loads the codec and the audio encoder once and keeps them; those of the published models run on a GPU
where the cluster has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, content_key, file_sha256
from lipforcing_core.export.curated import changed_file
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.models.codecs.catalogue import CODECS, CodecFiles, load_codec
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.encoders import (
    choose_device,
    is_embedded,
    load_audio_encoder,
    require_widths,
)
from lipforcing_core.runtime.shipped_base import shipped_base
from lipforcing_core.training.dataset import ClipSource, encode_clip
from lipforcing_core.training.latent_sets import EncodedBy
from lipforcing_core.weights.registered import find_registered
from tasks.cluster import has_gpu
from tasks.dispatch import fan_out
from tasks.progress import Advance

if TYPE_CHECKING:
    from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
    from lipforcing_core.models.codecs.protocol import VideoCodec

STEP = "clip-latents"
FILE = "windows.safetensors"

Hashes = Mapping[str, tuple[str, str]]
"""SHA-256 of picture and sound, by clip id."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What encodes clips. codec_file: of a fitted codec; weights: the folder of registered checkpoints."""

    preset: Preset
    codec_file: Path | None = None
    weights: Path | None = None

    def digests(self) -> list[str]:
        """What the codec and the audio encoder are, by content: the codec's file, or their registered checkpoints.

        Raises ``MissingWeightsError`` where one is not there.
        """
        own = [] if self.codec_file is None else [file_sha256(self.codec_file)]
        backends = self.preset.backends
        entries = [CODECS[backends.codec], AUDIO_ENCODERS[backends.audio]]
        return own + [find_registered(e, self.weights).sha256 for e in entries if not e.is_embedded]

    def load(self) -> tuple[VideoCodec, AudioEncoder]:
        """Codec and audio encoder, kept by this process; raises as ``load_codec`` and ``require_widths`` do."""
        file_state = None if self.codec_file is None else file_sha256(self.codec_file)
        return _encoders(self.preset.model_dump_json(), self.codec_file, file_state, self.weights)


def encode_clips(
    store: StepStore,
    clips: Sequence[ClipSource],
    hashes: Hashes,
    encoding: Encoding,
    advance: Advance | None = None,
) -> list[Path]:
    """Files of latent windows (see ``training.latent_files``), one a clip, in the order of the clips.

    Raises ``BadInputError`` for a clip that is shorter than a window or not the one that was hashed, and as
    ``Encoding.load`` does.
    """
    encoded_by = EncodedBy.of(encoding.preset, encoding.digests())
    keys = [content_key(clip.clip_id, hashes[clip.clip_id], asdict(encoded_by)) for clip in clips]
    missing = [
        (clip, hashes[clip.clip_id], key)
        for clip, key in zip(clips, keys, strict=True)
        if store.find(STEP, key) is None
    ]
    done_before = len(clips) - len(missing)

    def count(done: int, total: int) -> None:
        if advance:
            advance(done_before + done, done_before + total)

    fan_out(
        partial(_encode, encoding=encoding, store=store),
        missing,
        name="encode-clip",
        advance=count,
        on_gpu=bool(missing) and not is_embedded(encoding.preset) and has_gpu(),
    )
    return [store.folder(STEP, key) / FILE for key in keys]


def codec_of(preset: Preset) -> Path | None:
    """The file of the codec that comes with the package; None for a preset whose codec is downloaded.

    Raises ``BadInputError`` for a codec that is fitted on the training clips.
    """
    if (base := shipped_base(preset)) is not None:
        return base.codec_file
    if CODECS[preset.backends.codec].is_fitted:
        raise BadInputError(
            f"preset {preset.name}: its codec is fitted on the clips that it is trained on, so its latents belong to "
            "one training set; name a base_checkpoint in it, or train on the manifest"
        )
    return None


def _encode(item: tuple[ClipSource, tuple[str, str], str], *, encoding: Encoding, store: StepStore) -> None:
    source, hashes, key = item
    for path, sha256 in zip((source.clip_path, source.audio_path), hashes, strict=True):
        if (found := file_sha256(path)) != sha256:
            raise changed_file(path, found, sha256)
    codec, audio_encoder = encoding.load()

    def work(folder: Path) -> dict[str, Any]:
        count = encode_clip(
            source, folder / FILE, codec=codec, audio_encoder=audio_encoder, video=encoding.preset.video
        )
        return {"clip_id": source.clip_id, "windows": count}

    store.run(STEP, key, work)


@lru_cache(maxsize=1)
def _encoders(
    preset_json: str, codec_file: Path | None, _content: str | None, weights: Path | None
) -> tuple[VideoCodec, AudioEncoder]:
    preset = Preset.model_validate_json(preset_json)
    device = choose_device("auto", preset)
    files = CodecFiles(codec_file=codec_file, weights_dir=weights, device=device)
    codec = load_codec(preset.backends.codec, files=files)  # no decoder is needed
    audio_encoder = load_audio_encoder(preset, weights, device)
    require_widths(preset, codec, audio_encoder)
    return codec, audio_encoder
