"""Schedules, conversions, rotary tables, window masks, guidance and norms against the reference code.

Sizes and settings are read from the names and shapes of the vectors; every group must be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion import schedule as flow
from lipforcing_core.diffusion.guidance import combine
from lipforcing_core.diffusion.samplers import euler_sample
from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.models.conditions import EncodedConditions
from lipforcing_core.models.layers import RMSNorm, plain_norm, time_sinusoid
from lipforcing_core.models.rope import rotary_tables
from lipforcing_core.models.window import WindowConfig
from tests.parity.filler import Vectors, assert_close, load_vectors
from tests.parity.test_causal_student import check_plan


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "schedule")


def found(names: Iterable[str], pattern: str) -> list[re.Match[str]]:
    """The names that match; at least one must."""
    matches = [match for name in names if (match := re.fullmatch(pattern, name))]
    assert matches, f"no vectors are named {pattern}"
    return matches


def number(text: str) -> float:
    """``4p5`` in a name is 4.5."""
    return float(text.replace("p", "."))


def test_sampler_grids(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]
    for match in found(vectors.tensors, r"(flow_match\.steps(\d+))\.sigmas"):
        data, steps = vectors.of(match[1]), int(match[2])
        times = FlowSchedule(num_steps=steps).timesteps[:-1]
        assert_close(times, data["sigmas"], atol["flow_match_sigmas"], f"{steps} steps")
        assert_close(1000 * times, data["timesteps"], atol["flow_match_timesteps"], f"{steps} steps")
    for match in found(vectors.tensors, r"tau\.shift([\dp.]+)_(\d+)steps"):
        grid = FlowSchedule(shift=number(match[1]), num_steps=int(match[2])).timesteps
        assert_close(grid, vectors.tensors[match[0]], atol["tau"], match[0])


def test_training_grid_and_weights(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]
    for match in found(vectors.tensors, r"(flow_match\.train(\d+))\.sigmas"):
        data, schedule = vectors.of(match[1]), FlowSchedule(num_steps=int(match[2]))
        times = schedule.timesteps[:-1]
        assert_close(times, data["sigmas"], atol["flow_match_sigmas"], f"{match[1]} sigmas")
        assert_close(1000 * times, data["timesteps"], atol["flow_match_timesteps"], f"{match[1]} timesteps")
        assert_close(schedule.loss_weights(), data["weights"], atol["train_weights"], f"{match[1]} weights")
        some = vectors.of("flow_match.add_noise")
        nearest = (1000 * times - some["in.timesteps"][:, None]).abs().argmin(dim=1)
        got = schedule.loss_weights()[nearest]
        assert_close(got, some["weights"], atol["train_weights"], f"{match[1]} weights of some times")


def test_noising(vectors: Vectors) -> None:
    """The training target is the velocity that leads from the noised picture to both ends."""
    data, atol = vectors.of("flow_match.add_noise"), vectors.meta["atol"]["rf"]
    t = data["in.timesteps"].double() / 1000
    x_t = data["out"]
    assert_close(flow.add_noise(data["in.x0"], data["in.noise"], t), x_t, atol, "add_noise")
    assert_close(flow.x0_from_velocity(x_t, data["target"], t), data["in.x0"], atol, "target to x0")
    assert_close(flow.noise_from_velocity(x_t, data["target"], t), data["in.noise"], atol, "target to noise")


def test_euler_steps_and_whole_solutions(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]["rf"]
    data = vectors.of("flow_match.step")
    sample, velocity = data["in.sample"], data["in.velocity"]
    solutions = found(vectors.tensors, r"flow_match\.(ode(\d+))\.out")
    times = FlowSchedule(num_steps=int(solutions[0][2])).timesteps
    for match in found(data, r"out\.j(\d+)"):
        now, after = times[int(match[1]) :][:2]
        assert_close(sample + velocity * float(after - now), data[match[0]], atol, match[0])
    for solution in solutions:
        factor = re.search(r"velocity ([\d.]+)\*x \+ v\*sigma", vectors.meta["conventions"][solution[1]])
        assert factor

        def toy(x: Tensor, t_B: Tensor, _encoded: object, factor: float = float(factor[1])) -> Tensor:
            return factor * x + velocity * t_B.view(-1, *[1] * (x.ndim - 1)).float()

        nothing = EncodedConditions(y_BCTHW=None, context_BLD=torch.zeros(1, 0, 0), audio_BPTD=None)
        solved = euler_sample(toy, nothing, None, noise=sample, num_steps=int(solution[2]))
        assert_close(solved, vectors.tensors[solution[0]], atol, solution[0])


def test_conversions(vectors: Vectors) -> None:
    data, atol = vectors.of("rf"), vectors.meta["atol"]["rf"]
    t, x0, eps, other = (data[f"in.{name}"] for name in ("t", "x0", "eps", "x0b"))
    x_t = flow.add_noise(x0, eps, t)
    got = {
        "forward_process": x_t,
        "flow_to_x0": flow.x0_from_velocity(x_t, data["in.flow"], t),
        "x0_to_flow": flow.velocity_from_x0(x_t, other, t),
        "x0_to_eps": flow.noise_from_x0(x_t, other, t),
        "eps_to_x0": flow.x0_from_noise(x_t, eps, t),
    }
    for name, value in got.items():
        assert_close(value, data[f"out.{name}"], atol, name)
    noisiest = flow.add_noise(torch.zeros_like(eps), eps, flow.T_MAX)
    assert_close(noisiest, data["out.latents_at_max_t"], atol, "start of a student")
    assert_close(flow.x0_from_velocity(x_t, data["out.cond_velocity"], t), x0, atol, "conditional velocity")
    per_latent = flow.x0_from_velocity(data["inhom.in.xt"], data["inhom.in.flow"], data["inhom.in.t"])
    assert_close(per_latent, data["inhom.out.x0"], atol, "one time per latent")


def test_training_times(vectors: Vectors) -> None:
    data = vectors.of("rf.shifted")
    got = FlowSchedule().shift_uniform(data["in.uniform"])
    assert_close(got, data["out.t"], vectors.meta["atol"]["tau"], "shifted times")


def test_guidance(vectors: Vectors) -> None:
    data, atol = vectors.of("cfg"), vectors.meta["atol"]["rf"]
    full, text, none = (data[f"in.{name}"] for name in ("full", "text_only", "none"))
    for match in found(data, r"out\.joint_([\dp]+)"):
        assert_close(combine(full, none, number(match[1])), data[match[0]], atol, match[0])
    for match in found(data, r"out\.text([\dp]+)_audio([\dp]+)"):
        by_text, by_audio = number(match[1]), number(match[2])
        separate = combine(text, none, by_text) + combine(full, text, by_audio) - text
        assert_close(separate, data[match[0]], atol, match[0])


def test_rotary_tables(vectors: Vectors) -> None:
    axes = {"t": "time", "h": "row", "w": "column"}
    seen = set()
    for match in found(vectors.tensors, r"rotary\.head(\d+)\.([thw])\.angle_(cos|sin)"):
        want = vectors.tensors[match[0]]
        tables = rotary_tables(int(match[1]), num_positions=len(want))
        got = tables[f"{axes[match[2]]}_{match[3]}"]
        assert_close(got, want, vectors.meta["atol"]["rotary"], match[0])
        seen.add(match.group(2, 3))
    assert len(seen) == 2 * len(axes)


def window_of(match: re.Match[str]) -> tuple[WindowConfig, int]:
    """The window that a name ends with (``local`` below 1: unlimited), and the number of latents."""
    frames, chunk, local, sink = map(int, match.groups()[-4:])
    limit = local if local > 0 else None
    return WindowConfig(chunk_latents=chunk, window_latents=limit, sink_latents=sink), frames


def test_full_sequence_masks_and_positions(vectors: Vectors) -> None:
    for match in found(vectors.tensors, r"(rope\.frames(\d+)_chunk(\d+)_local(-?\d+)_sink(\d+))\.frame_mask"):
        data = vectors.of(match[1])
        wanted = {"mid.frame_mask": data["frame_mask"], "mid.rope_frame_indices": data["indices"]}
        check_plan(*window_of(match), "own_window", wanted)


def test_rollout_windows(vectors: Vectors) -> None:
    pattern = r"autoregressive_window_layout_(\d+)frames_chunk(\d+)_local(-?\d+)_sink(\d+)"
    for match in found(vectors.meta, pattern):
        window, num_latents = window_of(match)
        layout, chunks = vectors.meta[match[0]], window.chunks(num_latents)
        assert len(chunks) == len(layout)
        for want, (start, stop) in zip(layout, chunks, strict=True):
            frames = [*window.past(start), *range(start, stop)]
            assert frames == want["window_frames"]
            assert list(range(len(frames)))[-(stop - start) :] == want["query_positions"]


@torch.no_grad()
def test_time_embedding_and_norms(vectors: Vectors) -> None:
    atol, data = vectors.meta["atol"], vectors.tensors
    for match in found(data, r"time_embedding\.out\.dim(\d+)"):
        got = time_sinusoid(data["time_embedding.in.t"], int(match[1]))
        assert_close(got, data[match[0]], atol["time_embedding"], match[0])
    x = data["norm.in.x"]
    for match in found(data, r"norm\.out\.rms_eps(.+)"):
        assert_close(RMSNorm(x.shape[-1], float(match[1]))(x), data[match[0]], atol["norm"], match[0])
    for match in found(data, r"norm\.out\.layer_eps(.+)"):
        assert_close(plain_norm(x, float(match[1])), data[match[0]], atol["norm"], match[0])
