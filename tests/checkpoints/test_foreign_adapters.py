"""Adapters that kohya, ComfyUI and diffusers wrote are merged by their conventions, and what changed is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.checkpoints.adapters import adapter_alpha
from lipforcing_core.checkpoints.convert import plan_merge
from lipforcing_core.checkpoints.sources import find_source
from lipforcing_core.weights.keymaps import adapter_key, is_foreign_adapter

RANK, WIDTH = 2, 6
LAYERS = [
    f"blocks.{block}.{layer}"
    for block in range(12)
    for layer in (
        *(f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in ("q", "k", "v", "o")),
        "ffn.0",
        "ffn.2",
    )
]
DIFFUSERS = {
    "self_attn": "attn1", "cross_attn": "attn2", "q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0",
}  # fmt: skip


def diffusers_name(layer: str) -> str:
    _, block, part, name = layer.split(".")
    if part == "ffn":
        return f"blocks.{block}.{'ffn.net.0.proj' if name == '0' else 'ffn.net.2'}"
    return f"blocks.{block}.{DIFFUSERS[part]}.{DIFFUSERS[name]}"


CONVENTIONS = {
    "kohya": (lambda layer: "lora_unet_" + layer.replace(".", "_"), "lora_down.weight", "lora_up.weight"),
    "kohya of diffusers": (
        lambda layer: "lora_unet_" + diffusers_name(layer).replace(".", "_"), "lora_down.weight", "lora_up.weight",
    ),
    "ComfyUI": (lambda layer: f"diffusion_model.{layer}", "lora_A.weight", "lora_B.weight"),
    "ComfyUI, down and up": (lambda layer: f"diffusion_model.{layer}", "lora_down.weight", "lora_up.weight"),
    "diffusers": (lambda layer: f"transformer.{diffusers_name(layer)}", "lora_A.weight", "lora_B.weight"),
    "diffusers, old": (lambda layer: f"transformer.{diffusers_name(layer)}", "lora.down.weight", "lora.up.weight"),
}  # fmt: skip


def matrices(layer: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(LAYERS.index(layer))
    return torch.randn(RANK, WIDTH, generator=generator), torch.randn(WIDTH, RANK, generator=generator)


def write_base(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(99)
    weights = {f"{layer}.weight": torch.randn(WIDTH, WIDTH, generator=generator) for layer in LAYERS}
    save_file(weights, folder / "base.safetensors")
    return folder / "base.safetensors"


def write_adapter(
    folder: Path, convention: str, *, alpha: float | None, layers: list[str] = LAYERS, factor: float = 1.0
) -> Path:
    rename, down, up = CONVENTIONS[convention]
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        a, b = matrices(layer)
        tensors[f"{rename(layer)}.{down}"], tensors[f"{rename(layer)}.{up}"] = a, b * factor
        if alpha is not None:
            tensors[f"{rename(layer)}.alpha"] = torch.tensor(alpha)
    save_file(tensors, folder / "adapter.safetensors")
    return folder / "adapter.safetensors"


def merge(
    base: Path, adapter: Path, *, alpha: float | None = None, partial: bool = False
) -> dict[str, Tensor]:
    sources = [find_source(str(path), base.parent) for path in (base, adapter)]
    plan = plan_merge(
        sources[0].open(),
        sources[1].open_adapter(),
        alpha=adapter_alpha(sources[1], sources[0], given=alpha),
        partial=partial,
    )
    return {name: planned.read() for name, planned in plan.items()}


@pytest.mark.parametrize("alpha", [None, 1.0, 8.0])
@pytest.mark.parametrize("convention", list(CONVENTIONS))
def test_merged_by_the_convention(convention: str, alpha: float | None, tmp_path: Path) -> None:
    """W + alpha / rank B A with the file's alpha, and W + B A where it keeps none."""
    base, adapter = write_base(tmp_path), write_adapter(tmp_path, convention, alpha=alpha)
    merged, own = merge(base, adapter), load_file(base)
    assert merged.keys() == own.keys()
    for layer in LAYERS:
        a, b = matrices(layer)
        want = own[f"{layer}.weight"] + (1.0 if alpha is None else alpha / RANK) * b @ a
        torch.testing.assert_close(merged[f"{layer}.weight"], want)


def test_every_layer_has_its_own_alpha(tmp_path: Path) -> None:
    base, path = write_base(tmp_path), write_adapter(tmp_path, "kohya", alpha=1.0)
    tensors = load_file(path)
    tensors["lora_unet_blocks_10_ffn_2.alpha"] = torch.tensor([6.0])
    save_file(tensors, path)
    merged, own = merge(base, path), load_file(base)
    for layer, alpha in (("blocks.10.ffn.2", 6.0), ("blocks.1.ffn.2", 1.0)):
        a, b = matrices(layer)
        torch.testing.assert_close(merged[f"{layer}.weight"], own[f"{layer}.weight"] + alpha / RANK * b @ a)


def test_alphas_that_do_not_add_up(tmp_path: Path) -> None:
    base, path = write_base(tmp_path), write_adapter(tmp_path, "kohya", alpha=1.0)
    with pytest.raises(BadInputError, match="keeps an alpha for every layer: leave out --alpha"):
        merge(base, path, alpha=3.0)
    tensors = load_file(path)
    name = "lora_unet_blocks_0_ffn_0.alpha"
    for value, words in (
        (torch.tensor(0.0), "is 0,"),
        (torch.tensor(torch.nan), "is nan"),
        (torch.ones(2), "no single"),
    ):
        save_file(tensors | {name: value}, path)
        with pytest.raises(IncompatibleCheckpointError, match=rf"blocks\.0\.ffn\.0\.alpha.*{words}"):
            merge(base, path)
    del tensors[name]
    save_file(tensors, path)
    with pytest.raises(IncompatibleCheckpointError, match=r"blocks\.0\.ffn\.0\.alpha is missing, and other"):
        merge(base, path)


def test_a_given_alpha_holds_where_the_file_has_none(tmp_path: Path) -> None:
    base, path = write_base(tmp_path), write_adapter(tmp_path, "ComfyUI", alpha=None)
    merged, own = merge(base, path, alpha=4.0), load_file(base)
    a, b = matrices(LAYERS[0])
    torch.testing.assert_close(merged[f"{LAYERS[0]}.weight"], own[f"{LAYERS[0]}.weight"] + 4.0 / RANK * b @ a)


def test_names_of_peft_stay_and_want_an_alpha(tmp_path: Path) -> None:
    base = write_base(tmp_path)
    save_file(
        {
            f"{layer}.{name}.weight": m
            for layer in LAYERS
            for name, m in zip(("lora_A", "lora_B"), matrices(layer), strict=True)
        },
        tmp_path / "peft.safetensors",
    )
    with pytest.raises(BadInputError, match=r"stands nowhere.*give --alpha"):
        merge(base, tmp_path / "peft.safetensors")
    assert not is_foreign_adapter("blocks.0.ffn.0.lora_A.weight")
    assert not is_foreign_adapter("base_model.model.blocks.0.ffn.0.lora_A.weight")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lora_unet_blocks_39_cross_attn_k_img.lora_up.weight", "blocks.39.cross_attn.k_img.lora_B.weight"),
        ("lora_unet_time_projection_1.lora_down.weight", "time_projection.1.lora_A.weight"),
        ("lora_unet_head_head.alpha", "head.head.alpha"),
        ("diffusion_model.text_embedding.0.lora_A.weight", "text_embedding.0.lora_A.weight"),
        ("transformer.proj_out.lora_B.weight", "head.head.lora_B.weight"),
        ("transformer.condition_embedder.time_proj.lora_A.weight", "time_projection.1.lora_A.weight"),
        ("lora_unet_down_blocks_0_attentions_0.lora_down.weight", "down_blocks_0_attentions_0.lora_A.weight"),
        ("blocks.0.ffn.0.weight", "blocks.0.ffn.0.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert adapter_key(theirs) == ours


def test_an_adapter_of_another_model_is_named(tmp_path: Path) -> None:
    base = write_base(tmp_path)
    save_file(
        {
            "lora_unet_down_blocks_0_attn.lora_down.weight": torch.ones(RANK, WIDTH),
            "lora_unet_down_blocks_0_attn.lora_up.weight": torch.ones(WIDTH, RANK),
        },
        tmp_path / "sd.safetensors",
    )
    with pytest.raises(IncompatibleCheckpointError, match=r"down_blocks_0_attn\.lora_A\.weight has no"):
        merge(base, tmp_path / "sd.safetensors")


@pytest.mark.parametrize(
    ("leaf", "kind"),
    [
        ("dora_scale", "DoRA"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("lora_mid.weight", "convolutions"),
        ("diff_b", "whole differences"),
    ],
)
def test_other_kinds_of_adapters_are_named(leaf: str, kind: str, tmp_path: Path) -> None:
    base, path = write_base(tmp_path), write_adapter(tmp_path, "kohya", alpha=1.0)
    save_file(load_file(path) | {f"lora_unet_blocks_0_ffn_0.{leaf}": torch.ones(2)}, path)
    with pytest.raises(
        IncompatibleCheckpointError, match=rf"{leaf} belongs to .*{kind}.*cannot be merged here"
    ):
        merge(base, path)


def export(base: Path, adapter: Path, *options: str) -> str:
    output = base.parent / "merged.safetensors"
    command = ["weights", "export", str(base), str(adapter), "-o", str(output), *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert output.is_file()
    return " ".join(result.output.split())


def test_the_command_says_how_many_layers_changed(tmp_path: Path) -> None:
    base, count = write_base(tmp_path), len(LAYERS)
    said = export(base, write_adapter(tmp_path, "kohya", alpha=1.0))
    assert f"{count} of {count} adapted layers changed; the base has {count} that adapters change" in said
    assert "warning" not in said
    assert "note" not in said


def test_an_adapter_of_zeros_is_said(tmp_path: Path) -> None:
    base = write_base(tmp_path)
    said = export(base, write_adapter(tmp_path, "ComfyUI", alpha=None, factor=0.0))
    assert f"warning: the adapter changes nothing: 0 of {len(LAYERS)} adapted layers changed" in said


def test_an_adapter_that_rounds_away_is_said(tmp_path: Path) -> None:
    """In bfloat16 a change of a millionth is none."""
    base = write_base(tmp_path)
    said = export(base, write_adapter(tmp_path, "ComfyUI", alpha=None, factor=1e-7), "--dtype", "bf16")
    assert "adapter changes nothing" in said or int(said.split(" of 120 adapted")[0].split()[-1]) < 20


def test_half_the_blocks_are_said(tmp_path: Path) -> None:
    base, half = write_base(tmp_path), LAYERS[: len(LAYERS) // 2]
    path = write_adapter(tmp_path, "kohya", alpha=1.0, layers=half)
    with pytest.raises(
        IncompatibleCheckpointError, match=f"{len(half)} of {len(LAYERS)} layers are not adapted"
    ):
        merge(base, path)
    said = export(base, path, "--partial")
    assert f"note: {len(half)} of {len(half)} adapted layers changed; the base has {len(LAYERS)}" in said
