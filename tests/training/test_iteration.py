"""One iteration of the distillation: who is updated from what, in which order, and how gradients add up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule, TimeWindow
from lipforcing_core.presets.schema import DistillSettings
from lipforcing_core.training import iteration
from lipforcing_core.training.draws import role_draws, step_generator
from lipforcing_core.training.iteration import Distilled, MicroBatch, distill_iteration
from lipforcing_core.training.losses.matching import critic_loss, rollout_loss
from lipforcing_core.training.optimisation import make_optimiser
from lipforcing_core.training.reward_weights import RewardScale
from lipforcing_core.training.rollout import roll_out
from lipforcing_core.training.strategies.one_device import OneDevice
from lipforcing_core.training.strategies.workers import Part
from tests.training.fakes import Answering, ChunkAnswering, distill_settings, make_batch, make_prompts

PROMPTS = make_prompts()
T_LIST = (0.9, 0.5, 0.0)
E2, E4, E6 = (math.exp(power) for power in (2, 4, 6))
GUIDANCE = TimeWindow(low=0.5, high=0.9, guidance_scale=3.0)


class Counting:
    """The reward of the n-th micro-batch is n; takes note of what it is given."""

    backend_id = "counting"

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, Tensor]] = []

    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        assert not latents_BCTHW.requires_grad
        self.given.append((latents_BCTHW, waveform_BS))
        return torch.arange(len(latents_BCTHW)) + float(len(self.given))


class Recording(OneDevice):
    """Keeps every gradient before it is clipped."""

    def __init__(self) -> None:
        super().__init__()
        self.clipped: list[tuple[Any, float, float]] = []

    def clip(self, network: Any, max_norm: float) -> float:
        self.clipped.append((network, float(network.weight.grad), max_norm))
        return super().clip(network, max_norm)


def make_state(settings: DistillSettings, *, scale: RewardScale | None = None) -> Distilled:
    student = ChunkAnswering(weight=0.5)
    critic = Answering(lambda x, t: x, weight=0.7)
    teacher = Answering(lambda x, t: x, weight=0.2).requires_grad_(False)
    return Distilled(
        student=student,
        critic=critic,
        teacher=teacher,
        student_optimiser=make_optimiser(student, settings.student),
        critic_optimiser=make_optimiser(critic, settings.student, settings.critic_learning_rate),
        reward_scale=scale or RewardScale(centre_momentum=None, clamp=None),
    )


def micro_batch(number: int, *, with_student: bool, size: int = 2) -> MicroBatch:
    batch = make_batch(size, seed=number)
    shape = batch.latents_BCTHW.shape

    def draws(role: str) -> Any:
        generator = step_generator(0, role, number)
        return role_draws(generator, shape, chunks=[(0, 2), (2, 4)], num_calls=2, schedule=FlowSchedule())

    return MicroBatch(
        part=Part(number=number),
        conditions=batch.conditions(PROMPTS.text_BLD),
        waveform_BS=batch.waveform_BS,
        critic=draws("critic"),
        student=draws("student") if with_student else None,
    )


def run(
    settings: DistillSettings,
    *,
    rate: float | None,
    state: Distilled | None = None,
    reward: Counting | None = None,
    micros: list[MicroBatch] | None = None,
) -> tuple[dict[str, float], Distilled, Recording, list[MicroBatch]]:
    state, strategy = state or make_state(settings), Recording()
    if micros is None:
        micros = [micro_batch(n, with_student=rate is not None) for n in range(settings.student.accumulation)]
    values = distill_iteration(
        state,
        micros,
        negative_text_BLD=PROMPTS.negative_text_BLD,
        settings=settings,
        t_list=T_LIST,
        guidance=GUIDANCE,
        reward=reward or Counting(),
        strategy=strategy,
        student_rate=rate,
    )
    return values, state, strategy, micros


def critic_gradient(settings: DistillSettings, micros: list[MicroBatch]) -> tuple[float, float]:
    """Gradient and mean loss of the untouched critic on the untouched student's rollouts, each with full weight."""
    state, losses = make_state(settings), []
    for micro in micros:
        rollout = roll_out(
            state.student, micro.conditions, micro.critic.rollout, t_list=T_LIST, with_grad=False
        )
        loss = critic_loss(
            state.critic, rollout, micro.conditions, micro.critic.matching,
            objective=settings.critic_objective, precision="fp32",
        )  # fmt: skip
        loss.backward()
        losses.append(loss.item())
    return float(state.critic.weight.grad), sum(losses) / len(losses)


def student_parts(settings: DistillSettings, micro: MicroBatch) -> tuple[Distilled, Tensor]:
    state = make_state(settings)
    assert micro.student is not None
    rollout = roll_out(state.student, micro.conditions, micro.student.rollout, t_list=T_LIST, with_grad=True)
    loss_B = rollout_loss(
        rollout, state.critic, state.teacher, micro.conditions, PROMPTS.negative_text_BLD,
        micro.student.matching, guidance=GUIDANCE, precision="fp32",
    )  # fmt: skip
    return state, loss_B


@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_an_iteration_of_the_critic_alone(objective: str) -> None:
    settings = distill_settings({"accumulation": 2}, critic_objective=objective)
    values, state, strategy, micros = run(settings, rate=None)
    gradient, loss = critic_gradient(settings, micros)
    ((network, clipped, max_norm),) = strategy.clipped
    assert network is state.critic
    assert clipped == pytest.approx(gradient / 2, rel=1e-5)
    assert max_norm == float("inf")
    assert values == {
        "critic_loss": pytest.approx(loss, rel=1e-5), "critic_grad_norm": pytest.approx(abs(gradient / 2), rel=1e-5),
    }  # fmt: skip
    step = -0.05 if gradient > 0 else 0.05  # a first Adam step
    assert state.critic.weight.item() == pytest.approx(0.7 + step, abs=1e-5)
    assert state.student.weight.item() == 0.5
    assert state.student.weight.grad is None
    assert state.teacher.weight.item() == pytest.approx(0.2)
    assert not state.teacher.calls


WEIGHTS: dict[str, list[float]] = {
    "per_sample": [math.exp(2.0 * reward) for reward in (1, 2, 2, 3)],
    "self_normalized": [4 * math.exp(2.0 * reward) / (E2 + 2 * E4 + E6) for reward in (1, 2, 2, 3)],
    "legacy_batch_mean": [(E2 + E4) / 2, (E2 + E4) / 2, (E4 + E6) / 2, (E4 + E6) / 2],
}
"""Of the four samples of two micro-batches with the rewards 1 2 and 2 3, under a beta of 2."""


@pytest.mark.parametrize("weighting", ["per_sample", "self_normalized", "legacy_batch_mean"])
def test_an_iteration_of_both(weighting: str) -> None:
    settings = distill_settings({"accumulation": 2, "clip_norm": 7.0}, reward_weighting=weighting)
    reward = Counting()
    values, state, strategy, micros = run(settings, rate=0.02, reward=reward)
    gradient, plain, weighed = 0.0, [], []
    for number, micro in enumerate(micros):
        own, loss_B = student_parts(settings, micro)
        loss = (torch.tensor(WEIGHTS[weighting][2 * number : 2 * number + 2]) * loss_B).mean()
        loss.backward()
        gradient += float(own.student.weight.grad) / 2
        plain.append(loss_B.mean().item())
        weighed.append(loss.item())
    (_, critic_clipped, _), (network, student_clipped, max_norm) = strategy.clipped
    assert network is state.student
    assert student_clipped == pytest.approx(gradient, rel=1e-4), "the critic of before this iteration"
    assert max_norm == 7.0
    assert values["matching_loss"] == pytest.approx(sum(plain) / 2, rel=1e-4)
    assert values["student_loss"] == pytest.approx(sum(weighed) / 2, rel=1e-4)
    assert values["student_grad_norm"] == pytest.approx(abs(gradient), rel=1e-4)
    assert values["reward"] == pytest.approx((1 + 2 + 2 + 3) / 4)
    assert values["reward_spread"] == pytest.approx(math.sqrt(0.5))
    share = torch.tensor(WEIGHTS[weighting])
    effective = float(share.sum().square() / share.square().sum())
    assert values["effective_samples"] == pytest.approx(effective)
    guided = [float(GUIDANCE.scale(micro.student.matching.t_B).ne(1).double().mean()) for micro in micros]
    assert values["guided_share"] == pytest.approx(sum(guided) / 2)
    assert values["learning_rate"] == 0.02
    assert critic_clipped == pytest.approx(critic_gradient(settings, micros)[0], rel=1e-5), "not divided"
    step = -0.02 if gradient > 0 else 0.02
    assert state.student.weight.item() == pytest.approx(0.5 + step, abs=1e-5)
    assert state.critic.weight.item() != pytest.approx(0.7, abs=1e-3)
    assert len(reward.given) == 2
    for (latents, sound), micro in zip(reward.given, micros, strict=True):
        assert torch.equal(sound, micro.waveform_BS)
        assert micro.student is not None
        untouched = make_state(settings).student
        own = roll_out(untouched, micro.conditions, micro.student.rollout, t_list=T_LIST, with_grad=False)
        torch.testing.assert_close(latents, own)


def test_a_reward_weighs_micro_batches_of_one_sample() -> None:
    """The weight of a single sample among itself would always be 1, whatever its reward."""
    losses = {}
    for beta in (0.0, 0.5):
        settings = distill_settings({"accumulation": 3}, reward_weighting="self_normalized", reward_beta=beta)
        micros = [micro_batch(number, with_student=True, size=1) for number in range(3)]
        values, *_ = run(settings, rate=0.02, micros=micros)
        plain = torch.tensor([student_parts(settings, micro)[1].item() for micro in micros])
        share = torch.softmax(beta * torch.tensor([1.0, 2.0, 3.0]), dim=0)
        assert values["student_loss"] == pytest.approx(float((share * plain).sum()), rel=1e-4)
        assert values["effective_samples"] == pytest.approx(float(1 / share.square().sum()))
        losses[beta] = values["student_loss"]
    assert losses[0.0] != pytest.approx(losses[0.5], rel=1e-3)


def test_rewards_are_centred_by_the_mean_of_the_whole_effective_batch() -> None:
    """And the mean moves once an iteration: rewards 1 2 and 2 3 are less 2, then clamped to a half."""
    scale = RewardScale(centre_momentum=0.5, clamp=0.5)
    settings = distill_settings({"accumulation": 2})
    values, *_, micros = run(settings, rate=0.02, state=make_state(settings, scale=scale))
    assert scale.state_dict() == {"mean": 2.0}
    (first, second), (third, fourth) = (student_parts(settings, micro)[1].tolist() for micro in micros)
    expected = (math.exp(-1) * first + second + third + math.exp(1) * fourth) / 4
    assert values["student_loss"] == pytest.approx(expected, rel=1e-4)
    assert values["reward"] == pytest.approx(2.0)


def test_the_critic_of_a_student_iteration_may_be_divided_and_clipped() -> None:
    settings = distill_settings({"accumulation": 2}, critic_accumulation="mean", critic_clip_norm=0.3)
    _, _, strategy, micros = run(settings, rate=0.02)
    _, clipped, max_norm = strategy.clipped[0]
    assert clipped == pytest.approx(critic_gradient(settings, micros)[0] / 2, rel=1e-5)
    assert max_norm == 0.3


def test_rewards_are_scaled_before_they_weigh() -> None:
    settings = distill_settings({"accumulation": 2})
    scale = RewardScale(centre_momentum=None, clamp=0.5)
    values, *_, micros = run(settings, rate=0.02, state=make_state(settings, scale=scale))
    plain = [student_parts(settings, micro)[1].mean().item() for micro in micros]
    factor = float(torch.tensor(2.0 * 0.5).exp())
    assert values["student_loss"] == pytest.approx(factor * sum(plain) / 2, rel=1e-4)
    assert values["reward"] == pytest.approx(2.0), "the log has the reward itself"


def test_rollouts_follow_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, bool]] = []

    def watched(*args: Any, with_grad: bool, **kwargs: Any) -> Tensor:
        asked.append((with_grad, torch.is_autocast_enabled("cpu")))
        return roll_out(*args, with_grad=with_grad, **kwargs)

    monkeypatch.setattr(iteration, "roll_out", watched)
    settings = distill_settings()
    run(settings, rate=0.02)
    assert asked == [(False, False), (True, False)]
    asked.clear()
    mixed = settings.model_copy(update={"student": settings.student.model_copy(update={"precision": "bf16"})})
    seen: list[bool] = []
    state = make_state(mixed)

    def answer(x: Tensor, t: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return x

    state.critic.answer = state.teacher.answer = answer
    run(mixed, rate=0.02, state=replace(state))
    assert [autocast for _, autocast in asked] == [True, True]
    assert seen
    assert all(seen)
