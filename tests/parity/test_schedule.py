"""Schedules, conversions, rotary tables, window masks, guidance and norms against the reference code.

Sizes and settings are read from the names, shapes and conventions of the vectors; a test whose whole group is not
there is skipped. The linear tables (``rf.out.t_list_N``, ``rf.out.sigma_table``) have no counterpart in this project.
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
    """The names that match; at least one must, but the test is skipped where the group has no vectors at all."""
    names = list(names)
    matches = [match for name in names if (match := re.fullmatch(pattern, name))]
    if not matches:
        literal = re.match(r"\(?((\w|\\\.)+)", pattern)
        assert literal
        start = literal[1].replace("\\", "")
        assert not any(name.startswith(start) for name in names), f"no vectors are named {pattern}"
        pytest.skip(f"no vectors of {start}")
    return matches


def group(vectors: Vectors, prefix: str) -> dict[str, Tensor]:
    """All tensors below ``prefix``; skips the test where there are none."""
    data = vectors.of(prefix)
    if not data:
        pytest.skip(f"no vectors of {prefix}")
    return data


def sampler(vectors: Vectors, num_steps: int) -> FlowSchedule:
    """A grid with the shift that the conventions state."""
    shift = re.search(r"shift ([\d.]+)", vectors.meta["conventions"]["flow_match"])
    assert shift
    return FlowSchedule(shift=float(shift[1]), num_steps=num_steps)


def training_grids(vectors: Vectors) -> list[FlowSchedule]:
    """The training grids that are stored, the finest first."""
    names = found(vectors.tensors, r"flow_match\.train(\d+)\.sigmas")
    return [sampler(vectors, steps) for steps in sorted((int(match[1]) for match in names), reverse=True)]


def nearest(schedule: FlowSchedule, model_times: Tensor) -> Tensor:
    """The places in the grid that the reference takes for times between them: it looks them up."""
    grid = (1000 * schedule.timesteps[:-1]).float()
    return (grid - model_times[:, None]).abs().argmin(dim=1)


def number(text: str) -> float:
    """``4p5`` in a name is 4.5."""
    return float(text.replace("p", "."))


def test_sampler_grids(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]
    for match in found(vectors.tensors, r"(flow_match\.steps(\d+))\.sigmas"):
        data, steps = vectors.of(match[1]), int(match[2])
        times = sampler(vectors, steps).timesteps[:-1]
        assert_close(times, data["sigmas"], atol["flow_match_sigmas"], f"{steps} steps")
        assert_close(1000 * times, data["timesteps"], atol["flow_match_timesteps"], f"{steps} steps")


def test_exact_grids(vectors: Vectors) -> None:
    for match in found(vectors.tensors, r"tau\.shift([\dp.]+)_(\d+)steps"):
        grid = FlowSchedule(shift=number(match[1]), num_steps=int(match[2])).timesteps
        assert_close(grid, vectors.tensors[match[0]], vectors.meta["atol"]["tau"], match[0])


def test_training_grids_and_weights(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]
    for schedule in training_grids(vectors):
        name, times = f"flow_match.train{schedule.num_steps}", schedule.timesteps[:-1]
        data = vectors.of(name)
        assert_close(times, data["sigmas"], atol["flow_match_sigmas"], f"{name} sigmas")
        assert_close(1000 * times, data["timesteps"], atol["flow_match_timesteps"], f"{name} timesteps")
        assert_close(schedule.loss_weights(), data["weights"], atol["train_weights"], f"{name} weights")


def test_noising(vectors: Vectors) -> None:
    """The training target is the velocity that leads from the noised picture to both ends.

    Times between those of the grid are taken for the nearest of it; which grid is not said, but one must fit all.
    """
    data, atol = group(vectors, "flow_match.add_noise"), vectors.meta["atol"]
    problems = []
    for schedule in training_grids(vectors):
        try:
            check_noising(data, schedule, atol)
            return
        except AssertionError as error:
            problems.append(f"{schedule.num_steps} steps: {error}")
    pytest.fail("; ".join(problems))


def check_noising(data: dict[str, Tensor], schedule: FlowSchedule, atol: dict[str, float]) -> None:
    place = nearest(schedule, data["in.timesteps"])
    t, x_t = schedule.timesteps[place], data["out"]
    assert_close(schedule.loss_weights(t), data["weights"], atol["train_weights"], "weights")
    assert_close(flow.add_noise(data["in.x0"], data["in.noise"], t), x_t, atol["rf"], "add_noise")
    assert_close(flow.x0_from_velocity(x_t, data["target"], t), data["in.x0"], atol["rf"], "target to x0")
    noise = flow.noise_from_velocity(x_t, data["target"], t)
    assert_close(noise, data["in.noise"], atol["rf"], "target to noise")


def test_euler_steps(vectors: Vectors) -> None:
    """On one of the grids whose whole solutions are stored."""
    data, atol = group(vectors, "flow_match.step"), vectors.meta["atol"]["rf"]
    sample, velocity = data["in.sample"], data["in.velocity"]
    steps = found(data, r"out\.j(\d+)")
    grids = [
        sampler(vectors, int(m[1])).timesteps for m in found(vectors.tensors, r"flow_match\.ode(\d+)\.out")
    ]
    excess = []
    for times in (grid for grid in grids if len(grid) > 1 + max(int(match[1]) for match in steps)):
        errors = []
        for match in steps:
            now, after = times[int(match[1]) :][:2]
            errors.append((sample + velocity * float(after - now) - data[match[0]]).abs().max())
        excess.append(float(max(errors)) / atol)
    assert excess, "no grid is fine enough"
    assert min(excess) <= 1, f"steps differ by {min(excess):.2g} x atol"


def test_whole_solutions(vectors: Vectors) -> None:
    data, atol = group(vectors, "flow_match.step"), vectors.meta["atol"]["rf"]
    sample, velocity = data["in.sample"], data["in.velocity"]
    for solution in found(vectors.tensors, r"flow_match\.ode(\d+)\.out"):
        schedule = sampler(vectors, int(solution[1]))
        rule = vectors.meta["conventions"][f"ode{schedule.num_steps}"]
        factor = re.search(r"velocity ([\d.]+)\*x \+ v\*sigma", rule)
        assert factor

        def toy(x: Tensor, t_B: Tensor, _encoded: object, factor: float = float(factor[1])) -> Tensor:
            return factor * x + velocity * t_B.view(-1, *[1] * (x.ndim - 1)).float()

        nothing = EncodedConditions(y_BCTHW=None, context_BLD=torch.zeros(1, 0, 0), audio_BPTD=None)
        solved = euler_sample(toy, nothing, None, noise=sample, schedule=schedule)
        assert_close(solved, vectors.tensors[solution[0]], atol, solution[0])


def test_conversions(vectors: Vectors) -> None:
    data, atol = group(vectors, "rf"), vectors.meta["atol"]["rf"]
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
    assert_close(1000 * t, data["out.rescale_t"], 1000 * atol, "time of the network")


def test_one_time_per_latent(vectors: Vectors) -> None:
    data = group(vectors, "rf.inhom")
    per_latent = flow.x0_from_velocity(data["in.xt"], data["in.flow"], data["in.t"])
    assert_close(per_latent, data["out.x0"], vectors.meta["atol"]["rf"], "one time per latent")


def test_training_times(vectors: Vectors) -> None:
    data = group(vectors, "rf.shifted")
    shift = re.search(r"-> ([\d.]+)t/\(1", vectors.meta["conventions"]["rf.shifted"])
    assert shift
    got = FlowSchedule(shift=float(shift[1])).shift_uniform(data["in.uniform"])
    assert_close(got, data["out.t"], vectors.meta["atol"]["tau"], "shifted times")


def test_guidance(vectors: Vectors) -> None:
    data, atol = group(vectors, "cfg"), vectors.meta["atol"]["rf"]
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
def test_time_embedding(vectors: Vectors) -> None:
    atol, data = vectors.meta["atol"], vectors.tensors
    for match in found(data, r"time_embedding\.out\.dim(\d+)"):
        got = time_sinusoid(data["time_embedding.in.t"], int(match[1]))
        assert_close(got, data[match[0]], atol["time_embedding"], match[0])


@torch.no_grad()
def test_norms(vectors: Vectors) -> None:
    atol, data = vectors.meta["atol"], vectors.tensors
    x = group(vectors, "norm")["in.x"]
    for match in found(data, r"norm\.out\.rms_eps(.+)"):
        assert_close(RMSNorm(x.shape[-1], float(match[1]))(x), data[match[0]], atol["norm"], match[0])
    for match in found(data, r"norm\.out\.layer_eps(.+)"):
        assert_close(plain_norm(x, float(match[1])), data[match[0]], atol["norm"], match[0])
