"""Schedules, conversions, rotary tables, window masks, guidance and norms against the reference code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion import schedule as flow
from lipforcing_core.diffusion.guidance import combine
from lipforcing_core.diffusion.samplers import euler_sample
from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.models.layers import RMSNorm, plain_norm, time_sinusoid
from lipforcing_core.models.rope import rotary_tables
from lipforcing_core.models.window import WindowConfig
from tests.parity.filler import Vectors, assert_close, load_vectors
from tests.parity.test_causal_student import check_plan


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "schedule")


def test_sampler_grids(vectors: Vectors) -> None:
    atol = vectors.meta["atol"]
    for steps in (50, 25, 30, 4):
        data = vectors.of(f"flow_match.steps{steps}")
        times = FlowSchedule(num_steps=steps).timesteps[:-1]
        assert_close(times, data["sigmas"], atol["flow_match_sigmas"], f"{steps} steps")
        assert_close(1000 * times, data["timesteps"], atol["flow_match_timesteps"], f"{steps} steps")
    assert_close(FlowSchedule().timesteps, vectors.tensors["tau.shift5_50steps"], atol["tau"], "tau")


def test_training_grid_and_weights(vectors: Vectors) -> None:
    data, schedule = vectors.of("flow_match.train1000"), FlowSchedule(num_steps=1000)
    assert_close(schedule.timesteps[:-1], data["sigmas"], vectors.meta["atol"]["flow_match_sigmas"], "sigmas")
    assert_close(schedule.loss_weights(), data["weights"], vectors.meta["atol"]["train_weights"], "weights")


def test_noising(vectors: Vectors) -> None:
    data, atol = vectors.of("flow_match.add_noise"), vectors.meta["atol"]["rf"]
    t = data["in.timesteps"].double() / 1000
    assert_close(flow.add_noise(data["in.x0"], data["in.noise"], t), data["out"], atol, "add_noise")
    assert_close(
        flow.velocity_from_x0(data["out"], data["in.x0"], t), data["target"], 20 * atol, "target velocity"
    )


def test_euler_steps_and_a_whole_solution(vectors: Vectors) -> None:
    data, atol = vectors.of("flow_match"), vectors.meta["atol"]["rf"]
    sample, velocity = data["step.in.sample"], data["step.in.velocity"]
    times = FlowSchedule().timesteps
    for name, want in vectors.of("flow_match.step.out").items():
        j = int(name.removeprefix("j"))
        assert_close(sample + velocity * float(times[j + 1] - times[j]), want, atol, name)

    def toy(x: Tensor, t_B: Tensor, _encoded: object) -> Tensor:
        return 0.3 * x + velocity * t_B.view(-1, 1, 1).float()

    solved = euler_sample(toy, None, None, noise=sample)
    assert_close(solved, data["ode50.out"], atol, "50 Euler steps")


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
    per_latent = flow.x0_from_velocity(data["inhom.in.xt"], data["inhom.in.flow"], data["inhom.in.t"])
    assert_close(per_latent, data["inhom.out.x0"], atol, "one time per latent")


def test_training_times(vectors: Vectors) -> None:
    data = vectors.of("rf.shifted")
    got = FlowSchedule().shift_uniform(data["in.uniform"])
    assert_close(got, data["out.t"], vectors.meta["atol"]["tau"], "shifted times")


def test_guidance(vectors: Vectors) -> None:
    data, atol = vectors.of("cfg"), vectors.meta["atol"]["rf"]
    full, text, none = (data[f"in.{name}"] for name in ("full", "text_only", "none"))
    assert_close(combine(full, none, 4.5), data["out.joint_4p5"], 4 * atol, "joint")
    separate = combine(text, none, 4.5) + combine(full, text, 3.0) - text
    assert_close(separate, data["out.text4p5_audio3"], 4 * atol, "separate")


def test_rotary_tables(vectors: Vectors) -> None:
    heads = {name.split(".")[1] for name in vectors.tensors if name.startswith("rotary.")}
    assert heads
    for head in heads:
        tables = rotary_tables(int(head.removeprefix("head")), num_positions=32)
        for axis, name in (("t", "time"), ("h", "row"), ("w", "column")):
            for kind in ("cos", "sin"):
                want = vectors.tensors[f"rotary.{head}.{axis}.angle_{kind}"]
                assert_close(tables[f"{name}_{kind}"], want, vectors.meta["atol"]["rotary"], f"{head} {axis}")


def test_full_sequence_masks_and_positions(vectors: Vectors) -> None:
    layouts = {name.split(".")[1] for name in vectors.tensors if name.startswith("rope.")}
    assert layouts
    for layout in layouts:
        match = re.fullmatch(r"frames(\d+)_chunk(\d+)_local(-?\d+)_sink(\d+)", layout)
        assert match
        frames, chunk, local, sink = map(int, match.groups())
        window = WindowConfig(
            chunk_latents=chunk, window_latents=local if local > 0 else None, sink_latents=sink
        )
        data = vectors.of(f"rope.{layout}")
        wanted = {"mid.frame_mask": data["frame_mask"], "mid.rope_frame_indices": data["indices"]}
        check_plan(window, frames, "own_window", wanted)


def test_rollout_windows(vectors: Vectors) -> None:
    window = WindowConfig()
    layout = vectors.meta["autoregressive_window_layout_21frames_chunk3_local7_sink1"]
    chunks = window.chunks(21)
    assert len(chunks) == len(layout)
    for want, (start, stop) in zip(layout, chunks, strict=True):
        frames = [*window.past(start), *range(start, stop)]
        assert frames == want["window_frames"]
        assert list(range(len(frames)))[-(stop - start) :] == want["query_positions"]


@torch.no_grad()
def test_time_embedding_and_norms(vectors: Vectors) -> None:
    atol, data = vectors.meta["atol"], vectors.tensors
    got = time_sinusoid(data["time_embedding.in.t"], 256)
    assert_close(got, data["time_embedding.out.dim256"], atol["time_embedding"], "sinusoid")
    x = data["norm.in.x"]
    assert_close(RMSNorm(x.shape[-1], 1e-6)(x), data["norm.out.rms_eps1e-6"], atol["norm"], "RMSNorm")
    assert_close(plain_norm(x, 1e-6), data["norm.out.layer_eps1e-6"], atol["norm"], "LayerNorm")
