"""Times, noising, conversions and the teacher's weights against the reference code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipforcing_core.diffusion.schedule import (
    FlowSchedule,
    add_noise,
    noise_from_x0,
    velocity_from_x0,
    x0_from_velocity,
)
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, case, vectors_of

KINDS = ("time sampling", "conversions", "teacher weights")


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "flow")


def of_kind(vectors: Vectors, kind: str) -> list[Case]:
    return [case(vectors, entry["name"]) for entry in vectors.cases_of_kind(kind, known=KINDS)]


def test_uniform_draws_become_times(vectors: Vectors) -> None:
    for one in of_kind(vectors, "time sampling"):
        schedule = FlowSchedule(shift=one.settings["shift"])
        one.close(schedule.shift_uniform(one.data["in.uniform"]), "t")
        one.done()


def test_noising_and_conversions(vectors: Vectors) -> None:
    for one in of_kind(vectors, "conversions"):
        x0, noise, t = (one.data[f"in.{name}"] for name in ("x0", "noise", "t"))
        velocity = one.data["in.velocity"].clone().requires_grad_()
        x_t = add_noise(x0, noise, t)
        predicted = x0_from_velocity(x_t, velocity, t)
        (predicted * one.data["in.probe"]).sum().backward()
        one.close(x_t, "x_t")
        one.close(predicted, "x0_from_velocity")
        assert velocity.grad is not None
        one.close(velocity.grad, "grad_velocity")
        one.close(velocity_from_x0(x_t, predicted, t), "velocity_from_x0")
        one.close(noise_from_x0(x_t, predicted, t), "noise_from_x0")
        one.done()


def test_teacher_weights(vectors: Vectors) -> None:
    """Weights on the grid, between its points, and of times that were rounded to bfloat16 on the way."""
    for one in of_kind(vectors, "teacher weights"):
        schedule = FlowSchedule(shift=one.config["shift"], num_steps=one.config["training_steps"])
        grid, weights = schedule.timesteps[:-1], schedule.loss_weights()
        one.close(grid, "all_sigmas")
        one.close(weights, "all_weights")
        index = one.data["in.index"]
        one.close(1000 * grid[index], "timestep")
        one.close(grid[index], "sigma")
        one.close(weights[index], "weight")
        off = one.data["in.timestep_off_grid"].double() / 1000
        one.close(schedule.loss_weights(off), "weight_off_grid")
        one.close(schedule.nearest_step(off), "index_off_grid")
        rounded = (1000 * grid[index]).to(torch.bfloat16)
        one.close(rounded.float(), "timestep_bf16")
        nearest = schedule.nearest_step(rounded.double() / 1000)
        one.close(nearest, "index_bf16")
        one.close(grid[nearest], "sigma_bf16")
        one.close(schedule.loss_weights(rounded.double() / 1000), "weight_bf16")
        one.done()
