"""The causal student against the released code: chunk-wise rollout with its cache, and full-sequence mode."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.kv_cache import KVCache
from lipforcing_core.models.window import (
    RolloutPositions,
    WindowConfig,
    plan_groups,
    plan_mask,
    position_of_latents,
)
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors
from tests.parity.test_omniavatar import dit_config, keep_mask

KINDS = ("ar_rollout", "full_sequence")


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "causal_student")


@pytest.mark.parametrize("whole_clip_cache", [False, True])
@torch.no_grad()
def test_rollout(vectors: Vectors, whole_clip_cache: bool) -> None:
    """Every prediction, every re-noised latent, the store call's velocity and what the cache then holds."""
    for case in vectors.cases_of_kind("ar_rollout", known=KINDS):
        check_rollout(vectors, case, whole_clip_cache)


def check_rollout(vectors: Vectors, case: dict[str, Any], whole_clip_cache: bool) -> None:
    name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
    student = build(vectors, case)
    encoded = student.cache_text(encode(vectors, case, student))
    positions: RolloutPositions = "window" if case["use_dynamic_rope"] else "absolute"
    num_latents, budget = case["latent_frames"], student.window.past_budget
    needs_all = whole_clip_cache or budget is None
    cache = student.new_cache(
        case["batch"],
        case["height"],
        case["width"],
        capacity=max(num_latents, budget or 0) if needs_all else None,
    )
    stored = record_writes(cache)
    for b, (start, stop) in enumerate(chunks_of(data)):
        part = slice(start, stop)
        conditions, x = encoded.chunk(start, stop), data["in.noise"][:, :, part]
        for step, t in enumerate(case["t_list"][:-1]):
            velocity = student.denoise_chunk(x, t, conditions, cache, positions=positions)
            x0 = x0_from_velocity(x, velocity, t)
            assert_close(x0, data[f"out.chunk{b}.step{step}.x0"], atol, f"{name} chunk {b} step {step}")
            if case["t_list"][step + 1] > 0:
                x = add_noise(x0, data["in.eps"][:, :, part], case["t_list"][step + 1])
                want = data[f"out.chunk{b}.step{step}.renoised"]
                assert_close(x, want, atol, f"{name} chunk {b} step {step} renoised")
        velocity = student.denoise_chunk(x0, 0.0, conditions, cache, positions=positions)
        assert_close(velocity, data[f"out.chunk{b}.cache_update.flow"], atol, f"{name} chunk {b} store call")
        student.store_chunk(x0, conditions, cache, positions=positions)
        check_cache(cache, stored, {k.removeprefix(f"out.chunk{b}.cache."): v for k, v in data.items()}, case)
    assert stop == num_latents


def chunks_of(data: dict[str, Tensor]) -> Iterator[tuple[int, int]]:
    """The chunks as the vectors have them."""
    start = 0
    for b in itertools.count():
        first_prediction = data.get(f"out.chunk{b}.step0.x0")
        if first_prediction is None:
            return
        yield start, start + first_prediction.shape[2]
        start += first_prediction.shape[2]


def record_writes(cache: KVCache) -> dict[str, list[Tensor]]:
    """Everything that is written to the cache from now on, latent by latent: ``blockI.k`` and ``blockI.v``."""
    stored: dict[str, list[Tensor]] = {}
    write = cache.write

    def recording(layer: int, k_BTPNE: Tensor, v_BTPNE: Tensor) -> None:
        stored.setdefault(f"block{layer}.k", []).extend(k_BTPNE.unbind(dim=1))
        stored.setdefault(f"block{layer}.v", []).extend(v_BTPNE.unbind(dim=1))
        write(layer, k_BTPNE, v_BTPNE)

    cache.write = recording  # type: ignore[method-assign]
    return stored


def check_cache(
    cache: KVCache, stored: dict[str, list[Tensor]], want: dict[str, Tensor], case: dict[str, Any]
) -> None:
    """The reference keeps a buffer as long as the window; ours drops latents that no later chunk can see.

    So what was written is put where the reference has it; what ours holds of it is compared with that.
    """
    tokens = cache.keys[0].shape[2]
    assert int(want["global_end"]) == cache.num_latents * tokens
    window = case["local_attn_size"] if case["local_attn_size"] > 0 else case["total_num_frames"]
    held = list(range(cache.num_latents))
    if len(held) > window:
        held = held[: case["sink_size"]] + held[len(held) - (window - case["sink_size"]) :]
    assert int(want["local_end"]) == len(held) * tokens
    kept = list(range(cache.num_latents))
    if len(kept) > cache.capacity:
        sink = cache.window.sink_latents
        kept = kept[:sink] + kept[len(kept) - (cache.capacity - sink) :]
    for layer in range(len(cache.keys)):
        for kind, buffer in (("k", cache.keys[layer]), ("v", cache.values[layer])):
            key = f"block{layer}.{kind}"
            assert cache.held == len(kept)
            for place, latent in enumerate(kept):
                assert torch.equal(buffer[:, place], stored[key][latent])
            if key in want:
                got = torch.cat([stored[key][i] for i in held], dim=1)
                assert_close(got, want[key][:, : got.shape[1]], case["atol"], f"{case['name']} cache {key}")


@torch.no_grad()
def test_full_sequence(vectors: Vectors) -> None:
    """Whole clips at once, a noise level per latent; windowed cases in the reference's own positions."""
    for case in vectors.cases_of_kind("full_sequence", known=KINDS):
        data, student = vectors.of(case["name"]), build(vectors, case)
        positions = "own_window" if case["use_dynamic_rope"] else "absolute"
        check_plan(student.window, case["latent_frames"], positions, data)
        encoded = encode(vectors, case, student)
        for way in ("groups", "mask"):
            velocity = student.forward_full(data["in.x"], data["in.t"], encoded, positions=positions, way=way)
            assert_close(velocity, data["out.flow"], case["atol"], f"{case['name']} {way}")
            x0 = x0_from_velocity(data["in.x"], velocity, data["in.t"])
            assert_close(x0, data["out.x0"], case["atol"], f"{case['name']} {way} x0")


def check_plan(window: WindowConfig, num_latents: int, positions: Any, data: dict[str, Tensor]) -> None:
    mask = torch.zeros(num_latents, num_latents, dtype=torch.uint8)
    for group in plan_groups(window, num_latents, positions):
        for queries, keys in zip(group.queries, group.keys, strict=True):
            mask[torch.tensor(queries)[:, None], torch.tensor(keys)] = 1
    assert torch.equal(mask, data["mid.frame_mask"])
    assert plan_mask(window, num_latents, positions).visible == tuple(map(tuple, mask.bool().tolist()))
    assert position_of_latents(window, num_latents, positions) == data["mid.rope_frame_indices"].tolist()


def encode(vectors: Vectors, case: dict[str, Any], student: CausalStudent) -> EncodedConditions:
    data, frames = vectors.of(case["name"]), 4 * case["latent_frames"] - 3
    audio = data.get("in.audio_emb", vectors.tensors.get("common.in.audio_emb"))
    return student.encode_conditions(
        Conditions(
            text_BLD=data["in.text_embeds"],
            audio_BND=None if audio is None else audio[:, :frames].expand(case["batch"], -1, -1),
            reference_BC1HW=data["in.ref_latent"],
            keep_mask_HW=keep_mask(
                data["in.mask"],
                batch=case["batch"],
                num_latents=case["latent_frames"],
                first_latent_masked=case.get("mask_all_frames", vectors.meta["config"]["mask_all_frames"]),
            ),
            masked_video_BCTHW=data["in.masked_video"],
            reference_sequence_BCTHW=data.get("in.ref_sequence"),
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
