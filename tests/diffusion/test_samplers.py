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
