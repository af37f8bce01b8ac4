"""The causal student against the released code: chunk-wise rollout with its cache, and full-sequence mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.causal import CausalStudent, WindowConfig
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.kv_cache import KVCache
from lipforcing_core.models.window import plan_groups, position_of_latents
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors
from tests.parity.test_omniavatar import dit_config


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "causal_student")


@pytest.mark.parametrize("whole_clip_cache", [False, True])
@torch.no_grad()
def test_rollout(vectors: Vectors, whole_clip_cache: bool) -> None:
    """Every prediction, every re-noised latent, the store call's velocity and what the cache then holds."""
    cases = vectors.cases(kind="ar_rollout")
    assert cases
    for case in cases:
        check_rollout(vectors, case, whole_clip_cache)


def check_rollout(vectors: Vectors, case: dict[str, Any], whole_clip_cache: bool) -> None:
    name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
    student = build(vectors, case)
    encoded = student.cache_text(encode(vectors, case, student))
    num_latents, chunk = case["latent_frames"], case["chunk_size"]
    needs_all = whole_clip_cache or student.window.window_latents is None
    cache = student.new_cache(
        case["batch"], case["height"], case["width"], capacity=num_latents if needs_all else None
    )
    stored: dict[str, list[Tensor]] = {}
    for b, start in enumerate(range(0, num_latents, chunk)):
        part = slice(start, start + chunk)
        conditions, x = encoded.chunk(start, start + chunk), data["in.noise"][:, :, part]
        for step, t in enumerate(case["t_list"][:-1]):
            x0 = x0_from_velocity(x, student.denoise_chunk(x, t, conditions, cache), t)
            assert_close(x0, data[f"out.chunk{b}.step{step}.x0"], atol, f"{name} chunk {b} step {step}")
            if case["t_list"][step + 1] > 0:
                x = add_noise(x0, data["in.eps"][:, :, part], case["t_list"][step + 1])
                want = data[f"out.chunk{b}.step{step}.renoised"]
                assert_close(x, want, atol, f"{name} chunk {b} step {step} renoised")
        velocity = student.denoise_chunk(x0, 0.0, conditions, cache)
        assert_close(velocity, data[f"out.chunk{b}.cache_update.flow"], atol, f"{name} chunk {b} store call")
        student.store_chunk(x0, conditions, cache)
        check_cache(cache, stored, {k.removeprefix(f"out.chunk{b}.cache."): v for k, v in data.items()}, case)


def check_cache(
    cache: KVCache, stored: dict[str, list[Tensor]], want: dict[str, Tensor], case: dict[str, Any]
) -> None:
    """The reference keeps a buffer as long as the window; ours drops latents that no later chunk can see.

    So the latents are collected as they are stored, and put where the reference has them.
    """
    tokens = cache.keys[0].shape[2]
    assert int(want["global_end"]) == cache.num_latents * tokens
    window = case["local_attn_size"] if case["local_attn_size"] > 0 else case["total_num_frames"]
    held = list(range(cache.num_latents))
    if len(held) > window:
        held = held[: case["sink_size"]] + held[len(held) - (window - case["sink_size"]) :]
    assert int(want["local_end"]) == len(held) * tokens
    chunk = case["chunk_size"]
    for layer in range(len(cache.keys)):
        for kind, buffer in (("k", cache.keys[layer]), ("v", cache.values[layer])):
            key = f"block{layer}.{kind}"
            newest = buffer[:, cache.held - chunk : cache.held].clone()
            stored.setdefault(key, []).extend(newest.unbind(dim=1))
            if key in want:
                got = torch.cat([stored[key][i] for i in held], dim=1)
                assert_close(got, want[key][:, : got.shape[1]], case["atol"], f"{case['name']} cache {key}")


@torch.no_grad()
def test_full_sequence(vectors: Vectors) -> None:
    """Whole clips at once, a noise level per latent; windowed cases in the reference's own positions."""
    cases = vectors.cases(kind="full_sequence")
    assert cases
    for case in cases:
        data, student = vectors.of(case["name"]), build(vectors, case)
        positions = "own_window" if case["use_dynamic_rope"] else "absolute"
        check_plan(student.window, case["latent_frames"], positions, data)
        encoded = encode(vectors, case, student)
        velocity = student.forward_full(data["in.x"], data["in.t"], encoded, positions=positions)
        assert_close(velocity, data["out.flow"], case["atol"], case["name"])
        x0 = x0_from_velocity(data["in.x"], velocity, data["in.t"])
        assert_close(x0, data["out.x0"], case["atol"], f"{case['name']} x0")


def check_plan(window: WindowConfig, num_latents: int, positions: Any, data: dict[str, Tensor]) -> None:
    mask = torch.zeros(num_latents, num_latents, dtype=torch.uint8)
    for group in plan_groups(window, num_latents, positions):
        for queries, keys in zip(group.queries, group.keys, strict=True):
            mask[torch.tensor(queries)[:, None], torch.tensor(keys)] = 1
    assert torch.equal(mask, data["mid.frame_mask"])
    assert position_of_latents(window, num_latents, positions) == data["mid.rope_frame_indices"].tolist()


def encode(vectors: Vectors, case: dict[str, Any], student: CausalStudent) -> EncodedConditions:
    data, frames = vectors.of(case["name"]), 4 * case["latent_frames"] - 3
    return student.encode_conditions(
        Conditions(
            text_BLD=data["in.text_embeds"],
            audio_BND=vectors.tensors["common.in.audio_emb"][:, :frames],
            reference_BC1HW=data["in.ref_latent"],
            keep_mask_HW=data["in.mask"],
            masked_video_BCTHW=data["in.masked_video"],
            reference_sequence_BCTHW=data["in.ref_sequence"],
        )
    )


def build(vectors: Vectors, case: dict[str, Any]) -> CausalStudent:
    window = WindowConfig(
        chunk_latents=case["chunk_size"],
        window_latents=case["local_attn_size"] if case["local_attn_size"] > 0 else None,
        sink_latents=case["sink_size"],
    )
    student = CausalStudent(dit_config(vectors, case["text_tokens"]), window)
    fill_module(student, vectors.meta["state_dict"], case["filler"])
    return student.eval()
