"""Adapters travel under the names that peft 0.21.2 writes: by its documented rule, and by peft itself if installed.

The rule: an adapted layer ``L`` holds ``L.base_layer.weight``, ``L.lora_A.default.weight`` and
``L.lora_B.default.weight`` in memory; ``get_peft_model_state_dict`` drops ``.default`` and all that is not the
adapter's; ``save_pretrained`` of a ``PeftModel`` writes the same below ``base_model.model.``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.checkpoints.adapters import adapter_alpha
from lipforcing_core.checkpoints.convert import plan_merge
from lipforcing_core.checkpoints.sources import find_source
from lipforcing_core.models.lora import adapter_state_dict, fold_lora, inject_lora, load_adapter
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.weights.keymaps import adapter_key
from tests.models.tiny import random_conditions, random_latents, tiny_config

RANK, ALPHA = 3, 6.0
WIDTHS = {
    "self_attn.q": (24, 24), "self_attn.k": (24, 24), "self_attn.v": (24, 24), "self_attn.o": (24, 24),
    "cross_attn.q": (24, 24), "cross_attn.k": (24, 24), "cross_attn.v": (24, 24), "cross_attn.o": (24, 24),
    "ffn.0": (24, 40), "ffn.2": (40, 24),
}  # fmt: skip
"""Inputs and outputs of the adapted layers of a block of the tiny transformer."""


def network() -> WanTransformer:
    model = WanTransformer(tiny_config()).init_weights(0)
    torch.nn.init.normal_(model.head.head.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    return model.eval()


def test_an_adapter_has_the_names_and_shapes_that_peft_gives_it() -> None:
    model = network()
    inject_lora(model, rank=RANK, alpha=ALPHA)
    want: dict[str, tuple[int, int]] = {}
    for block in range(4):
        for layer, (inputs, outputs) in WIDTHS.items():
            want[f"blocks.{block}.{layer}.lora_A.weight"] = (RANK, inputs)
            want[f"blocks.{block}.{layer}.lora_B.weight"] = (outputs, RANK)
    assert {name: tuple(value.shape) for name, value in adapter_state_dict(model).items()} == want


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # get_peft_model_state_dict
        ("blocks.0.self_attn.q.lora_A.weight", "blocks.0.self_attn.q.lora_A.weight"),
        ("blocks.11.ffn.2.lora_B.weight", "blocks.11.ffn.2.lora_B.weight"),
        # save_pretrained
        ("base_model.model.blocks.0.self_attn.q.lora_A.weight", "blocks.0.self_attn.q.lora_A.weight"),
        ("base_model.model.blocks.39.ffn.0.lora_B.weight", "blocks.39.ffn.0.lora_B.weight"),
        ("base_model.model.patch_embedding.bias", "patch_embedding.bias"),
        # the state dict of a model in training
        ("blocks.0.cross_attn.o.lora_A.default.weight", "blocks.0.cross_attn.o.lora_A.weight"),
        ("blocks.0.cross_attn.o.base_layer.weight", "blocks.0.cross_attn.o.weight"),
        ("blocks.0.cross_attn.o.base_layer.bias", "blocks.0.cross_attn.o.bias"),
        ("base_model.model.blocks.0.ffn.2.lora_B.default.weight", "blocks.0.ffn.2.lora_B.weight"),
        # the same in the official training code
        ("_core.blocks.0.ffn.2.lora_B.default.weight", "blocks.0.ffn.2.lora_B.weight"),
        ("model.blocks.0.ffn.2.base_layer.bias", "blocks.0.ffn.2.bias"),
    ],
)
def test_the_rule(theirs: str, ours: str) -> None:
    assert adapter_key(theirs) == ours


@pytest.fixture
def peft() -> Any:
    ensure_torchvision()
    return pytest.importorskip("peft", reason="peft is not installed; the documented rule is tested above")


def velocity(model: torch.nn.Module) -> torch.Tensor:
    inner: Any = model
    with torch.no_grad():
        return inner(random_latents(3), 0.5, inner.encode_conditions(random_conditions(3)))


@pytest.mark.parametrize("written_by", ["state_dict", "get_peft_model_state_dict", "save_pretrained"])
def test_what_peft_writes_loads_and_is_the_same_network(peft: Any, tmp_path: Any, written_by: str) -> None:
    settings = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(WIDTHS), init_lora_weights=False)
    trained = peft.get_peft_model(network(), settings).eval()
    inner = trained.get_base_model()
    if written_by == "save_pretrained":
        trained.save_pretrained(tmp_path, save_embedding_layers=False)
        from safetensors.torch import load_file

        state = load_file(tmp_path / "adapter_model.safetensors")
    elif written_by == "state_dict":
        state = inner.state_dict()
    else:
        state = peft.get_peft_model_state_dict(trained, save_embedding_layers=False)
    loaded = network()
    load_adapter(loaded, {str(adapter_key(name)): value for name, value in state.items()}, alpha=ALPHA)
    torch.testing.assert_close(velocity(loaded), velocity(inner), atol=1e-5, rtol=0)
    assert (velocity(loaded) - velocity(network())).abs().max() > 1e-2


def test_peft_loads_what_is_written_here(peft: Any) -> None:
    ours = network()
    inject_lora(ours, rank=RANK, alpha=ALPHA, generator=torch.Generator().manual_seed(2))
    for name, value in ours.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(3))
    state = adapter_state_dict(ours)
    theirs = peft.inject_adapter_in_model(
        peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(WIDTHS)), network()
    )
    found = peft.set_peft_model_state_dict(theirs, state)
    assert not found.unexpected_keys
    assert not [key for key in found.missing_keys if "lora_" in key]
    fold_lora(ours)
    torch.testing.assert_close(velocity(theirs), velocity(ours), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"ffn.0": 2}},
        {"bias": "all"},
        {"modules_to_save": ["head.head"]},
    ],
)
def test_what_peft_saves_is_merged_as_peft_merges_it(
    peft: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    base = network()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(WIDTHS), **settings)
    theirs = peft.get_peft_model(base, config)
    generator = torch.Generator().manual_seed(4)
    for value in theirs.parameters():
        if value.requires_grad:
            value.data += 0.1 * torch.randn(value.shape, generator=generator)
    theirs.save_pretrained(tmp_path / "adapter")
    source, adapter = (
        find_source(str(tmp_path / name), tmp_path) for name in ("base.safetensors", "adapter")
    )
    plan = plan_merge(
        source.open(), adapter.open_adapter(), alpha=adapter_alpha(adapter, source), in_channels=None
    )
    want = theirs.merge_and_unload().state_dict()
    assert plan.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(plan[name].read(), value, atol=1e-6, rtol=0)
