"""Transformers and codecs in bfloat16, as full-size models run, against the float32 vectors of the references.

docs/numerics.md states the bound; it is relative, since bfloat16 keeps 8 bits whatever the size of a number.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from tests.parity import test_causal_student, test_omniavatar, test_wan_vae
from tests.parity.filler import load_vectors

BOUND = 0.02  # of the root mean square of the reference


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm())


@torch.no_grad()
def test_rollout_of_the_student(parity_dir: Path) -> None:
    """Every prediction of every chunk: errors must not grow as the cache rolls."""
    vectors = load_vectors(parity_dir, "causal_student")
    for case in vectors.cases(kind="ar_rollout", filler="chirp"):
        data = vectors.of(case["name"])
        student = test_causal_student.build(vectors, case).to(torch.bfloat16)
        encoded = student.cache_text(test_causal_student.encode(vectors, case, student))
        num_latents, chunk = case["latent_frames"], case["chunk_size"]
        capacity = num_latents if student.window.window_latents is None else None
        cache = student.new_cache(case["batch"], case["height"], case["width"], capacity=capacity)
        assert cache.keys[0].dtype == torch.bfloat16
        for b, start in enumerate(range(0, num_latents, chunk)):
            conditions, x = encoded.chunk(start, start + chunk), data["in.noise"][:, :, start : start + chunk]
            for step, (t, t_next) in enumerate(zip(case["t_list"], case["t_list"][1:], strict=False)):
                # the sampler's arithmetic is float32; only the network call is bfloat16
                x0 = x0_from_velocity(x, student.denoise_chunk(x, t, conditions, cache).float(), t)
                error = relative_error(x0, data[f"out.chunk{b}.step{step}.x0"])
                assert error < BOUND, f"{case['name']} chunk {b} step {step}: {error:.4f}"
                if t_next > 0:
                    x = add_noise(x0, data["in.eps"][:, :, start : start + chunk], t_next)
            student.store_chunk(x0, conditions, cache)


@torch.no_grad()
def test_teacher(parity_dir: Path) -> None:
    """One guided or unguided call of the bidirectional model."""
    vectors = load_vectors(parity_dir, "omniavatar_v2v_dit")
    for case in vectors.cases(filler="chirp"):
        data = vectors.of(case["name"])
        model = test_omniavatar.build(vectors, case).to(torch.bfloat16)
        cond = test_omniavatar.conditions(data, first_latent_masked=case["mask_all_frames"])
        got = test_omniavatar.run(model, data, model.encode_conditions(cond))
        error = relative_error(got, data["out.y"])
        assert error < BOUND, f"{case['name']}: {error:.4f}"


@torch.no_grad()
def test_codecs(parity_dir: Path) -> None:
    """The Wan VAE encodes in bfloat16 in official use; decoding is held to the same bound."""
    vectors = load_vectors(parity_dir, "wan_vae")
    for case in vectors.cases(filler="chirp"):
        data = vectors.of(case["name"])
        network = test_wan_vae.build(vectors, case["dim"], "chirp").to(torch.bfloat16)
        whole = 1 + 4 * ((case["frames"] - 1) // 4)
        assert relative_error(network.encode(data["in.video"][:, :, :whole]), data["out.latent"]) < BOUND
        decoded = network.decode(data["in.z"]).float()
        assert relative_error(decoded, data["out.decoded_unclamped"]) < BOUND
