"""Samplers on fields with a known answer, and guidance that costs a pass only where it acts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.guidance import combine, guided_velocity
from lipforcing_core.diffusion.samplers import draw_noise, euler_sample, few_step_chunk
from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow, add_noise, x0_from_velocity
from lipforcing_core.models.conditions import EncodedConditions
from tests.models.tiny import HEIGHT, WIDTH, random_conditions, random_latents, tiny_student


class Counting:
    """velocity = context + 0.1 x, recording the times of conditional (context > 0) and null passes."""

    def __init__(self) -> None:
        self.conditional: list[list[float]] = []
        self.null: list[list[float]] = []

    def __call__(self, x: Tensor, t_B: Tensor, encoded: EncodedConditions) -> Tensor:
        level = encoded.context_BLD[:, 0, 0]
        (self.conditional if float(level[0]) > 0 else self.null).append(t_B.tolist())
        assert len(level) == len(x) == len(t_B)
        return 0.1 * x + level.view(-1, 1, 1, 1, 1)


def context(levels: list[float]) -> EncodedConditions:
    return EncodedConditions(y_BCTHW=None, context_BLD=torch.tensor(levels).view(-1, 1, 1), audio_BPTD=None)


def test_euler_follows_a_straight_path_exactly() -> None:
    x0, noise = random_latents(3), random_latents(3, seed=3)
    for steps in (1, 7, 50):
        got = euler_sample(lambda x, t, e: noise - x0, context([1.0] * 2), None, noise=noise, num_steps=steps)
        torch.testing.assert_close(got, x0, atol=1e-5, rtol=0)


def test_euler_visits_the_grid() -> None:
    model = Counting()
    euler_sample(model, context([1.0] * 2), None, noise=random_latents(1))
    assert [t[0] for t in model.conditional] == FlowSchedule().timesteps[:-1].tolist()
    assert not model.null


def test_scale_one_is_exactly_the_conditional_prediction() -> None:
    noise, cond, null = random_latents(1), context([1.0] * 2), context([-1.0] * 2)
    model = Counting()
    guided = euler_sample(model, cond, null, noise=noise, guidance_scale=1.0)
    assert torch.equal(guided, euler_sample(model, cond, None, noise=noise))
    assert not model.null


def test_window_skips_the_unconditional_pass_outside() -> None:
    model, window = Counting(), SyncWindow()
    euler_sample(model, context([1.0]), context([-1.0]), noise=random_latents(1, batch=1), window=window)
    grid = FlowSchedule().timesteps
    assert [t[0] for t in model.null] == grid[20:41].tolist()
    assert len(model.conditional) == 50


def test_guidance_per_sample_equals_two_full_passes() -> None:
    student, x = tiny_student(), random_latents(3, batch=4)
    cond = random_conditions(3, batch=4)
    encoded = student.encode_conditions(cond)
    null = student.encode_conditions(cond.null(torch.zeros(1, 5, 8)))
    t = torch.tensor([0.95, 0.8, 0.3, 0.6], dtype=torch.float64)
    scale = SyncWindow().scale(t)
    assert scale.tolist() == [1.0, 4.5, 1.0, 4.5]
    with torch.no_grad():
        got = guided_velocity(student, x, t, encoded, null, scale)
        conditional, unconditional = student(x, t, encoded), student(x, t, null)
    torch.testing.assert_close(got, combine(conditional, unconditional, scale), atol=1e-4, rtol=0)
    assert torch.equal(got[[0, 2]], conditional[[0, 2]])


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 3.0)])
def test_an_unconditional_pass_may_be_made_for_company(scales: tuple[float, float], always: bool) -> None:
    """Workers that share a network make equally many passes; where no sample needs one it changes nothing."""
    model, x, t = Counting(), random_latents(1), torch.tensor([0.5, 0.7])
    scale = torch.tensor(scales)
    got = guided_velocity(model, x, t, context([1.0] * 2), context([-1.0] * 2), scale, always=always)
    torch.testing.assert_close(got, 0.1 * x + (2 * scale - 1).view(-1, 1, 1, 1, 1))
    assert len(model.conditional) == 1
    assert len(model.null) == (1 if always or 3.0 in scales else 0)


def test_euler_is_guided_by_the_scale_it_is_given() -> None:
    """Velocities 1 with and -1 without conditions: with scale 3 it is 5 in every step, from t = 1 to 0."""
    noise = random_latents(1)

    def model(x: Tensor, t_B: Tensor, encoded: EncodedConditions) -> Tensor:
        return encoded.context_BLD[:, 0, 0].view(-1, 1, 1, 1, 1).expand_as(x)

    cond, null = context([1.0] * 2), context([-1.0] * 2)
    got = euler_sample(model, cond, null, noise=noise, guidance_scale=3.0, num_steps=4)
    torch.testing.assert_close(got, noise - 5)
    got = euler_sample(model, cond, null, noise=noise, window=SyncWindow(guidance_scale=2.0))
    inside = FlowSchedule().tau(20) - FlowSchedule().tau(41)
    torch.testing.assert_close(got, noise - 3 * inside - (1 - inside))


def test_guidance_misuse_is_explained() -> None:
    noise = random_latents(1)
    with pytest.raises(BadInputError, match="unconditional"):
        euler_sample(Counting(), context([1.0] * 2), None, noise=noise, guidance_scale=4.5)
    with pytest.raises(BadInputError, match="either"):
        euler_sample(
            Counting(),
            context([1.0] * 2),
            context([0.0] * 2),
            noise=noise,
            guidance_scale=2.0,
            window=SyncWindow(),
        )


@torch.no_grad()
def test_few_step_chunk_is_predict_renoise_predict() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(3))
    cache, noise = student.new_cache(2, HEIGHT, WIDTH), random_latents(3)
    got = few_step_chunk(
        student,
        encoded,
        cache,
        t_list=(0.999, 0.769, 0.0),
        noise=noise,
        generator=torch.Generator().manual_seed(7),
    )
    fresh = draw_noise(noise, torch.Generator().manual_seed(7))
    first = x0_from_velocity(noise, student.denoise_chunk(noise, 0.999, encoded, cache), 0.999)
    x = add_noise(first, fresh, 0.769)
    want = x0_from_velocity(x, student.denoise_chunk(x, 0.769, encoded, cache), 0.769)
    assert torch.equal(got, want)
    assert cache.num_latents == 0
    one = few_step_chunk(student, encoded, cache, t_list=(0.999, 0.769, 0.0), noise=noise, exit_step=0)
    assert torch.equal(one, first)


def test_gradient_only_in_the_exit_call() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(3))
    calls: list[bool] = []
    original = student.denoise_chunk

    def watched(*args):  # type: ignore[no-untyped-def]
        calls.append(torch.is_grad_enabled())
        return original(*args)

    student.denoise_chunk = watched  # type: ignore[method-assign]
    settings = {"t_list": (0.999, 0.9, 0.769, 0.0), "noise": random_latents(3)}
    cache = student.new_cache(2, HEIGHT, WIDTH)
    for grad in (True, False):
        generator = torch.Generator().manual_seed(0)
        x0 = few_step_chunk(student, encoded, cache, generator=generator, exit_step=1, grad=grad, **settings)  # type: ignore[arg-type]
        assert x0.requires_grad == grad
    assert calls == [False, True, False, False]


@pytest.mark.parametrize("t_list", [(0.9,), (0.9, 0.5), (0.5, 0.9, 0.0), (0.0,)])
def test_unusable_time_lists_are_refused(t_list: tuple[float, ...]) -> None:
    student = tiny_student()
    with pytest.raises(BadInputError, match="must decrease and end in 0"):
        few_step_chunk(
            student, context([1.0]), student.new_cache(1, 4, 6), t_list=t_list, noise=random_latents(3)
        )


def test_missing_generator_and_unknown_exit_are_refused() -> None:
    student = tiny_student()
    cache, noise = student.new_cache(2, HEIGHT, WIDTH), random_latents(3)
    with pytest.raises(BadInputError, match="generator"):
        few_step_chunk(student, context([1.0]), cache, t_list=(0.9, 0.5, 0.0), noise=noise)
    with pytest.raises(BadInputError, match="exit_step=2"):
        few_step_chunk(student, context([1.0]), cache, t_list=(0.9, 0.5, 0.0), noise=noise, exit_step=2)


def test_euler_keeps_its_state_in_float32() -> None:
    seen = []

    def model(x: Tensor, t_B: Tensor, encoded: EncodedConditions) -> Tensor:
        assert not torch.is_grad_enabled()
        seen.append(x.dtype)
        return torch.full_like(x, 1.003).bfloat16()

    noise = torch.zeros(1, 1, 1, 1, 1, dtype=torch.bfloat16)
    got = euler_sample(model, context([1.0]), None, noise=noise, num_steps=3)
    assert got.dtype == torch.bfloat16
    assert set(seen) == {torch.float32}
    exact = euler_sample(
        lambda x, t, e: torch.full_like(x, 1.0078125).bfloat16(),
        context([1.0]),
        None,
        noise=noise.float(),
        num_steps=3,
    )
    assert float(exact) == pytest.approx(-1.0078125, abs=1e-6), "steps are taken in float32"


def test_euler_takes_the_number_of_steps_and_the_shift_of_the_schedule() -> None:
    schedule = FlowSchedule(shift=2.0, num_steps=9)
    model = Counting()
    euler_sample(
        model, context([1.0]), None, noise=random_latents(1, batch=1), schedule=schedule, num_steps=4
    )
    want = FlowSchedule(shift=2.0, num_steps=4).timesteps[:-1].tolist()
    assert [t[0] for t in model.conditional] == want


class Recording:
    """Answers with the input, and notes how it was asked."""

    def __init__(self) -> None:
        self.weight = torch.tensor(0.5, requires_grad=True)
        self.calls: list[tuple[Tensor, Tensor, object, bool]] = []

    def denoise_chunk(self, x: Tensor, t: Tensor, encoded: EncodedConditions, past: object) -> Tensor:
        self.calls.append((x.detach(), t, past, torch.is_grad_enabled()))
        return self.weight * x


NOISE = torch.randn(1, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
FRESH = [torch.full_like(NOISE, 2.0), torch.full_like(NOISE, 3.0)]


def test_noise_between_calls_may_be_given() -> None:
    student = Recording()
    got = few_step_chunk(
        student, context([1.0]), "past", t_list=(0.9, 0.6, 0.3, 0.0), noise=NOISE, renoise=FRESH
    )
    first = NOISE * (1 - 0.9 * 0.5)
    second = (0.4 * first + 0.6 * 2.0) * (1 - 0.6 * 0.5)
    third = (0.7 * second + 0.3 * 3.0) * (1 - 0.3 * 0.5)
    torch.testing.assert_close(got, third)
    assert not got.requires_grad
    assert [(float(t), t.dtype, past, grad) for _, t, past, grad in student.calls] == [
        (0.9, torch.float64, "past", False), (0.6, torch.float64, "past", False), (0.3, torch.float64, "past", False),
    ]  # fmt: skip
    with pytest.raises(BadInputError, match="renoise holds 1 tensors"):
        few_step_chunk(
            student, context([1.0]), "past", t_list=(0.9, 0.6, 0.3, 0.0), noise=NOISE, renoise=FRESH[:1]
        )
    student.calls.clear()
    few_step_chunk(
        student, context([1.0]), "past", t_list=(0.9, 0.6, 0.0), noise=NOISE, renoise=[], exit_step=0
    )
    assert len(student.calls) == 1


def test_the_last_call_made_has_a_gradient() -> None:
    student = Recording()
    got = few_step_chunk(
        student, context([1.0]), "past", t_list=(0.9, 0.6, 0.0), noise=NOISE, renoise=FRESH[:1], grad=True
    )
    assert [grad for *_, grad in student.calls] == [False, True]
    got.sum().backward()
    assert len(student.calls) == 2, "nothing is computed again"
    x = 0.4 * (NOISE * (1 - 0.9 * 0.5)) + 0.6 * 2.0
    torch.testing.assert_close(student.weight.grad, -0.6 * x.sum())


def test_a_single_call_needs_no_generator() -> None:
    student = Recording()
    got = few_step_chunk(student, context([1.0]), None, t_list=(0.8, 0.0), noise=NOISE)
    torch.testing.assert_close(got, NOISE * (1 - 0.8 * 0.5), check_stride=False)
    assert len(student.calls) == 1


@pytest.mark.parametrize("exit_step", [-1, 2, 3])
def test_an_exit_must_be_one_of_the_calls(exit_step: int) -> None:
    with pytest.raises(BadInputError, match=f"exit_step={exit_step}"):
        few_step_chunk(
            Recording(),
            context([1.0]),
            None,
            t_list=(0.9, 0.5, 0.0),
            noise=NOISE,
            renoise=FRESH,
            exit_step=exit_step,
        )


def test_equal_levels_are_no_descent() -> None:
    with pytest.raises(BadInputError, match="must decrease"):
        few_step_chunk(Recording(), context([1.0]), None, t_list=(0.5, 0.5, 0.0), noise=NOISE, renoise=FRESH)


def test_fresh_noise_is_drawn_in_float32_and_cast() -> None:
    like = torch.zeros(2, 3, dtype=torch.float64)
    got = draw_noise(like, torch.Generator().manual_seed(1))
    assert got.dtype == torch.float64
    assert torch.equal(got, torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).double())
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(draw_noise(like, torch.Generator().manual_seed(1)), got), "whatever is usual"
    finally:
        torch.set_default_dtype(usual)
    assert draw_noise(torch.zeros(2, device="meta"), None).device.type == "meta"
    assert draw_noise(torch.zeros(2, device="meta"), torch.Generator()).device.type == "meta"
    with torch.device("meta"):  # where networks are built
        again = draw_noise(like, torch.Generator("cpu").manual_seed(1))
        t_B = FlowSchedule().sample_t(2, torch.Generator("cpu").manual_seed(1))
    assert torch.equal(again, got)
    assert t_B.device.type == "cpu"


def test_combination_by_hand() -> None:
    conditional, unconditional = torch.full((2, 1, 3), 4.0), torch.full((2, 1, 3), 1.0)
    got = combine(conditional, unconditional, torch.tensor([2.0, 0.5], dtype=torch.float64))
    assert got.dtype == torch.float32
    assert got[:, 0, 0].tolist() == [7.0, 2.5]
    assert combine(conditional, unconditional, 3.0)[0, 0, 0] == 10.0
