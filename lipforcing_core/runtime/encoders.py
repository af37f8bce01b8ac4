"""The networks around the transformer, as the ``[backends]`` of a preset name them, on a chosen device.

Embedded backends (``block-pca``, ``log-mel``, ``hash``) come with the package or the model bundle; the others are read
from registered checkpoints (``lipforcing weights list``). Types follow the official release: the Wan VAE encodes in
bfloat16 and decodes in float32, TAEHV is float16, wav2vec2 float32, UMT5 and the transformer bfloat16. On a CPU the
codecs are float32: convolutions in half precision are many times slower there.

The two prompt embeddings of a preset, its prompt and the empty one, are the same in every run, and UMT5-XXL has 11 GB.
So they are computed once and kept in ``text/prompts/<key>.safetensors`` of the weights folder (tensor ``text_BLD``,
``[2, L, D]``). The key holds the hash of the encoder and the prompts; with the embeddings of the registered encoder in
place, the encoder's own files are not needed.

Letters: B prompts (the preset's, the empty one), L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path, content_key
from lipforcing_core.models.audio_encoders.log_mel import LogMelEncoder
from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.codecs.causal_codec import PairedCodec
from lipforcing_core.models.codecs.protocol import VideoCodec
from lipforcing_core.models.text_encoders.hashed import HashTextEncoder
from lipforcing_core.models.text_encoders.protocol import TextEncoder
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.prompts import Prompts, encode_prompts
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.digest import remembered_sha256
from lipforcing_core.weights.networks import fill_registered
from lipforcing_core.weights.registry import find_weight, require_all_weights

WEIGHTS = {"wan-vae": "wan2.1-vae", "taehv": "taew2.1", "wav2vec2": "wav2vec2-base-960h", "umt5": "umt5-xxl"}
"""Backends that are read from a registered checkpoint, and its name."""

PROMPTS_VERSION = 1
_PROMPTS_TENSOR = "text_BLD"

_Network = TypeVar("_Network", bound=nn.Module)


def is_embedded(preset: Preset) -> bool:
    """Whether the preset's models run without any downloaded file."""
    names = preset.backends
    return not {names.codec, names.decoder, names.audio, names.text} & WEIGHTS.keys()


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


def needed_weights(preset: Preset, weights_dir: Path | None) -> list[str]:
    """Registered checkpoints that the preset's backends read; UMT5 only until its embeddings are kept."""
    return [WEIGHTS[name] for name in _used(preset)] + _needed_text(preset, weights_dir)


def load_codec(
    preset: Preset, weights_dir: Path | None, device: str = "cpu", *, codec_file: Path | None = None
) -> VideoCodec:
    """The codec, or the pair of an encoding and a decoding one, that the preset names.

    ``codec_file`` is the file of the fitted block codec, which no other codec needs. Raises ``BadInputError`` for a
    pair that shares no latents, and as ``require_all_weights`` and ``load_network`` do.
    """
    encoding, decoding = preset.backends.codec, preset.backends.decoder
    if (encoding == "block-pca") != (decoding == "block-pca"):
        raise BadInputError(f"preset {preset.name}: {decoding} cannot decode the latents of {encoding}")
    if encoding == "block-pca":
        if codec_file is None:
            raise BadInputError(f"preset {preset.name}: the block codec needs the file it was fitted into")
        return BlockCodec.load(codec_file).to(device)
    folder = _folder_with([WEIGHTS[encoding], WEIGHTS[decoding]], weights_dir)
    vae = _load_wan_vae(folder, device)
    return vae if decoding == encoding else PairedCodec(vae, _load_taehv(folder, device))


def load_audio_encoder(preset: Preset, weights_dir: Path | None = None, device: str = "cpu") -> AudioEncoder:
    """The audio encoder that the preset names; raises as ``require_all_weights`` and ``load_network`` do."""
    if preset.backends.audio == "log-mel":
        return LogMelEncoder()
    from lipforcing_core.models.audio_encoders import wav2vec2

    folder = _folder_with([WEIGHTS["wav2vec2"]], weights_dir)
    config = wav2vec2.base_960h_config()
    network = _filled(lambda: wav2vec2.Wav2Vec2Features(config), "wav2vec2", folder, device, torch.float32)
    return wav2vec2.Wav2Vec2Encoder(network, backend_id=_backend_id("wav2vec2", folder))


def load_text_encoder(preset: Preset, weights_dir: Path | None = None, device: str = "cpu") -> TextEncoder:
    """The text encoder that the preset names; raises as ``require_all_weights`` and ``load_network`` do.

    ``load_prompts`` is what a model needs: it does not load an encoder whose embeddings are kept.
    """
    if preset.backends.text == "hash":
        return HashTextEncoder(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    from lipforcing_core.models.text_encoders import umt5

    folder = _folder_with([WEIGHTS["umt5"]], weights_dir)
    (tokenizer,) = (folder / file.path for file in find_weight(WEIGHTS["umt5"]).files if not file.tensors)
    network = _filled(lambda: umt5.UMT5Network(umt5.UMT5_XXL), "umt5", folder, device, torch.bfloat16)
    return umt5.UMT5Encoder(
        network,
        umt5.load_tokenizer(tokenizer),
        backend_id=_backend_id("umt5", folder),
        text_len=preset.model.text_len,
    )


def load_prompts(preset: Preset, weights_dir: Path | None, device: str = "cpu") -> Prompts:
    """The embeddings of the preset's prompt and of the empty one, each ``[1, L, D]`` float32 on the CPU.

    Those of a downloaded encoder are computed on ``device`` at most once, see the head of this module. Raises as
    ``load_text_encoder`` does, and ``IncompatibleCheckpointError`` for a damaged file of embeddings.
    """
    if preset.backends.text not in WEIGHTS:
        return encode_prompts(load_text_encoder(preset), preset.schedule.prompt)
    folder = _folder_with(_needed_text(preset, weights_dir), weights_dir)
    kept = _kept_prompts(preset, folder)
    if not kept.is_file():
        prompts = encode_prompts(load_text_encoder(preset, folder, device), preset.schedule.prompt)
        both_BLD = torch.cat([prompts.text_BLD, prompts.negative_text_BLD])
        with atomic_path(kept) as temporary:
            save_file({_PROMPTS_TENSOR: both_BLD}, temporary)
    stored = Checkpoint.open(kept)
    shape = (2, preset.model.text_len, preset.model.text_dim)
    if {name: tensor.shape for name, tensor in stored.tensors.items()} != {_PROMPTS_TENSOR: shape}:
        raise IncompatibleCheckpointError(
            f"{kept}: not the embeddings of two prompts, {list(shape)}; remove it, and they are computed again"
        )
    both_BLD = stored.value(_PROMPTS_TENSOR)
    return Prompts(text_BLD=both_BLD[:1], negative_text_BLD=both_BLD[1:])


def backend_digests(preset: Preset, weights_dir: Path | None) -> list[str]:
    """What results depend on beyond preset and model: hashes of what the backends read, none for embedded ones.

    Raises ``MissingWeightsError`` as ``require_all_weights`` does.
    """
    if is_embedded(preset):
        return []
    folder = _folder_with(needed_weights(preset, weights_dir), weights_dir)
    digests = [remembered_sha256(_tensor_file(name, folder)) for name in _used(preset)]
    return digests + ([_kept_prompts(preset, folder).stem] if preset.backends.text in WEIGHTS else [])


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


def _folder_with(names: Sequence[str], weights_dir: Path | None) -> Path:
    """The folder, where the files of a backend that is not embedded are; raises as ``require_all_weights`` does."""
    require_all_weights(names, weights_dir)
    assert weights_dir is not None, "asked for only where a backend is not embedded"
    return weights_dir


def _load_wan_vae(folder: Path, device: str) -> VideoCodec:
    from lipforcing_core.models.codecs import wan_vae

    network = _filled(wan_vae.WanVAE, "wan-vae", folder, device, torch.float32)
    if device != "cpu":
        network.encoder.to(torch.bfloat16)
        network.conv1.to(torch.bfloat16)
    return wan_vae.WanVAECodec(network, _backend_id("wan-vae", folder))


def _load_taehv(folder: Path, device: str) -> VideoCodec:
    from lipforcing_core.models.codecs import taehv

    dtype = torch.float32 if device == "cpu" else torch.float16
    network = _filled(taehv.TinyAutoencoder, "taehv", folder, device, dtype)
    return taehv.TaehvCodec(network, _backend_id("taehv", folder))


def _filled(
    build: Callable[[], _Network], backend: str, folder: Path, device: str, dtype: torch.dtype
) -> _Network:
    with torch.device("meta"):
        network = build()
    fill_registered(network, WEIGHTS[backend], folder, dtype=dtype, device=device)
    return network.eval().requires_grad_(False)


def _used(preset: Preset) -> list[str]:
    """The downloaded backends for pictures and sound, each once."""
    names = preset.backends
    return [name for name in dict.fromkeys((names.codec, names.decoder, names.audio)) if name in WEIGHTS]


def _needed_text(preset: Preset, weights_dir: Path | None) -> list[str]:
    """The registered text encoder, unless it is embedded or its embeddings of the preset's prompts are kept."""
    name = preset.backends.text
    if name not in WEIGHTS or (weights_dir and _registered_prompts(preset, weights_dir).is_file()):
        return []
    return [WEIGHTS[name]]


def _kept_prompts(preset: Preset, folder: Path) -> Path:
    """Where the embeddings are or will be: under the hash of the registered encoder, or of the one that is here."""
    registered = _registered_prompts(preset, folder)
    if registered.is_file():
        return registered
    return _prompts_file(preset, folder, remembered_sha256(_tensor_file(preset.backends.text, folder)))


def _registered_prompts(preset: Preset, folder: Path) -> Path:
    (file,) = (file for file in find_weight(WEIGHTS[preset.backends.text]).files if file.tensors)
    return _prompts_file(preset, folder, file.sha256)


def _prompts_file(preset: Preset, folder: Path, encoder_sha256: str | None) -> Path:
    prompts = [preset.schedule.prompt, ""]
    key = content_key(PROMPTS_VERSION, encoder_sha256, prompts, preset.model.text_len)
    return folder / "text" / "prompts" / f"{key}.safetensors"


def _backend_id(backend: str, folder: Path) -> str:
    return f"{backend}@sha256:{remembered_sha256(_tensor_file(backend, folder))[:12]}"


def _tensor_file(backend: str, folder: Path) -> Path:
    (file,) = find_weight(WEIGHTS[backend]).tensor_files(folder)
    return file
