"""Draws are functions of seed, stage, step and shapes, each with its law."""

from __future__ import annotations

import pytest
import torch

from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.training.draws import (
    RoleDraws,
    chunk_levels,
    dropped,
    forcing_draws,
    role_draws,
    rollout_draws,
    step_generator,
    teacher_draws,
)

SHAPE = (3, 2, 4, 2, 2)
CHUNKS = [(0, 2), (2, 4)]
SCHEDULE = FlowSchedule()


def of(*key: int | str) -> torch.Generator:
    seed, stage, step = key
    return step_generator(int(seed), str(stage), int(step))


def test_step_generators_are_a_function_of_their_arguments() -> None:
    keys = ((1, "a", 2), (1, "a", 2), (1, "a", 3), (1, "b", 2), (2, "a", 2))
    draw = [torch.rand(3, generator=step_generator(*key)) for key in keys]
    assert torch.equal(draw[0], draw[1])
    assert not any(torch.equal(draw[0], other) for other in draw[2:])


def test_draws_are_those_of_earlier_versions() -> None:
    """Stored runs continue, and equal recipes give equal bits: the first number, and the order of the draws."""
    generator = of(42, "base", 0)
    teacher = teacher_draws(generator, SHAPE, schedule=SCHEDULE, text_dropout=0.5, audio_dropout=0.5)
    again = of(42, "base", 0)
    assert torch.equal(teacher.t_B, SCHEDULE.sample_t(3, again))
    assert torch.equal(teacher.noise_BCTHW, torch.randn(SHAPE, generator=again))
    assert torch.equal(teacher.text_dropped_B, torch.rand(3, generator=again) < 0.5)
    assert torch.equal(teacher.audio_dropped_B, torch.rand(3, generator=again) < 0.5)
    assert float(torch.rand(1, generator=of(42, "base", 0))) == pytest.approx(0.32985216, abs=1e-7)


def test_dropouts_have_their_own_probability() -> None:
    def share(text: float, audio: float) -> tuple[float, float]:
        draws = teacher_draws(
            of(0, "x", 0), (4000, 1, 1, 1, 1), schedule=SCHEDULE, text_dropout=text, audio_dropout=audio
        )
        return float(draws.text_dropped_B.float().mean()), float(draws.audio_dropped_B.float().mean())

    assert share(0.0, 1.0) == (0.0, 1.0)
    assert share(1.0, 0.0) == (1.0, 0.0)
    assert share(0.1, 0.4) == pytest.approx((0.1, 0.4), abs=0.03)
    assert dropped(torch.tensor([0.05, 0.1, 0.15]), 0.1).tolist() == [True, False, False]


def test_levels_are_shared_within_chunks_only() -> None:
    t_list = (0.9, 0.5, 0.0)
    draws = forcing_draws(of(0, "f", 0), (300, 1, 4, 1, 1), t_list=t_list, chunks=CHUNKS)
    levels = draws.t_BT
    assert levels.shape == (300, 4)
    assert torch.equal(levels[:, 0], levels[:, 1])
    assert torch.equal(levels[:, 2], levels[:, 3])
    assert (levels[:, 0] != levels[:, 2]).float().mean() == pytest.approx(2 / 3, abs=0.08)
    for level in torch.tensor(t_list):
        assert (levels == level).float().mean() == pytest.approx(1 / 3, abs=0.08)
    assert draws.noise_BCTHW.shape == (300, 1, 4, 1, 1)
    assert draws.noise_BCTHW.std() == pytest.approx(1, abs=0.05)
    uneven = chunk_levels(torch.tensor([[0, 2], [1, 0]]), t_list=t_list, chunks=[(0, 3), (3, 5)])
    torch.testing.assert_close(uneven, torch.tensor([[0.9, 0.9, 0.9, 0, 0], [0.5, 0.5, 0.5, 0.9, 0.9]]))


def test_forcing_draws_levels_before_noise() -> None:
    draws = forcing_draws(of(1, "f", 2), SHAPE, t_list=(0.9, 0.0), chunks=CHUNKS)
    generator = of(1, "f", 2)
    index = torch.randint(2, (3, 2), generator=generator)
    assert torch.equal(draws.t_BT, chunk_levels(index, t_list=(0.9, 0.0), chunks=CHUNKS))
    assert torch.equal(draws.noise_BCTHW, torch.randn(SHAPE, generator=generator))


def test_every_exit_is_drawn_and_noise_lasts_until_it() -> None:
    exits = set()
    for step in range(40):
        draws = rollout_draws(of(0, "r", step), SHAPE, chunks=[(0, 1), (1, 4)], num_calls=3)
        exits.add(draws.exit_step)
        assert [len(chunk) for chunk in draws.renoise] == [draws.exit_step] * 2
        for (start, stop), chunk in zip([(0, 1), (1, 4)], draws.renoise, strict=True):
            assert all(noise.shape == (3, 2, stop - start, 2, 2) for noise in chunk)
    assert exits == {0, 1, 2}


def test_a_role_draws_its_rollout_then_its_look() -> None:
    draws = role_draws(of(5, "d", 1), SHAPE, chunks=CHUNKS, num_calls=2, schedule=SCHEDULE)
    generator = of(5, "d", 1)
    assert torch.equal(draws.rollout.noise_BCTHW, torch.randn(SHAPE, generator=generator))
    assert draws.rollout.exit_step == int(torch.randint(2, (), generator=generator))
    for chunk in draws.rollout.renoise:
        for noise in chunk:
            assert torch.equal(noise, torch.randn(3, 2, 2, 2, 2, generator=generator))
    assert torch.equal(draws.matching.t_B, SCHEDULE.sample_t(3, generator))
    assert torch.equal(draws.matching.noise_BCTHW, torch.randn(SHAPE, generator=generator))


def test_draws_move_to_a_device_whole() -> None:
    role = role_draws(of(0, "d", 3), SHAPE, chunks=CHUNKS, num_calls=9, schedule=SCHEDULE)
    assert role.rollout.exit_step > 0
    moved = role.to("meta")
    assert isinstance(moved, RoleDraws)
    tensors = [moved.rollout.noise_BCTHW, moved.matching.t_B, moved.matching.noise_BCTHW]
    tensors += [noise for chunk in moved.rollout.renoise for noise in chunk]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.rollout.exit_step == role.rollout.exit_step
    assert role.matching.t_B.device.type == "cpu"
