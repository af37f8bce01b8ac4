"""The 65-channel transformer with audio, and its LoRA, against OmniAvatar's training code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.lora import fold_lora, load_adapter, merge_lora, unfold_lora
from lipforcing_core.models.wan import WanTransformer
from tests.parity.filler import Vectors, assert_close, fill_module, filled_state, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "omniavatar_v2v_dit")


@torch.no_grad()
def test_every_case(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        check_case(vectors, case)


@torch.no_grad()
def check_case(vectors: Vectors, case: dict[str, Any]) -> None:
    name, atol, middle = case["name"], case["atol"], case["atol_mid"]
    data = vectors.of(name)
    model = build(vectors, case)
    tokens: dict[str, Tensor] = {}
    for layer, block in enumerate(model.blocks):
        block.register_forward_hook(
            lambda _m, _i, out, key=f"block{layer}": tokens.update({key: out.flatten(1, 2)})
        )
    cond = conditions(data, first_latent_masked=case["mask_all_frames"])
    encoded = model.encode_conditions(cond)
    if model.config.condition_channels:
        assert encoded.y_BCTHW is not None
        assert torch.equal(encoded.y_BCTHW, data["mid.y"])
    seen: dict[str, Tensor] = {}
    if cond.audio_BND is not None:
        assert encoded.audio_BPTD is not None
        seen["audio_proj"] = model.audio_proj(cond.audio_BND, starts_clip=True)[:, :, None, None]
        for index in range(model.config.num_audio_projections):
            seen[f"audio_cond{index}"] = encoded.audio_BPTD[:, index, :, None, None]
    grid = model.config.token_grid(*data["in.x"].shape[-2:])
    patches_BTPD = model._embed(data["in.x"], encoded)
    seen["patch_embedding"] = patches_BTPD.permute(0, 3, 1, 2).unflatten(3, grid)
    assert_close(run(model, data, encoded), data["out.y"], atol, name)
    for key, tolerance in middle.items():
        assert_close((seen | tokens)[key], data[f"mid.{key}"], tolerance, f"{name} {key}")

    if case["batch"] > 1:
        for i in range(case["batch"]):
            alone = model(data["in.x"][[i]], data["in.timestep"][[i]].double() / 1000, encoded.select([i]))
            assert_close(alone[0], data["out.y"][i], atol, f"{name} sample {i} alone")
    if case["lora"]:
        for change in (fold_lora, unfold_lora, merge_lora):
            change(model)
            assert_close(run(model, data, encoded), data["out.y"], atol, f"{name} after {change.__name__}")
        assert set(model.state_dict()) == set(vectors.meta["state_dict"])


def run(model: WanTransformer, data: dict[str, Tensor], encoded: EncodedConditions) -> Tensor:
    return model(data["in.x"], data["in.timestep"].double() / 1000, encoded)


def keep_mask(mask_HW: Tensor, *, batch: int, num_latents: int, first_latent_masked: bool) -> Tensor:
    """The mask as it is, or one for every latent that keeps all of latent 0."""
    if first_latent_masked:
        return mask_HW
    mask_BTHW = mask_HW.expand(batch, num_latents, -1, -1).clone()
    mask_BTHW[:, 0] = 1
    return mask_BTHW


def conditions(data: dict[str, Tensor], *, first_latent_masked: bool) -> Conditions:
    batch, _, num_latents = data["in.x"].shape[:3]
    return Conditions(
        text_BLD=data["in.context"],
        audio_BND=data.get("in.audio_emb"),
        reference_BC1HW=data["in.ref_latent"],
        keep_mask_HW=keep_mask(
            data["in.mask"], batch=batch, num_latents=num_latents, first_latent_masked=first_latent_masked
        ),
        masked_video_BCTHW=data.get("in.masked_video"),
        reference_sequence_BCTHW=data.get("in.ref_sequence"),
    )


def build(vectors: Vectors, case: dict[str, Any]) -> WanTransformer:
    model = WanTransformer(dit_config(vectors, case["text_tokens"]))
    fill_module(model, vectors.meta["state_dict"], case["filler"])
    if case["lora"]:
        adapter = filled_state(vectors.meta["lora_state_dict"], case["filler"])
        load_adapter(model, adapter, alpha=case["lora"]["alpha"], partial=True)
    return model.eval()


def dit_config(vectors: Vectors, text_len: int) -> DiTConfig:
    settings = vectors.meta["config"]
    audio_projection = vectors.meta["state_dict"].get("audio_proj.proj.weight")
    same = ("dim", "ffn_dim", "num_heads", "num_layers", "text_dim", "freq_dim", "eps")
    return DiTConfig(
        **{key: settings[key] for key in same},
        text_len=text_len,
        in_channels=settings["in_dim"],
        out_channels=settings["out_dim"],
        patch_size=tuple(settings["patch_size"]),
        audio_dim=None if audio_projection is None else audio_projection[1] // 4,
        audio_hidden=settings["audio_hidden_size"],
    )
