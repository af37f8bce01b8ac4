"""Diffusion Forcing on given draws, with given velocities and with a stand-in network, against the reference code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.window import WindowConfig
from lipforcing_core.presets.schema import ForcingSettings
from lipforcing_core.training.draws import ForcingDraws, chunk_levels
from lipforcing_core.training.losses.forcing import forcing_loss
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, all_cases, vectors_of
from tests.parity.training.standin import (
    StandInStudent,
    parameters_of,
    stage_settings,
    standin_batch,
    standin_prompts,
)


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "diffusion_forcing")


class GivenVelocity:
    """Answers with a given velocity, and keeps what it was asked."""

    def __init__(self, velocity: Tensor) -> None:
        self.last_velocity = velocity.clone().requires_grad_()

    def encode_conditions(self, cond: Conditions) -> EncodedConditions:
        return EncodedConditions(y_BCTHW=None, context_BLD=cond.text_BLD, audio_BPTD=None)

    def forward_full(self, x: Tensor, t_BT: Tensor, encoded: EncodedConditions) -> Tensor:
        return self.last_velocity


def test_loss_and_gradients(vectors: Vectors) -> None:
    for one in all_cases(vectors):
        check(one)


def check(one: Case) -> None:
    data, x0, noise = one.data, one.data["in.x0"], one.data["in.noise"]
    chunks = WindowConfig(chunk_latents=one.settings["chunk"]).chunks(x0.shape[2])
    assert [list(chunk) for chunk in chunks] == one.settings["chunks"]
    t_BT = chunk_levels(data["in.index"], t_list=one.config["t_list"], chunks=chunks)
    one.close(t_BT, "t")
    draws = ForcingDraws(t_BT=t_BT, noise_BCTHW=noise)
    for objective, suffix in (("x0", ""), ("flow", "_flow")):
        student = _student(data, one.settings["chunk"])
        audio = data["in.audio"] if "in.audio" in data else torch.zeros(len(x0), x0.shape[2], 1)
        picture = data["in.picture"] if "in.picture" in data else torch.zeros_like(x0)
        text = data["in.text"] if "in.text" in data else torch.zeros(len(x0), 1, 1)
        settings = ForcingSettings.model_validate(stage_settings(mouth_weight=1.0, objective=objective))
        loss = forcing_loss(
            student, standin_batch(x0, audio, picture), standin_prompts(text), draws, settings=settings
        )
        loss.backward()
        velocity = student.last_velocity
        assert velocity is not None
        assert velocity.grad is not None
        one.close(loss, f"loss{suffix}")
        one.close(velocity.grad, f"grad_velocity{suffix}")
        if objective == "x0":
            _check_steps_on_the_way(one, student, velocity, add_noise(x0, noise, t_BT), t_BT)
    one.done()


def _student(data: Mapping[str, Tensor], chunk_latents: int) -> StandInStudent | GivenVelocity:
    if "in.velocity" in data:
        return GivenVelocity(data["in.velocity"])
    return StandInStudent(parameters_of(data, "student"), chunk_latents)


def _check_steps_on_the_way(
    one: Case, student: StandInStudent | GivenVelocity, velocity: Tensor, x_t: Tensor, t_BT: Tensor
) -> None:
    one.close(x_t, "x_t")
    one.close(x0_from_velocity(x_t, velocity, t_BT), "x0_hat")
    if "out.velocity" in one.data:
        one.close(velocity, "velocity")
    for name in one.outputs("grad.student."):
        assert isinstance(student, StandInStudent)
        gradient = student.get_parameter(name.removeprefix("grad.student.")).grad
        assert gradient is not None
        one.close(gradient, name)
