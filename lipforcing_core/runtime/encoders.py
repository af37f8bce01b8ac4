"""The networks around the transformer, as the ``[backends]`` of a preset name them, on a chosen device.

Which implementations there are, what each needs and in which type it runs stands in the catalogues of the seams
(``models.codecs``, ``models.audio_encoders``, ``models.text_encoders``). An embedded one comes with the package or the
model bundle; the others are read from registered checkpoints (``lipforcing weights list``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lipforcing_core.base.catalogue import Entry
from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.models.audio_encoders import catalogue as audio_encoders
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
from lipforcing_core.models.codecs import catalogue as codecs
from lipforcing_core.models.codecs.catalogue import CODECS, CodecFiles
from lipforcing_core.models.codecs.protocol import VideoCodec
from lipforcing_core.models.text_encoders import catalogue as text_encoders
from lipforcing_core.models.text_encoders.catalogue import TextShape
from lipforcing_core.models.text_encoders.protocol import TextEncoder
from lipforcing_core.presets import Preset
from lipforcing_core.weights.registered import find_registered
from lipforcing_core.weights.registry import require_all_weights


def is_embedded(preset: Preset) -> bool:
    """Whether the preset's models run without any downloaded file."""
    return not preset.backends.weights


def model_dtype(preset: Preset) -> torch.dtype:
    """The type a transformer of this preset runs in: bfloat16 as released, float32 for the embedded ones."""
    return torch.float32 if is_embedded(preset) else torch.bfloat16


def choose_device(wanted: str, preset: Preset) -> str:
    """``cpu`` or ``cuda``, from one of these or ``auto``.

    ``auto`` is ``cuda`` where there is one and the preset is not embedded: embedded models are quick on a CPU, and
    give the same bits on every one. Raises ``BadInputError`` for ``cuda`` where torch has none.
    """
    available = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if available and not is_embedded(preset) else "cpu"
    if wanted == "cuda" and not available:
        raise BadInputError(
            "torch finds no CUDA device on this machine: check `nvidia-smi` and that a CUDA build of torch is "
            "installed, or use --device cpu"
        )
    return wanted


def picture_and_sound_weights(preset: Preset) -> list[str]:
    """Registered checkpoints of the codec, the decoder and the audio encoder, each once."""
    return [name for entry in _picture_and_sound(preset) for name in entry.weights]


def load_codec(
    preset: Preset, weights_dir: Path | None, device: str = "cpu", *, codec_file: Path | None = None
) -> VideoCodec:
    """The codec, or the pair of an encoding and a decoding one, that the preset names.

    ``codec_file`` is the file of a fitted codec, which no other needs. Raises ``BadInputError`` for a pair that shares
    no latents, and as ``require_all_weights`` and ``load_network`` do.
    """
    backends = preset.backends
    files = CodecFiles(codec_file=codec_file, weights_dir=weights_dir, device=device)
    try:
        codecs.require_pair(backends.codec, backends.decoder)
    except BadInputError as error:
        raise BadInputError(f"preset {preset.name}: {error}") from error
    both = [*CODECS[backends.codec].weights, *CODECS[backends.decoder].weights]
    require_all_weights(both, weights_dir)  # all that are missing in one error
    return codecs.load_codec(backends.codec, backends.decoder, files)


def load_audio_encoder(preset: Preset, weights_dir: Path | None = None, device: str = "cpu") -> AudioEncoder:
    """The audio encoder that the preset names; raises as ``require_all_weights`` and ``load_network`` do."""
    return audio_encoders.load_audio_encoder(preset.backends.audio, weights_dir, device)


def load_text_encoder(preset: Preset, weights_dir: Path | None = None, device: str = "cpu") -> TextEncoder:
    """The text encoder that the preset names; raises as ``require_all_weights`` and ``load_network`` do.

    ``runtime.prompts.load_prompts`` is what a model needs: it does not load an encoder whose embeddings are kept.
    """
    shape = TextShape(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    return text_encoders.load_text_encoder(preset.backends.text, shape, weights_dir, device)


def picture_and_sound_digests(preset: Preset, weights_dir: Path | None) -> list[str]:
    """Hex SHA-256 of the files of ``picture_and_sound_weights``, in their order."""
    found = (entry for entry in _picture_and_sound(preset) if not entry.is_embedded)
    return [find_registered(entry, weights_dir).sha256 for entry in found]


def require_widths(preset: Preset, codec: VideoCodec, audio_encoder: AudioEncoder) -> None:
    """Raise ``IncompatibleCheckpointError`` for a transformer that is not as wide as the codec and encoder around it.

    It tells before a network is built and before clips are encoded for it.
    """
    for what, given, wanted, key in (
        ("the codec gives latents", codec.latent_channels, preset.model.out_channels, "out_channels"),
        ("the audio encoder gives features", audio_encoder.feature_dim, preset.model.audio_dim, "audio_dim"),
    ):
        if given != wanted:
            raise IncompatibleCheckpointError(
                f"preset {preset.name}: {what} of width {given}, and model.{key} is {wanted}"
            )


@contextmanager
def memory_in_words(device: str) -> Iterator[None]:
    """Turn the exception of a full CUDA device into a ``BadInputError`` that tells what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadInputError(
            f"the memory of {device} is not enough for this model (14B in bfloat16 takes about 40 GB): free it, take "
            "a smaller model, or use --device cpu"
        ) from error


def _picture_and_sound(preset: Preset) -> list[Entry]:
    """The entries of the codec, the decoder and the audio encoder, each once."""
    names = preset.backends
    entries: list[Entry] = [CODECS[names.codec], CODECS[names.decoder], AUDIO_ENCODERS[names.audio]]
    return [entry for index, entry in enumerate(entries) if entry not in entries[:index]]
