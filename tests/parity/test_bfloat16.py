"""Transformers and codecs in bfloat16, as full-size models run, against the float32 vectors of the references.

Errors are relative, since bfloat16 keeps 8 bits whatever the size of a number. The bound of docs/numerics.md, 3 % of
the root mean square of the reference, holds up to ``BOUND_LAYERS`` transformer layers, the depth of the vectors, and
for a codec, whose depth is fixed. Beyond, it grows with the fourth root of the number of layers: independent
roundings of L blocks add up to sqrt(L), but so does the residual stream that they are relative to. Measured, with
chirp weights on three cases of 4 to 48 layers: 1.0 to 1.2 % at 6 layers, 1.3 to 1.6 % at 30 and 1.4 to 1.9 % at 40, so
the bound keeps the same distance of about 2.5 at all depths. Narrow networks need it: of 45 random transformers with
heads of 8 to 44 channels the worst was 2.5 % off, of random VAEs one of width 8, by 2.1 %.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.window import RolloutPositions
from tests.parity import test_causal_student, test_omniavatar, test_wan_vae
from tests.parity.filler import Vectors, load_vectors

pytestmark = pytest.mark.timeout(900)  # a CPU without its own instructions for bfloat16 is ten times slower

BOUND = 0.03  # of the root mean square of the reference
BOUND_LAYERS = 6


def bound(num_layers: int) -> float:
    return BOUND * max(1.0, num_layers / BOUND_LAYERS) ** 0.25


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm())


def chirp_cases(vectors: Vectors, **fields: object) -> list[dict[str, Any]]:
    """The cases with weights of full rank; skips the test where there are none."""
    cases = vectors.cases(filler="chirp", **fields)
    if not cases:
        pytest.skip(f"no such case of {vectors.folder.name} has chirp weights")
    return cases


@torch.no_grad()
def test_rollout_of_the_student(parity_dir: Path) -> None:
    """Every prediction of every chunk: errors must not grow as the cache rolls."""
    vectors = load_vectors(parity_dir, "causal_student")
    for case in chirp_cases(vectors, kind="ar_rollout"):
        data = vectors.of(case["name"])
        student = test_causal_student.build(vectors, case).to(torch.bfloat16)
        encoded = student.cache_text(test_causal_student.encode(vectors, case, student))
        num_latents, budget = case["latent_frames"], student.window.past_budget
        capacity = num_latents if budget is None else None
        cache = student.new_cache(case["batch"], case["height"], case["width"], capacity=capacity)
        assert cache.keys[0].dtype == torch.bfloat16
        positions: RolloutPositions = "window" if case["use_dynamic_rope"] else "absolute"
        limit = bound(student.config.num_layers)
        for b, (start, stop) in enumerate(test_causal_student.chunks_of(data)):
            conditions, x = encoded.chunk(start, stop), data["in.noise"][:, :, start:stop]
            for step, (t, t_next) in enumerate(zip(case["t_list"], case["t_list"][1:], strict=False)):
                # the sampler's arithmetic is float32; only the network call is bfloat16
                velocity = student.denoise_chunk(x, t, conditions, cache, positions=positions)
                x0 = x0_from_velocity(x, velocity.float(), t)
                error = relative_error(x0, data[f"out.chunk{b}.step{step}.x0"])
                assert error < limit, f"{case['name']} chunk {b} step {step}: {error:.4f}"
                if t_next > 0:
                    x = add_noise(x0, data["in.eps"][:, :, start:stop], t_next)
            student.store_chunk(x0, conditions, cache, positions=positions)


@torch.no_grad()
def test_teacher(parity_dir: Path) -> None:
    """One guided or unguided call of the bidirectional model."""
    vectors = load_vectors(parity_dir, "omniavatar_v2v_dit")
    for case in chirp_cases(vectors):
        data = vectors.of(case["name"])
        model = test_omniavatar.build(vectors, case).to(torch.bfloat16)
        cond = test_omniavatar.conditions(data, first_latent_masked=case["mask_all_frames"])
        got = test_omniavatar.run(model, data, model.encode_conditions(cond))
        error = relative_error(got, data["out.y"])
        assert error < bound(model.config.num_layers), f"{case['name']}: {error:.4f}"


@pytest.mark.slow  # minutes on such a CPU
@torch.no_grad()
def test_codecs(parity_dir: Path) -> None:
    """The Wan VAE encodes in bfloat16 in official use; decoding is held to the same bound.

    On processors with AMX pictures one latent wide are coded without oneDNN: its bfloat16 convolution of stride 2 gives
    garbage there where the result is one pixel wide (torch 2.13). No face is that small. Elsewhere oneDNN stays, since
    it is faster.
    """
    vectors, has_amx = load_vectors(parity_dir, "wan_vae"), torch.cpu._is_amx_tile_supported()
    for case in chirp_cases(vectors):
        data = vectors.of(case["name"])
        one_wide = any(data[name].shape[-1] == 1 for name in ("out.latent", "in.z") if name in data)
        with torch.backends.mkldnn.flags(enabled=False) if one_wide and has_amx else nullcontext():
            check_codec(vectors, case, data)


def check_codec(vectors: Vectors, case: dict[str, Any], data: dict[str, Tensor]) -> None:
    network = test_wan_vae.build(vectors, case["dim"], case["filler"]).to(torch.bfloat16)
    if "in.video" in data and "out.latent" in data:
        video = test_wan_vae.whole_groups(data["in.video"])
        error = relative_error(network.encode(video), data["out.latent"])
        assert error < BOUND, f"{case['name']} latent: {error:.4f}"
    if "in.z" in data and "out.decoded_unclamped" in data:
        error = relative_error(network.decode(data["in.z"]).float(), data["out.decoded_unclamped"])
        assert error < BOUND, f"{case['name']} decoded: {error:.4f}"
