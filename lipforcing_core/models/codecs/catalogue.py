"""The video codecs: which there are, what each needs, and how a preset's encoding and decoding codec are loaded.

An implementation is imported by its own loader, here at the end, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.precision import FLOAT32, Precision

if TYPE_CHECKING:
    import numpy as np

    from lipforcing_core.models.codecs.protocol import FittedCodec, VideoCodec


@dataclass(frozen=True, kw_only=True)
class CodecFiles:
    """Where a codec is read from, and where it goes.

    codec_file: the file of a fitted codec, which the model bundle holds. weights_dir: the folder of registered
    checkpoints.
    """

    codec_file: Path | None = None
    weights_dir: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class CodecEntry(Entry):
    """One video codec.

    latents: the name of its latent space; codecs that share it may be paired, one to encode and one to decode.
    latent_channels: C of its latents ``[B, C, T, H/8, W/8]``; None where the fit's settings say.
    encoder_dtype, decoder_dtype: the types it runs in, by device.
    load: from its entry and files. fit: from clips ``[F, H, W, 3]`` uint8 RGB and the values of a preset's ``[codec]``
    section; None for a codec that is not fitted on the corpus (and then not stored in the bundle).
    """

    latents: str
    latent_channels: int | None
    load: Callable[[CodecEntry, CodecFiles], VideoCodec]
    fit: Callable[[Iterable[np.ndarray], Mapping[str, Any]], FittedCodec] | None = None
    encoder_dtype: Precision = FLOAT32
    decoder_dtype: Precision = FLOAT32

    @property
    def is_fitted(self) -> bool:
        """Whether it is fitted on the corpus it is used with, and stored in the model bundle."""
        return self.fit is not None


def load_codec(encoding: str, decoding: str | None = None, files: CodecFiles | None = None) -> VideoCodec:
    """The codec called ``encoding``, or it with the decoder of ``decoding``.

    Raises ``BadInputError`` for an unknown name, for a pair that shares no latents and for a fitted codec without its
    file; ``MissingWeightsError`` and ``IncompatibleCheckpointError`` as ``load_network`` does.
    """
    files = files or CodecFiles()
    encoder, decoder = CODECS[encoding], CODECS[decoding or encoding]
    require_pair(encoding, decoder.name)
    codec = encoder.load(encoder, files)
    if decoder is encoder:
        return codec
    from lipforcing_core.models.codecs.causal_codec import PairedCodec

    return PairedCodec(codec, decoder.load(decoder, files))


def fit_codec(name: str, clips: Iterable[np.ndarray], settings: Mapping[str, Any]) -> FittedCodec:
    """Fit the codec called ``name`` on clips.

    Raises ``BadInputError`` for a codec that is not fitted, and for clips that hold too little.
    """
    entry = CODECS[name]
    if entry.fit is None:
        raise BadInputError(f"the codec {name} is not fitted on a corpus: it is read from its checkpoint")
    return entry.fit(clips, settings)


def require_pair(encoding: str, decoding: str) -> None:
    """Raise ``BadInputError`` where one codec cannot decode what the other encodes."""
    if CODECS[encoding].latents != CODECS[decoding].latents:
        partners = [entry.name for entry in CODECS if entry.latents == CODECS[encoding].latents]
        raise BadInputError(
            f"{decoding} cannot decode the latents of {encoding}: the decoder must be {' or '.join(partners)}"
        )


def _load_block(entry: CodecEntry, files: CodecFiles) -> VideoCodec:
    from lipforcing_core.models.codecs.block import BlockCodec

    if files.codec_file is None:
        raise BadInputError(
            "the block codec needs the file it was fitted into (codec.safetensors of a bundle)"
        )
    return BlockCodec.load(files.codec_file).to(files.device)


def _fit_block(clips: Iterable[np.ndarray], settings: Mapping[str, Any]) -> FittedCodec:
    from lipforcing_core.models.codecs.block import BlockCodec, CodecFit

    return BlockCodec.fit(clips, CodecFit(**settings))


def _load_wan_vae(entry: CodecEntry, files: CodecFiles) -> VideoCodec:
    from lipforcing_core.models.codecs.wan_vae import load_wan_vae
    from lipforcing_core.weights.registered import find_registered

    return load_wan_vae(
        find_registered(entry, files.weights_dir),
        files.device,
        encoder_dtype=entry.encoder_dtype.on(files.device),
        decoder_dtype=entry.decoder_dtype.on(files.device),
    )


def _load_taehv(entry: CodecEntry, files: CodecFiles) -> VideoCodec:
    from lipforcing_core.models.codecs.taehv import load_taehv
    from lipforcing_core.weights.registered import find_registered

    return load_taehv(
        find_registered(entry, files.weights_dir), files.device, dtype=entry.decoder_dtype.on(files.device)
    )


CODECS = Catalogue[CodecEntry](
    kind="video codec",
    entries=(
        CodecEntry(
            name="block-pca",
            summary="Principal components of 4x8x8 blocks, fitted on the corpus and stored in the model bundle",
            latents="block-pca",
            latent_channels=None,
            load=_load_block,
            fit=_fit_block,
        ),
        CodecEntry(
            name="wan-vae",
            summary="The Wan 2.1 VAE, which the released models were trained with",
            weights=("wan2.1-vae",),
            latents="wan-2.1",
            latent_channels=16,
            load=_load_wan_vae,
            encoder_dtype=Precision(cpu="float32", accelerator="bfloat16"),
        ),
        CodecEntry(
            name="taehv",
            summary="A tiny autoencoder of Wan 2.1 latents, the quick decoder of the streaming pipeline",
            weights=("taew2.1",),
            latents="wan-2.1",
            latent_channels=16,
            load=_load_taehv,
            encoder_dtype=Precision(cpu="float32", accelerator="float16"),
            decoder_dtype=Precision(cpu="float32", accelerator="float16"),
        ),
    ),
)
"""Types follow the official release. On a CPU codecs are float32: convolutions in half precision are slow there."""
