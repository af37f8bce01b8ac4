"""Full-size transformers on the meta device have exactly the names, shapes and sizes of the official files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.lora import adapter_state_dict, inject_lora, lora_layers
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.models.window import WindowConfig

SIZES = {
    "1.3B": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30},
    "14B": {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40},
}
PARAMETERS = {  # method A.1: (T2V, V2V + audio, one block, LoRA rank 128)
    "1.3B": (1_418_996_800, 1_421_383_840, 46_440_704, 174_981_120),
    "14B": (14_288_491_584, 14_294_081_696, 351_394_304, 613_416_960),
}
FULLY_TRAINED = ("audio_proj", "audio_cond_projs", "patch_embedding")


def shapes(model: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def listed(parity_dir: Path, name: str) -> dict[str, list[int]]:
    path = parity_dir / "keys" / f"{name}.json.gz"
    if not path.is_file():
        pytest.skip(f"no key list {name}")
    return json.loads(gzip.decompress(path.read_bytes()))


def on_meta(size: str, *, v2v: bool) -> CausalStudent:
    config = DiTConfig(
        **SIZES[size],
        text_dim=4096,
        text_len=512,
        in_channels=65 if v2v else 16,
        audio_dim=10752 if v2v else None,
    )
    with torch.device("meta"):
        return CausalStudent(config, WindowConfig())


@pytest.mark.parametrize("size", SIZES)
def test_sizes_of_the_specification(size: str) -> None:
    text_to_video, v2v, block, lora = PARAMETERS[size]
    assert count(on_meta(size, v2v=False)) == text_to_video
    model = on_meta(size, v2v=True)
    assert (count(model), count(model.blocks[0])) == (v2v, block)
    inject_lora(model, rank=128, alpha=64)
    assert sum(count(layer.lora_A) + count(layer.lora_B) for _, layer in lora_layers(model)) == lora
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == lora


@pytest.mark.parametrize("size", SIZES)
def test_official_names_and_shapes(parity_dir: Path, size: str) -> None:
    assert shapes(on_meta(size, v2v=False)) == listed(parity_dir, f"wan2.1_t2v_{size}")
    model = on_meta(size, v2v=True)
    assert shapes(model) == listed(parity_dir, f"omniavatar_v2v_{size}_full")
    inject_lora(model, rank=128, alpha=64, also_train=FULLY_TRAINED)
    adapter = adapter_state_dict(model, also=FULLY_TRAINED)
    want = listed(parity_dir, f"omniavatar_v2v_{size}_adapter_rank128")
    assert {name: list(value.shape) for name, value in adapter.items()} == want


def test_student_and_teacher_share_names() -> None:
    config = DiTConfig(dim=24, ffn_dim=32, num_heads=2, num_layers=4, text_dim=8, text_len=4, audio_dim=6)
    assert shapes(CausalStudent(config, WindowConfig())) == shapes(WanTransformer(config))
