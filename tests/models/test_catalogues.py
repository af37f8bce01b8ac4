"""What the catalogues of codecs and encoders say agrees with the implementations, and costs nothing to read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS, load_audio_encoder
from lipforcing_core.models.audio_encoders.wav2vec2 import base_960h_config
from lipforcing_core.models.codecs.catalogue import CODECS, fit_codec, load_codec, require_pair
from lipforcing_core.models.codecs.taehv import TaehvConfig
from lipforcing_core.models.codecs.wan_vae import WanVAEConfig
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS, TextShape, load_text_encoder
from lipforcing_core.models.text_encoders.umt5 import UMT5_XXL
from lipforcing_core.presets import load_preset, preset_names
from lipforcing_core.weights.registry import find_weight

SEAMS = (CODECS, AUDIO_ENCODERS, TEXT_ENCODERS)


def test_reading_them_imports_no_network() -> None:
    modules = ", ".join(f"lipforcing_core.models.{s}.catalogue" for s in ("codecs", "audio_encoders"))
    code = (
        f"import sys, {modules}, lipforcing_core.models.text_encoders.catalogue, lipforcing_core.presets; "
        "print(sorted({'torch', 'numpy', 'transformers', 'tokenizers', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_entries_say_what_the_implementations_are() -> None:
    assert AUDIO_ENCODERS["log-mel"].feature_dim == load_audio_encoder("log-mel").feature_dim
    config = base_960h_config()
    assert AUDIO_ENCODERS["wav2vec2"].feature_dim == (config.num_hidden_layers + 2) * config.hidden_size
    assert CODECS["wan-vae"].latent_channels == WanVAEConfig().z_dim
    assert CODECS["taehv"].latent_channels == TaehvConfig().latent_channels
    assert TEXT_ENCODERS["umt5"].text_dim == UMT5_XXL.dim
    shape = TextShape(text_len=3, text_dim=5)
    assert load_text_encoder("hash", shape).encode(["a"]).shape == (1, 3, 5)


def test_entries_name_registered_weights_and_the_first_needs_none() -> None:
    for seam in SEAMS:
        assert seam[seam.default].is_embedded
        for entry in seam:
            assert entry.summary
            assert not entry.summary.endswith(".")
            for name in entry.weights:
                find_weight(name)


def test_types_follow_the_release() -> None:
    """Wan VAE: encodes in bfloat16, decodes in float32; TAEHV float16; on a CPU both float32; UMT5 bfloat16."""
    vae, tiny = CODECS["wan-vae"], CODECS["taehv"]
    for device in ("cuda", "cuda:1"):
        assert (vae.encoder_dtype.on(device), vae.decoder_dtype.on(device)) == (torch.bfloat16, torch.float32)
        assert tiny.encoder_dtype.on(device) == tiny.decoder_dtype.on(device) == torch.float16
        assert TEXT_ENCODERS["umt5"].dtype.on(device) == torch.bfloat16
        assert AUDIO_ENCODERS["wav2vec2"].dtype.on(device) == torch.float32
    for entry in CODECS:
        assert entry.encoder_dtype.on("cpu") == entry.decoder_dtype.on("cpu") == torch.float32
    assert TEXT_ENCODERS["umt5"].dtype.on("cpu") == torch.bfloat16


def test_pairs() -> None:
    for encoding, decoding in (("wan-vae", "taehv"), ("taehv", "wan-vae"), ("block-pca", "block-pca")):
        require_pair(encoding, decoding)
    with pytest.raises(BadInputError, match="block-pca cannot decode the latents of wan-vae"):
        load_codec("wan-vae", "block-pca")
    with pytest.raises(BadInputError, match="needs the file it was fitted into"):
        load_codec("block-pca")


def test_fitting_through_the_catalogue() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (16, 128, 128, 3), np.uint8)
    codec = fit_codec("block-pca", [clip], {"num_channels": 3, "motion_weight": 2.0, "whitening": 0.5})
    assert codec.latent_channels == 3
    with pytest.raises(BadInputError, match="wan-vae is not fitted"):
        fit_codec("wan-vae", [clip], {})


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_fit_their_backends(name: str) -> None:
    preset = load_preset(name)
    codec = CODECS[preset.backends.codec]
    fitted = preset.codec.num_channels if preset.codec else None
    assert preset.model.out_channels == (codec.latent_channels or fitted)
    assert preset.model.audio_dim == AUDIO_ENCODERS[preset.backends.audio].feature_dim
    assert TEXT_ENCODERS[preset.backends.text].text_dim in (None, preset.model.text_dim)
