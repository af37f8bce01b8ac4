"""Optimiser traces against the reference code: a linear model alone, and the whole distillation for some iterations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow
from lipforcing_core.presets.schema import DistillSettings, StageSettings
from lipforcing_core.training.draws import MatchingDraws, RoleDraws, RolloutDraws
from lipforcing_core.training.ema import ExponentialAverage
from lipforcing_core.training.iteration import Distilled, MicroBatch, distill_iteration
from lipforcing_core.training.optimisation import accumulate, learning_rate_factor, make_optimiser, update
from lipforcing_core.training.reward_weights import RewardScale
from lipforcing_core.training.strategies.one_device import OneDevice
from lipforcing_core.training.strategies.workers import Part
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, all_cases, vectors_of
from tests.parity.training.standin import (
    StandIn,
    StandInStudent,
    parameters_of,
    stage_settings,
    standin_batch,
)


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "optimizer_trace")


class Linear(nn.Module):
    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w.clone()), nn.Parameter(b.clone())


def linear_cases(vectors: Vectors) -> list[Case]:
    return [one for one in all_cases(vectors) if "iterations" not in one.settings]


def test_updates_of_a_linear_model(vectors: Vectors) -> None:
    found = linear_cases(vectors)
    if not found:
        pytest.skip("the vectors of optimizer_trace have no linear model")
    for one in found:
        check_linear(one)


def check_linear(one: Case) -> None:
    data, case = one.data, one.settings
    x, y, scale = (data[f"in.{name}"] for name in ("x", "y", "scale"))
    num_updates, accumulation = scale.shape
    settings = StageSettings.model_validate(
        stage_settings(
            steps=num_updates,
            accumulation=accumulation,
            learning_rate=case["learning_rate"],
            betas=case["betas"],
            warmup_steps=case["warmup_steps"],
            weight_decay=case["weight_decay"],
            clip_norm=case["clip_norm"],
        )
    )
    model, strategy = Linear(data["in.w"], data["in.b"]), OneDevice()
    optimiser = make_optimiser(model, settings)
    ema = case["ema"]
    average = None
    if ema is not None:
        assert ema["type"] == "constant"
        average = ExponentialAverage(model, decay=ema["beta"], start=ema["start_iter"])

    def loss_of(micro: int) -> Tensor:
        k, m = divmod(micro, accumulation)
        return scale[k, m] * (x[k, m] @ model.w + model.b - y[k, m]).square().mean()

    rates, norms, losses = [], [], []
    for index in range(num_updates):
        losses.append(accumulate(strategy, settings, index, loss_of))
        rates.append(settings.learning_rate * learning_rate_factor(settings, index))
        norms.append(
            update(strategy, optimiser, model, learning_rate=rates[-1], clip_norm=settings.clip_norm)
        )
        for name, parameter in model.named_parameters():
            one.close(parameter, f"update{index}.{name}")
        if average is not None:
            average.follow(model, index + 1)
            for name, parameter in average.tensors.items():
                one.close(parameter, f"update{index}.ema.{name}")
    one.close(torch.tensor(rates, dtype=torch.float64), "lr")
    one.close(torch.tensor(norms), "grad_norm")
    one.close(torch.tensor(losses), "loss")
    one.done()


class StoredRewards:
    """Gives the stored rewards, one micro-batch after the other."""

    backend_id = "stored"

    def __init__(self, rewards: Iterator[Tensor]) -> None:
        self._rewards = rewards

    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        assert not latents_BCTHW.requires_grad
        return next(self._rewards)


def test_the_whole_distillation(vectors: Vectors) -> None:
    found = [one for one in all_cases(vectors) if "iterations" in one.settings]
    if not found:
        pytest.skip("the vectors of optimizer_trace have no distillation")
    for one in found:
        check_distillation(one, vectors.of(one.settings.get("inputs_of_case", one.settings["name"])))


def check_distillation(one: Case, inputs: dict[str, Tensor]) -> None:
    case, strategy = one.settings, OneDevice()
    settings = DistillSettings.model_validate(
        {
            "student": stage_settings(
                steps=case["iterations"],
                batch_size=case["batch"],
                accumulation=case["accumulation"],
                learning_rate=case["learning_rate"],
                betas=case["betas"],
                weight_decay=case["weight_decay"],
                clip_norm=case["clip_norm"],
            ),
            "critic_learning_rate": case["critic_learning_rate"],
            "critic_per_student": case.get("critic_per_student", 5),
            "reward_beta": case["reward_beta"],
            "reward_weighting": case["reward_weighting"],
            "critic_accumulation": "mean" if case["critic_division"] else "released",
        }
    )
    student = StandInStudent(parameters_of(inputs, "student"), case["chunk"])
    critic, teacher = (StandIn(parameters_of(inputs, role)) for role in ("critic", "teacher"))
    state = Distilled(
        student=student,
        critic=critic,
        teacher=teacher.requires_grad_(False),
        student_optimiser=make_optimiser(student, settings.student),
        critic_optimiser=make_optimiser(critic, settings.student, settings.critic_learning_rate),
        reward_scale=RewardScale(centre_momentum=None, clamp=None),
    )
    for iteration in range(1, case["iterations"] + 1):
        trains_student = iteration % settings.critic_per_student == 0
        rate = None
        if trains_student:
            index = iteration // settings.critic_per_student - 1
            rate = settings.student.learning_rate * learning_rate_factor(settings.student, index)
        given = [
            {name.removeprefix(f"in.{iteration}.{m}."): inputs[name] for name in inputs
             if name.startswith(f"in.{iteration}.{m}.")}
            for m in range(case["accumulation"])
        ]  # fmt: skip
        rewards = StoredRewards(micro["reward"] for micro in given)
        values = distill_iteration(
            state,
            [
                micro_batch(number, micro, student.chunks(case["latents"]))
                for number, micro in enumerate(given)
            ],
            negative_text_BLD=inputs["in.null_text"],
            settings=settings,
            t_list=tuple(case["t_list"]),
            guidance=SyncWindow().rounded(),
            reward=rewards,
            strategy=strategy,
            student_rate=rate,
        )
        stored = one.outputs(f"iter{iteration}.")
        assert any("student_loss" in name for name in stored) == trains_student
        for name in stored:
            what = name.removeprefix(f"iter{iteration}.")
            role, _, parameter = what.partition(".")
            network = {"student": student, "critic": critic}.get(role)
            one.close(values[what] if network is None else network.get_parameter(parameter), name)
    one.done()


def micro_batch(number: int, given: dict[str, Tensor], chunks: list[tuple[int, int]]) -> MicroBatch:
    """The stored conditions and draws of a micro-batch."""
    latents = given["critic.noise"]
    batch = standin_batch(latents, given["audio"], given["picture"])
    return MicroBatch(
        part=Part(number=number),
        conditions=batch.conditions(given["text"]),
        waveform_BS=batch.waveform_BS,
        critic=role_draws_of(given, "critic", len(chunks)),
        student=role_draws_of(given, "student", len(chunks)) if "student.noise" in given else None,
    )


def role_draws_of(given: dict[str, Tensor], role: str, num_chunks: int) -> RoleDraws:
    """``renoise`` is stored per chunk, and per call too where there are more than two calls."""
    exit_step = int(given[f"{role}.exit"])

    def renoise(chunk: int, step: int) -> Tensor:
        whole = f"{role}.renoise.{chunk}"
        return given[f"{whole}.{step}"] if f"{whole}.{step}" in given else given[whole]

    return RoleDraws(
        rollout=RolloutDraws(
            noise_BCTHW=given[f"{role}.noise"],
            exit_step=exit_step,
            renoise=tuple(
                tuple(renoise(chunk, step) for step in range(exit_step)) for chunk in range(num_chunks)
            ),
        ),
        matching=MatchingDraws(
            t_B=FlowSchedule().shift_uniform(given[f"{role}.uniform"]), noise_BCTHW=given[f"{role}.eps"]
        ),
    )
