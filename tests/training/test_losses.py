"""The losses on networks with known answers: values and gradients worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule, TimeWindow, add_noise
from lipforcing_core.training.draws import ForcingDraws, MatchingDraws, TeacherDraws
from lipforcing_core.training.losses.flow import flow_loss, weigh_mouth
from lipforcing_core.training.losses.forcing import forcing_loss
from lipforcing_core.training.losses.matching import (
    EPSILON,
    critic_loss,
    critic_prediction,
    matching_loss,
    rollout_loss,
    teacher_prediction,
)
from tests.training.fakes import Answering, forcing_settings, make_batch, make_prompts, teacher_settings

BATCH, PROMPTS = make_batch(), make_prompts()
X0 = BATCH.latents_BCTHW
NOISE = torch.randn(X0.shape, generator=torch.Generator().manual_seed(1))
T_B = torch.tensor([0.25, 0.75], dtype=torch.float64)
NOBODY = torch.tensor([False, False])


def teacher_draws(**changes: Any) -> TeacherDraws:
    draws = TeacherDraws(t_B=T_B, noise_BCTHW=NOISE, text_dropped_B=NOBODY, audio_dropped_B=NOBODY)
    return replace(draws, **changes)


def flow_answer(off: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The true velocity and a constant beside it."""
    return lambda x, t: NOISE - X0 + off


def test_flow_loss_is_the_squared_error_of_the_velocity() -> None:
    network = Answering(flow_answer(3.0))
    loss = flow_loss(network, BATCH, PROMPTS, teacher_draws(), shift=5.0, settings=teacher_settings())
    assert loss.item() == pytest.approx(9.0, rel=1e-5)
    (asked, t_B), (conditions,) = network.calls[0], network.conditions
    torch.testing.assert_close(asked, add_noise(X0, NOISE, T_B))
    assert torch.equal(t_B, T_B)
    assert torch.equal(conditions.text_BLD, torch.ones(2, 2, 3))
    assert torch.equal(conditions.audio_BND, BATCH.audio_BND)  # type: ignore[arg-type]
    loss.backward()
    expected = 2 * (3.0 * (NOISE - X0 + 3.0)).mean()
    torch.testing.assert_close(network.weight.grad, expected)


def test_flow_loss_weighs_the_mouth() -> None:
    """Half of the picture is mouth: its error counts three times."""
    settings = teacher_settings(mouth_weight=3.0)
    loss = flow_loss(
        Answering(flow_answer(1.0)), BATCH, PROMPTS, teacher_draws(), shift=5.0, settings=settings
    )
    assert loss.item() == pytest.approx((3.0 + 1.0) / 2, rel=1e-5)


def test_flow_loss_weighs_noise_levels() -> None:
    """With the bell each sample has the weight of its own noise level."""
    per_sample = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1)
    network = Answering(lambda x, t: NOISE - X0 + per_sample)
    weights = FlowSchedule(shift=5.0, num_steps=1000).loss_weights(T_B)
    assert weights[0] > 0
    settings = teacher_settings(timestep_weighting="gaussian")
    loss = flow_loss(network, BATCH, PROMPTS, teacher_draws(), shift=5.0, settings=settings)
    assert loss.item() == pytest.approx(float(weights[0] * 1 + weights[1] * 4) / 2, rel=1e-5)
    other = flow_loss(network, BATCH, PROMPTS, teacher_draws(), shift=3.0, settings=settings)
    assert other.item() != pytest.approx(loss.item(), rel=1e-4)


def test_dropped_text_is_the_negative_prompt_and_dropped_audio_silence() -> None:
    network = Answering(flow_answer(0.0))
    draws = teacher_draws(
        text_dropped_B=torch.tensor([True, False]), audio_dropped_B=torch.tensor([False, True])
    )
    flow_loss(network, BATCH, PROMPTS, draws, shift=5.0, settings=teacher_settings())
    (conditions,) = network.conditions
    assert torch.equal(conditions.text_BLD[0], -torch.ones(2, 3))
    assert torch.equal(conditions.text_BLD[1], torch.ones(2, 3))
    assert conditions.audio_BND is not None
    assert torch.equal(conditions.audio_BND[0], BATCH.audio_BND[0])
    assert not conditions.audio_BND[1].any()
    assert torch.equal(conditions.masked_video_BCTHW, BATCH.masked_BCTHW)  # type: ignore[arg-type]


def test_mouth_weight_counts_only_inside_the_mask() -> None:
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    inside, outside = torch.zeros(2, 1, 1, 2, 2), torch.zeros(2, 1, 1, 2, 2)
    inside[1, ..., 0, 1] = 1
    outside[1, ..., 1, 1] = 1
    assert weigh_mouth(inside, mask, 2.0).tolist() == [0, pytest.approx(2 / 4)]
    assert weigh_mouth(outside, mask, 2.0).tolist() == [0, pytest.approx(1 / 4)]
    soft = torch.tensor([[0.5, 0.6], [1.0, 1.0]])
    assert weigh_mouth(torch.ones(1, 1, 1, 2, 2), soft, 2.0).item() == pytest.approx(5 / 4)


T_BT = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.8, 0.8, 0.5, 0.5]])


def test_forcing_loss_is_half_the_squared_error_of_x0() -> None:
    """A velocity that is off by 2 puts x0 off by 2 t; a clean chunk counts in the mean and adds nothing."""
    student = Answering(flow_answer(2.0))
    draws = ForcingDraws(t_BT=T_BT, noise_BCTHW=NOISE)
    loss = forcing_loss(student, BATCH, PROMPTS, draws, settings=forcing_settings())
    assert loss.item() == pytest.approx(0.5 * float((2 * T_BT).square().mean()), rel=1e-5)
    (asked, t_BT), (conditions,) = student.calls[0], student.conditions
    torch.testing.assert_close(asked, add_noise(X0, NOISE, T_BT))
    assert torch.equal(t_BT, T_BT)
    assert torch.equal(conditions.text_BLD, torch.ones(2, 2, 3))
    loss.backward()
    off = (2.0 * T_BT)[:, None, :, None, None] * (T_BT[:, None, :, None, None] * (NOISE - X0 + 2.0))
    torch.testing.assert_close(student.weight.grad, off.mean())


def test_forcing_loss_of_the_paper_is_that_of_the_velocity() -> None:
    draws = ForcingDraws(t_BT=T_BT, noise_BCTHW=NOISE)
    for weight, expected in ((1.0, 4.0), (3.0, 8.0)):
        settings = forcing_settings(objective="flow", mouth_weight=weight)
        loss = forcing_loss(Answering(flow_answer(2.0)), BATCH, PROMPTS, draws, settings=settings)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
    settings = forcing_settings(mouth_weight=3.0)
    loss = forcing_loss(Answering(flow_answer(2.0)), BATCH, PROMPTS, draws, settings=settings)
    assert loss.item() == pytest.approx(0.5 * 2 * float((2 * T_BT).square().mean()), rel=1e-5)


LOOK = MatchingDraws(t_B=T_B, noise_BCTHW=NOISE)
CONDITIONS = BATCH.conditions(PROMPTS.text_BLD)


@pytest.mark.parametrize(("objective", "expected"), [("flow", 4.0), ("x0", 4.0 * (0.25**2 + 0.75**2) / 2)])
def test_critic_loss(objective: Literal["x0", "flow"], expected: float) -> None:
    rollout = X0.clone().requires_grad_()
    critic = Answering(flow_answer(2.0))
    loss = critic_loss(critic, rollout, CONDITIONS, LOOK, objective=objective, precision="fp32")
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    (asked, t_B) = critic.calls[0]
    torch.testing.assert_close(asked, add_noise(X0, NOISE, T_B))
    assert torch.equal(t_B, T_B)
    assert critic.conditions == [CONDITIONS]
    loss.backward()
    assert critic.weight.grad is not None
    assert float(critic.weight.grad) != 0
    assert rollout.grad is None, "the student is no part of the critic's loss"


def test_matching_gradient_is_the_published_one() -> None:
    """dL/dX = (critic - teacher) / (n x elements of a sample), n = mean|X - teacher| + 1e-6 of each sample."""
    rollout = X0.clone().requires_grad_()
    fake, real = (value.detach().requires_grad_() for value in (X0 * 0.5 + 1, X0 * 0.9))
    loss_B = matching_loss(rollout, fake=fake, real=real)
    assert loss_B.shape == (2,)
    loss_B.sum().backward()
    assert rollout.grad is not None
    for sample in range(2):
        size = (X0[sample] - real[sample]).abs().mean() + 1e-6
        step = (fake[sample] - real[sample]) / size
        torch.testing.assert_close(rollout.grad[sample], step / X0[sample].numel())
        torch.testing.assert_close(loss_B[sample].detach(), 0.5 * step.square().mean())
    assert fake.grad is None
    assert real.grad is None, "gradients reach the rollout alone"
    assert not matching_loss(X0, fake=real, real=real).any(), "no difference, no loss"
    assert EPSILON == 1e-6
    one = torch.ones(1, 1, 1, 1, 1)
    loss = matching_loss(one, fake=one + 1e-3, real=one)
    assert loss.item() == pytest.approx(0.5 * (1e-3 / 1e-6) ** 2, rel=1e-3)
    assert matching_loss(X0, fake=fake, real=real, epsilon=1.0).sum() < loss_B.sum()


WINDOW = TimeWindow(low=0.5, high=0.9, guidance_scale=3.0)


class Silencing(Answering):
    """x0 = 5 with sound and 1 without, whatever it is asked."""

    def forward(self, x: Tensor, t: Tensor, encoded: Any) -> Tensor:
        self.calls.append((x, t))
        self.grad_enabled.append(torch.is_grad_enabled())
        wanted = torch.where(encoded.context_BLD[:, 0, 0] > 0, 5.0, 1.0).view(-1, 1, 1, 1, 1)
        return self.weight * ((x - wanted) / t.view(-1, 1, 1, 1, 1)).float()


def test_the_teacher_is_guided_where_the_law_says_so() -> None:
    teacher = Silencing(lambda x, t: x)
    x_t = add_noise(X0, NOISE, T_B)
    real = teacher_prediction(
        teacher, x_t, T_B, CONDITIONS, PROMPTS.negative_text_BLD, guidance=WINDOW, precision="fp32"
    )
    torch.testing.assert_close(real[0], torch.full_like(real[0], 5.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(real[1], torch.full_like(real[1], 5.0 + 2 * 4.0), atol=1e-4, rtol=0)
    assert [len(x) for x, _ in teacher.calls] == [2, 1], (
        "the unconditional pass is for the guided sample alone"
    )
    assert teacher.grad_enabled == [False, False]
    plain, null = teacher.conditions
    assert plain is CONDITIONS
    assert torch.equal(null.text_BLD, PROMPTS.negative_text_BLD)
    assert null.audio_BND is not None
    assert not null.audio_BND.any()
    assert torch.equal(null.masked_video_BCTHW, BATCH.masked_BCTHW)  # type: ignore[arg-type]
    assert not real.requires_grad


def test_the_critic_is_never_guided() -> None:
    critic = Silencing(lambda x, t: x)
    x_t = add_noise(X0, NOISE, T_B)
    fake = critic_prediction(critic, x_t, T_B, CONDITIONS, precision="fp32")
    torch.testing.assert_close(fake, torch.full_like(fake, 5.0), atol=1e-4, rtol=0)
    assert critic.grad_enabled == [False]
    assert not fake.requires_grad


def test_rollout_loss_puts_the_parts_together() -> None:
    rollout = X0.clone().requires_grad_()
    critic, teacher = Silencing(lambda x, t: x, weight=0.5), Silencing(lambda x, t: x)
    loss_B = rollout_loss(
        rollout,
        critic,
        teacher,
        CONDITIONS,
        PROMPTS.negative_text_BLD,
        LOOK,
        guidance=WINDOW,
        precision="fp32",
    )
    x_t = add_noise(X0, NOISE, T_B)
    for network in (critic, teacher):
        torch.testing.assert_close(network.calls[0][0], x_t)
    fake = critic_prediction(critic, x_t, T_B, CONDITIONS, precision="fp32")
    real = teacher_prediction(
        teacher, x_t, T_B, CONDITIONS, PROMPTS.negative_text_BLD, guidance=WINDOW, precision="fp32"
    )
    torch.testing.assert_close(loss_B, matching_loss(X0, fake=fake, real=real))
    loss_B.sum().backward()
    assert rollout.grad is not None
    assert critic.weight.grad is None
    assert teacher.weight.grad is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_only_the_network_computes_in_the_stated_precision(precision: Literal["fp32", "bf16"]) -> None:
    seen: list[bool] = []

    def answer(x: Tensor, t: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return (NOISE - X0 + 1.0)[: len(x)].to(torch.bfloat16 if seen[-1] else torch.float32)

    network = Answering(answer)
    flow_loss(
        network, BATCH, PROMPTS, teacher_draws(), shift=5.0, settings=teacher_settings(precision=precision)
    )
    forcing = ForcingDraws(t_BT=T_BT, noise_BCTHW=NOISE)
    loss = forcing_loss(network, BATCH, PROMPTS, forcing, settings=forcing_settings(precision=precision))
    assert loss.dtype == torch.float32
    for objective in ("x0", "flow"):
        loss = critic_loss(network, X0, CONDITIONS, LOOK, objective=objective, precision=precision)  # type: ignore[arg-type]
        assert loss.dtype == torch.float32
    fake = critic_prediction(network, X0, T_B, CONDITIONS, precision=precision)
    real = teacher_prediction(
        network, X0, T_B, CONDITIONS, PROMPTS.negative_text_BLD, guidance=WINDOW, precision=precision
    )
    assert fake.dtype == real.dtype == torch.float32
    assert len(seen) == 7
    assert set(seen) == {precision == "bf16"}
    assert not torch.is_autocast_enabled("cpu")
