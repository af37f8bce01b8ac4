"""A released student and its backends in miniature: official names and formats, a few thousand weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.faces.mask import mask_source
from lipforcing_core.models.audio_encoders import wav2vec2
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs import taehv, wan_vae
from lipforcing_core.models.text_encoders import umt5
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.weights.registry import find_weight

CHANNELS, TEXT_LEN = 4, 6
VAE = wan_vae.WanVAEConfig(
    dim=8,
    z_dim=CHANNELS,
    dim_mult=(1, 2, 2, 2),
    num_res_blocks=1,
    latent_mean=(0.0,) * CHANNELS,
    latent_std=(0.5,) * CHANNELS,
)
TAEHV = taehv.TaehvConfig(latent_channels=CHANNELS, encoder_width=8, decoder_widths=(16, 12, 8, 8))
UMT5 = umt5.UMT5Config(vocab_size=16, dim=12, dim_attn=16, dim_ffn=20, num_heads=2, num_layers=2)
WORDS = ("<pad>", "</s>", "<unk>", "a", "person", "talking")
ALL_WEIGHTS = (
    "lipforcing-14b",
    "latentsync-mask",
    "wan2.1-vae",
    "taew2.1",
    "wav2vec2-base-960h",
    "umt5-xxl",
)


def tiny_wav2vec2_config() -> Any:
    ensure_torchvision()
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=40,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )


def tiny_preset() -> Preset:
    """Preset 14b with its backends, for the networks of this module."""
    values = load_preset("14b").model_dump(mode="json")
    values["video"] |= {"size": 64}
    values["model"] |= {
        "dim": 48,
        "ffn_dim": 64,
        "num_heads": 2,
        "num_layers": 4,
        "freq_dim": 32,
        "text_dim": UMT5.dim,
        "text_len": TEXT_LEN,
        "in_channels": 4 * CHANNELS + 1,
        "out_channels": CHANNELS,
        "audio_dim": 4 * 24,
        "audio_hidden": 8,
    }
    return Preset.model_validate(values)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that asks for a full-size network get a tiny one."""
    monkeypatch.setattr(wan_vae, "WanVAEConfig", lambda: VAE)
    monkeypatch.setattr(taehv, "TaehvConfig", lambda: TAEHV)
    monkeypatch.setattr(wav2vec2, "base_960h_config", tiny_wav2vec2_config)
    monkeypatch.setattr(umt5, "UMT5_XXL", UMT5)
    monkeypatch.setattr("lipforcing_core.runtime.bundle.load_preset", lambda _: tiny_preset())


def write_weights(folder: Path) -> None:
    """Random checkpoints of all registered names in ``ALL_WEIGHTS``, as they are released."""
    preset = tiny_preset()
    student = _seeded(lambda: CausalStudent(preset.model.config(), preset.window.config()))
    _save("lipforcing-14b", folder, {k: v.bfloat16() for k, v in student.state_dict().items()})
    _save("wan2.1-vae", folder, _seeded(lambda: wan_vae.WanVAE(VAE)).state_dict())
    tiny = _seeded(lambda: taehv.TinyAutoencoder(TAEHV)).state_dict()
    tiny["decoder.22.bias"].fill_(0.5)  # grey, whatever the random decoder makes of the latents
    _save("taew2.1", folder, {k: v.half() for k, v in tiny.items()})
    sound = _seeded(lambda: wav2vec2.Wav2Vec2Features(tiny_wav2vec2_config())).state_dict()
    official = {_official_sound_key(name): value for name, value in sound.items()}
    _save("wav2vec2-base-960h", folder, official | {"lm_head.weight": torch.zeros(3, 24)})
    text = _seeded(lambda: umt5.UMT5Network(UMT5)).state_dict()
    _save("umt5-xxl", folder, {k: v.bfloat16() for k, v in text.items()})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", umt5.END_ID)]
    )
    target = folder / "text" / "umt5-xxl" / "tokenizer.json"
    target.parent.mkdir(parents=True)
    tokenizer.save(str(target))
    mask = folder / "faces" / "latentsync_mask.png"
    mask.parent.mkdir()
    cv2.imwrite(str(mask), np.roll(mask_source(), -8, axis=0))  # not quite the drawn one


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def _official_sound_key(name: str) -> str:
    """The inverse of ``wav2vec2_key``, of the checkpoint with a letter classifier."""
    for ours, theirs in (("original0", "weight_g"), ("original1", "weight_v")):
        name = name.replace(f"parametrizations.weight.{ours}", theirs)
    return "wav2vec2." + name.removeprefix("model.")


def _save(name: str, folder: Path, tensors: dict[str, Tensor]) -> None:
    (path,) = find_weight(name).tensor_files(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
