"""The encoded prompts of a preset, and the folder that keeps them.

The two prompt embeddings of a preset, its prompt and the empty one, are the same in every run, and UMT5-XXL has 11 GB.
So those of a downloaded encoder are computed once and kept in ``text/prompts/<key>.safetensors`` of the weights folder
(tensor ``text_BLD``, ``[2, L, D]``). The key holds the hash of the encoder and the prompts; with the embeddings of the
registered encoder in place, the encoder's own files are not needed.

Letters: B prompts (the preset's, the empty one), L text tokens, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path, content_key
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS
from lipforcing_core.models.text_encoders.protocol import TextEncoder
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.encoders import (
    is_embedded,
    load_text_encoder,
    picture_and_sound_digests,
    picture_and_sound_weights,
)
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.registered import RegisteredNetwork
from lipforcing_core.weights.registry import find_weight, require_all_weights

PROMPTS_VERSION = 1
_PROMPTS_TENSOR = "text_BLD"


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Encoded prompt and negative prompt (the empty string), each ``[1, text_len, text_dim]``."""

    text_BLD: Tensor
    negative_text_BLD: Tensor


def encode_prompts(encoder: TextEncoder, prompt: str) -> Prompts:
    """The prompt of the preset beside the empty string, which stands for "no text" (H.1)."""
    text = encoder.encode([prompt, ""])
    return Prompts(text_BLD=text[:1], negative_text_BLD=text[1:])


def load_prompts(preset: Preset, weights_dir: Path | None, device: str = "cpu") -> Prompts:
    """The embeddings of the preset's prompt and of the empty one, each ``[1, L, D]`` float32 on the CPU.

    Those of a downloaded encoder are computed on ``device`` at most once, see the head of this module. Raises as
    ``load_text_encoder`` does, and ``IncompatibleCheckpointError`` for a damaged file of embeddings.
    """
    if TEXT_ENCODERS[preset.backends.text].is_embedded:
        return encode_prompts(load_text_encoder(preset), preset.schedule.prompt)
    require_all_weights(_needed_text(preset, weights_dir), weights_dir)
    assert weights_dir is not None, "the encoder is not embedded, so weights_dir or an error was due"
    kept = _kept_prompts(preset, weights_dir)
    if not kept.is_file():
        prompts = encode_prompts(load_text_encoder(preset, weights_dir, device), preset.schedule.prompt)
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


def needed_weights(preset: Preset, weights_dir: Path | None) -> list[str]:
    """Registered checkpoints that the preset's backends read; a text encoder's only until its embeddings are kept."""
    return picture_and_sound_weights(preset) + _needed_text(preset, weights_dir)


def backend_digests(preset: Preset, weights_dir: Path | None) -> list[str]:
    """What results depend on beyond preset and model: hashes of what the backends read, none for embedded ones.

    Raises ``MissingWeightsError`` as ``require_all_weights`` does.
    """
    if is_embedded(preset):
        return []
    require_all_weights(needed_weights(preset, weights_dir), weights_dir)
    assert weights_dir is not None, "a backend is not embedded, so weights_dir or an error was due"
    digests = picture_and_sound_digests(preset, weights_dir)
    embedded_text = TEXT_ENCODERS[preset.backends.text].is_embedded
    return digests if embedded_text else [*digests, _kept_prompts(preset, weights_dir).stem]


def _needed_text(preset: Preset, weights_dir: Path | None) -> list[str]:
    """The registered text encoder, unless it is embedded or its embeddings of the preset's prompts are kept."""
    entry = TEXT_ENCODERS[preset.backends.text]
    if entry.is_embedded or (weights_dir and _registered_prompts(preset, weights_dir).is_file()):
        return []
    return list(entry.weights)


def _kept_prompts(preset: Preset, folder: Path) -> Path:
    """Where the embeddings are or will be: under the hash of the registered encoder, or of the one that is here."""
    registered = _registered_prompts(preset, folder)
    if registered.is_file():
        return registered
    return _prompts_file(preset, folder, _text_network(preset, folder).sha256)


def _registered_prompts(preset: Preset, folder: Path) -> Path:
    (file,) = (file for file in find_weight(_text_network(preset, folder).weights).files if file.tensors)
    return _prompts_file(preset, folder, file.sha256)


def _prompts_file(preset: Preset, folder: Path, encoder_sha256: str | None) -> Path:
    prompts = [preset.schedule.prompt, ""]
    key = content_key(PROMPTS_VERSION, encoder_sha256, prompts, preset.model.text_len)
    return folder / "text" / "prompts" / f"{key}.safetensors"


def _text_network(preset: Preset, folder: Path) -> RegisteredNetwork:
    """The downloaded text encoder, whose files need not be there."""
    entry = TEXT_ENCODERS[preset.backends.text]
    (name,) = entry.weights
    return RegisteredNetwork(backend=entry.name, weights=name, folder=folder)
