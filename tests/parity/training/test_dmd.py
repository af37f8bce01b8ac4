"""Sync-Window DMD: guidance, normaliser, loss, reward weights and the critic's loss, against the reference code.

A case is checked by what it holds, so that other cases of the same kinds are checked as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.guidance import combine
from lipforcing_core.diffusion.schedule import (
    FlowSchedule,
    GuidanceLaw,
    GuidedWhere,
    SyncWindow,
    TimeWindow,
    add_noise,
)
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.training.draws import MatchingDraws
from lipforcing_core.training.losses.matching import (
    critic_loss,
    critic_prediction,
    matching_loss,
    rollout_loss,
    teacher_prediction,
)
from lipforcing_core.training.networks import VelocityNetwork
from lipforcing_core.training.reward_weights import RewardScale, RewardWeighting, reward_loss
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, case, vectors_of
from tests.parity.training.standin import StandIn, parameters_of, standin_batch

KINDS = ("given predictions", "stand-in networks", "stand-in critic on a given rollout")
WHERE: dict[str, GuidedWhere] = {"always": "everywhere", "never": "nowhere", "reverse": "outside"}
SMALL = 1e-3  # below, the normaliser magnifies the rounding of a detour over velocities


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "dmd")


def of_kind(vectors: Vectors, kind: str) -> list[Case]:
    return [case(vectors, entry["name"]) for entry in vectors.cases_of_kind(kind, known=KINDS)]


class GivenPredictions:
    """A network whose x0 predictions are given: one set for real conditions, one for null ones (no audio)."""

    def __init__(self, conditional: Tensor, unconditional: Tensor) -> None:
        self._conditional, self._unconditional = conditional, unconditional

    def encode_conditions(self, cond: Conditions) -> EncodedConditions:
        assert cond.audio_BND is not None
        given = self._conditional if bool(cond.audio_BND.any()) else self._unconditional
        return EncodedConditions(y_BCTHW=given, context_BLD=cond.text_BLD, audio_BPTD=None)

    def __call__(self, x: Tensor, t_B: Tensor, encoded: EncodedConditions) -> Tensor:
        assert encoded.y_BCTHW is not None
        return ((x.double() - encoded.y_BCTHW) / t_B.view(-1, 1, 1, 1, 1)).float()


def window_of(one: Case, where: GuidedWhere = "inside") -> TimeWindow:
    low, high = one.config["sync_window"]
    return TimeWindow(low=low, high=high, guidance_scale=one.config["guidance_scale"], where=where)


def networks_of(one: Case) -> tuple[VelocityNetwork, VelocityNetwork, Conditions, Tensor]:
    """Critic, teacher, their conditions and the null text."""
    data, x0 = one.data, one.data["in.x0"]
    if "in.teacher_cond" in data:
        given = data["in.critic"]
        batch = standin_batch(x0, torch.ones(len(x0), x0.shape[2], 1), torch.zeros_like(x0))
        teacher = GivenPredictions(data["in.teacher_cond"], data["in.teacher_uncond"])
        return (
            GivenPredictions(given, given),
            teacher,
            batch.conditions(torch.zeros(1, 1, 1)),
            torch.zeros(1, 1, 1),
        )
    conditions = standin_batch(x0, data["in.audio"], data["in.picture"]).conditions(data["in.text"])
    critic, teacher_net = (StandIn(parameters_of(data, role)) for role in ("critic", "teacher"))
    return critic, teacher_net, conditions, data["in.null_text"]


def test_given_predictions(vectors: Vectors) -> None:
    for one in of_kind(vectors, "given predictions"):
        if one.settings.get("informational"):
            check_ancestor(one)
        elif "in.reward" in one.data:
            check_rewards(one)
        else:
            check_matching(one)


def test_networks(vectors: Vectors) -> None:
    for one in of_kind(vectors, "stand-in networks"):
        check_matching(one)


def check_matching(one: Case) -> None:
    """The same quantities under every law of guidance that results are stored for."""
    laws: dict[str, GuidanceLaw] = {"": window_of(one)}
    if one.outputs("scale_integer_steps"):
        low, high = (FlowSchedule().step_of(t).round().item() for t in one.config["sync_window"])
        scale = one.config["guidance_scale"]
        laws["_integer_steps"] = SyncWindow(start_step=high, stop_step=low, guidance_scale=scale)
        assert laws["_integer_steps"].rounded() == laws[""]  # type: ignore[attr-defined]
    laws |= {
        f".{name}": window_of(one, where) for name, where in WHERE.items() if one.outputs(f"loss.{name}")
    }
    stored = one.outputs("")
    for suffix, law in laws.items():
        for name, value in computed(one, law).items():
            if f"{name}{suffix}" in stored:
                one.close(value, f"{name}{suffix}")
    one.done()


def computed(one: Case, law: GuidanceLaw) -> dict[str, Tensor]:
    """Everything about the matching loss that may be stored."""
    data = one.data
    t_B, noise = data["in.t"], data["in.noise"]
    x0 = data["in.x0"].clone().requires_grad_()
    critic, teacher, conditions, null_text = networks_of(one)
    x_t, scale_B = add_noise(x0.detach(), noise, t_B), law.scale(t_B)
    if "in.teacher_cond" in data:  # directly, since a detour over velocities rounds
        fake, real = data["in.critic"], data["in.teacher_cond"].clone()
        guided = scale_B != 1
        real[guided] = combine(real[guided], data["in.teacher_uncond"][guided], scale_B[guided])
    else:
        real = teacher_prediction(teacher, x_t, t_B, conditions, null_text, guidance=law, precision="fp32")
        fake = critic_prediction(critic, x_t, t_B, conditions, precision="fp32")
    normaliser = (x0.detach() - real).abs().mean(dim=(1, 2, 3, 4)) + one.config["normaliser_epsilon"]
    if float(normaliser.min()) > SMALL:
        loss_B = rollout_loss(
            x0, critic, teacher, conditions, null_text,
            MatchingDraws(t_B=t_B, noise_BCTHW=noise), guidance=law, precision="fp32",
        )  # fmt: skip
    else:
        loss_B = matching_loss(x0, fake=fake, real=real)
    (grad_x0,) = torch.autograd.grad(loss_B.mean(), x0)
    return {
        "x_t": x_t,
        "scale": scale_B.float(),
        "real": real,
        "fake": fake,
        "normaliser": normaliser,
        "loss_per_sample": loss_B,
        "loss": loss_B.mean(),
        "grad_x0": grad_x0,
    }


def check_rewards(one: Case) -> None:
    reward_B = one.data["in.reward"]
    stored = one.outputs("")
    patterns = {
        rf"(loss|grad_x0)\.({'|'.join(get_args(RewardWeighting))})\.beta([\d.]+)": check_weighted,
        r"weight\.beta([\d.]+)": lambda one, m: one.close(weights(reward_B, float(m[1])), m[0]),
        r"(weight|loss)\.centred_clamped": check_centred,
        r"loss_per_sample": lambda one, m: one.close(computed(one, window_of(one))["loss_per_sample"], m[0]),
    }
    for name in stored:
        for pattern, check in patterns.items():
            if match := re.fullmatch(pattern, name):
                check(one, match)
    one.done()


def check_weighted(one: Case, match: re.Match[str]) -> None:
    what, mode, beta = match[1], match[2], float(match[3])
    assert mode in get_args(RewardWeighting)
    x0 = one.data["in.x0"].clone().requires_grad_()
    critic, teacher, conditions, null_text = networks_of(one)
    draws = MatchingDraws(t_B=one.data["in.t"], noise_BCTHW=one.data["in.noise"])
    loss_B = rollout_loss(
        x0, critic, teacher, conditions, null_text, draws, guidance=window_of(one), precision="fp32"
    )
    loss = reward_loss(loss_B, one.data["in.reward"], beta=beta, weighting=mode)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss, x0)
    one.close({"loss": loss, "grad_x0": gradient}[what], match[0])


def check_centred(one: Case, match: re.Match[str]) -> None:
    """The reward centred by the first batch's mean, then clamped to [-1, 1], in the mode ``per_sample``."""
    scaled_B = RewardScale(centre_momentum=0.9, clamp=1.0)(one.data["in.reward"])
    beta = one.config["reward_beta"]
    if match[1] == "weight":
        one.close(weights(scaled_B, beta), match[0])
    else:
        loss_B = computed(one, window_of(one))["loss_per_sample"]
        one.close(reward_loss(loss_B, scaled_B, beta=beta, weighting="per_sample"), match[0])


def weights(reward_B: Tensor, beta: float) -> Tensor:
    """What the loss of every sample is multiplied by, read off losses that are 1 for one sample alone."""
    ones = torch.eye(len(reward_B)) * len(reward_B)
    return torch.stack([reward_loss(one, reward_B, beta=beta, weighting="per_sample") for one in ones])


def test_critic(vectors: Vectors) -> None:
    for one in of_kind(vectors, "stand-in critic on a given rollout"):
        data, x0 = one.data, one.data["in.x0"]
        conditions = standin_batch(x0, data["in.audio"], data["in.picture"]).conditions(data["in.text"])
        draws = MatchingDraws(t_B=data["in.t"], noise_BCTHW=data["in.noise"])
        one.close(add_noise(x0, draws.noise_BCTHW, draws.t_B), "x_t")
        for objective, suffix in (("x0", ""), ("flow", "_flow")):
            critic = StandIn(parameters_of(data, "critic"))
            loss = critic_loss(critic, x0, conditions, draws, objective=objective, precision="fp32")  # type: ignore[arg-type]
            loss.backward()
            one.close(loss, f"loss{suffix}")
            for name in one.outputs(f"grad{suffix}.critic."):
                gradient = critic.get_parameter(name.rpartition(".")[2]).grad
                assert gradient is not None
                one.close(gradient, name)
        one.done()


def check_ancestor(one: Case) -> None:
    """Self-Forcing's own loss from the same functions: always guided, without epsilon, in float64."""
    data = one.data
    x0 = data["in.x0"].double().requires_grad_()
    cond, uncond, fake = (
        data[f"in.{name}"].double() for name in ("teacher_cond", "teacher_uncond", "critic")
    )
    grid = FlowSchedule(num_steps=1000)
    timestep = torch.tensor([1000 * grid.tau(1000 - int(index)) for index in data["in.index"]])
    one.close(timestep.clamp(20, 980), "timestep")
    loss = matching_loss(x0, fake=fake, real=combine(cond, uncond, 4.0), epsilon=0.0).mean()
    (gradient,) = torch.autograd.grad(loss, x0)
    one.close(loss, "loss")
    one.close(gradient, "grad_x0")
    one.done()
