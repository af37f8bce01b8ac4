"""Full-size encoders on the meta device have exactly the names and shapes of the official files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.models.audio_encoders.wav2vec2 import Wav2Vec2Features, base_960h_config
from lipforcing_core.models.text_encoders.umt5 import UMT5_XXL, UMT5Network
from lipforcing_core.weights.keymaps import umt5_key, wav2vec2_key


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def listed(parity_dir: Path, name: str) -> dict[str, Any]:
    path = parity_dir / "keys" / f"{name}.json.gz"
    if not path.is_file():
        pytest.skip(f"no key list {name}")
    return json.loads(gzip.decompress(path.read_bytes()))


def test_wav2vec2_base_960h(parity_dir: Path) -> None:
    with torch.device("meta"):
        network = Wav2Vec2Features(base_960h_config())
    official = listed(parity_dir, "wav2vec2_base_960h")
    assert {wav2vec2_key(name): shape for name, shape in official.items()} == shapes(network)
    assert network.feature_dim == 10_752
    assert wav2vec2_key("lm_head.weight") is wav2vec2_key("lm_head.bias") is None


def test_umt5_xxl(parity_dir: Path) -> None:
    with torch.device("meta"):
        network = UMT5Network(UMT5_XXL)
    official = listed(parity_dir, "umt5_xxl_encoder")
    assert shapes(network) == official
    assert all(umt5_key(name) == name for name in official)
    assert sum(weight.numel() for weight in network.parameters()) == 5_680_910_336


def test_umt5_xxl_in_the_naming_of_transformers(parity_dir: Path) -> None:
    mapping = listed(parity_dir, "umt5_xxl_to_transformers_mapping")
    assert {umt5_key(theirs): theirs for theirs in mapping.values()} == mapping
    ensure_torchvision()
    from transformers import UMT5Config, UMT5EncoderModel

    size = UMT5_XXL
    config = UMT5Config(
        vocab_size=size.vocab_size,
        d_model=size.dim,
        d_kv=size.dim_attn // size.num_heads,
        d_ff=size.dim_ffn,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
    )
    with torch.device("meta"):
        theirs = UMT5EncoderModel(config)
    renamed = {umt5_key(name): shape for name, shape in shapes(theirs).items()}
    del renamed[None]  # the embedding, listed a second time
    assert renamed == listed(parity_dir, "umt5_xxl_encoder")
