"""Golden values of the specification (method C and I), and identities that hold for any input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.schedule import (
    FlowSchedule,
    GuidedWhere,
    SyncWindow,
    TimeWindow,
    add_noise,
    expand_time,
    noise_from_velocity,
    noise_from_x0,
    velocity_from_x0,
    x0_from_noise,
    x0_from_velocity,
)

TAU = {
    0: 1.0,
    10: 0.95238,
    13: 0.934343,
    20: 0.882353,
    25: 0.833333,
    30: 0.769231,
    37: 0.637255,
    40: 0.555556,
    49: 0.09259,
    50: 0.0,
}
times = st.floats(0.001, 0.999)


def random_pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x0, eps = torch.randn(2, 2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(seed)).unbind(0)
    return x0, eps


def test_grid() -> None:
    schedule = FlowSchedule()
    for step, want in TAU.items():
        assert schedule.tau(step) == pytest.approx(want, abs=5e-6)
        assert float(schedule.timesteps[step]) == schedule.tau(step)


def test_steps_of_times() -> None:
    schedule = FlowSchedule()
    assert float(schedule.step_of(0.769)) == pytest.approx(30.016, abs=5e-4)
    assert float(schedule.step_of(0.556)) == pytest.approx(39.986, abs=5e-4)
    assert float(schedule.step_of(0.882)) == pytest.approx(20.041, abs=5e-4)


@given(st.floats(0, 50), st.floats(0.5, 10))
def test_step_of_inverts_tau(step: float, shift: float) -> None:
    schedule = FlowSchedule(shift=shift)
    assert float(schedule.step_of(schedule.tau(step))) == pytest.approx(step, abs=1e-9)


def test_student_times() -> None:
    schedule = FlowSchedule()
    assert schedule.student_times() == (0.999, 0.769, 0.0)
    landings = {13: 0.934, 25: 0.833, 37: 0.637}
    assert {j: schedule.student_times((0, j))[1] for j in landings} == landings
    assert FlowSchedule(num_steps=4).student_times((0, 1, 2, 3)) == (0.999, 0.938, 0.833, 0.625, 0.0)


def test_window_is_steps_20_to_40_with_both_ends() -> None:
    schedule, window = FlowSchedule(), SyncWindow()
    inside = window.contains(schedule.timesteps)
    assert inside.nonzero().flatten().tolist() == list(range(20, 41))
    assert torch.equal(window.contains(schedule.timesteps.float()), inside), "float32 times as well"
    assert window.scale(torch.tensor([0.9, 0.882, 0.7, 0.556, 0.5])).tolist() == [1.0, 4.5, 4.5, 4.5, 1.0]
    assert float(window.scale(0.769)) == 4.5


def test_two_in_five_draws_are_guided() -> None:
    t = FlowSchedule().sample_t(20000, torch.Generator().manual_seed(0))
    assert t.dtype == torch.float64
    assert float(t.min()) >= 0.001
    assert float(t.max()) <= 0.999
    assert float(SyncWindow().contains(t).double().mean()) == pytest.approx(0.40, abs=0.015)


def test_draws_depend_on_the_generator_alone() -> None:
    a, b = (FlowSchedule().sample_t(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)


def test_loss_weights_have_mean_one_and_peak_in_the_middle() -> None:
    schedule = FlowSchedule(num_steps=1000)
    weights = schedule.loss_weights()
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights.min()) == 0.0
    assert float(schedule.timesteps[int(weights.argmax())]) == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(schedule.loss_weights(schedule.timesteps[:-1]), weights)


def test_times_between_the_grid_have_the_weight_of_the_nearest_point() -> None:
    schedule = FlowSchedule(num_steps=1000)
    grid, weights = schedule.timesteps[:-1], schedule.loss_weights()
    for index in (0, 1, 417, 998, 999):
        near = grid[index] + 0.4 * (grid[min(index + 1, 999)] - grid[index])
        assert int(schedule.nearest_step(near)) == index
        assert float(schedule.loss_weights(near)) == float(weights[index])
    assert schedule.nearest_step(torch.tensor([[1.0, 0.5], [0.0, 0.9999]])).shape == (2, 2)
    assert int(schedule.nearest_step(torch.tensor(0.0))) == 999
    assert float(schedule.loss_weights(torch.tensor(1.0))) == 0.0, "t = 1 has the least weight"
    bell = torch.exp(-2 * (grid - 0.5) ** 2)
    expected = (bell - bell[0]) * 1000 / (bell - bell[0]).sum()
    torch.testing.assert_close(weights, expected)


def test_between_two_grid_points_equal_model_times_are_the_noisier() -> None:
    """Model times are float32: just below the middle of 1000 and 750 is the middle, to rounding."""
    schedule = FlowSchedule(shift=1.0, num_steps=4)
    times = torch.tensor([0.875 + 1e-9, 0.875 - 1e-9, 0.875 - 1e-6, 0.625], dtype=torch.float64)
    assert schedule.nearest_step(times).tolist() == [0, 0, 1, 1]
    fine = FlowSchedule(shift=1.0, num_steps=50)
    middles = torch.tensor([0.83, 0.81], dtype=torch.float64)  # of 0.84 and 0.82, of 0.82 and 0.80
    assert fine.nearest_step(middles).tolist() == [8, 9]


@given(times)
def test_conversions_are_consistent(t: float) -> None:
    x0, eps = random_pair()
    x_t, velocity = add_noise(x0, eps, t), eps - x0
    tolerance = {"atol": 3e-6 / min(t, 1 - t), "rtol": 0}
    torch.testing.assert_close(x0_from_velocity(x_t, velocity, t), x0, **tolerance)
    torch.testing.assert_close(noise_from_velocity(x_t, velocity, t), eps, **tolerance)
    torch.testing.assert_close(velocity_from_x0(x_t, x0, t), velocity, **tolerance)
    torch.testing.assert_close(noise_from_x0(x_t, x0, t), eps, **tolerance)
    torch.testing.assert_close(x0_from_noise(x_t, eps, t), x0, **tolerance)


def test_times_per_sample_and_per_latent() -> None:
    x0, eps = random_pair()
    per_sample = add_noise(x0, eps, torch.tensor([0.0, 1.0]))
    assert torch.equal(per_sample, torch.stack([x0[0], eps[1]]))
    per_latent = add_noise(x0, eps, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert torch.equal(per_latent[0, :, 1], eps[0, :, 1])
    assert torch.equal(per_latent[1, :, 1], x0[1, :, 1])
    with pytest.raises(BadInputError, match="do not fit"):
        add_noise(x0, eps, torch.zeros(2, 5))


def test_clean_context_gives_no_loss_whatever_the_network_says() -> None:
    """At t = 0 the prediction is the input itself (method D.4)."""
    x0, nonsense = random_pair()
    assert torch.equal(x0_from_velocity(x0, 1e3 * nonsense, 0.0), x0)


def test_types_are_kept() -> None:
    x0, eps = (v.to(torch.bfloat16) for v in random_pair())
    assert add_noise(x0, eps, 0.3).dtype == torch.bfloat16
    assert x0_from_velocity(x0, eps, torch.tensor([0.3, 0.4])).dtype == torch.bfloat16


def test_unusable_settings_are_named() -> None:
    with pytest.raises(BadInputError, match="shift=0"):
        FlowSchedule(shift=0)
    with pytest.raises(BadInputError, match="num_steps=0"):
        FlowSchedule(num_steps=0)


def test_uniform_draws_become_shifted_times() -> None:
    schedule = FlowSchedule(shift=3.0)
    ends = schedule.shift_uniform(torch.tensor([0.0, 1.0]))
    want = [3 * u / (1 + 2 * u) for u in (0.001, 0.999)]
    torch.testing.assert_close(ends, torch.tensor([want[0], 0.999], dtype=torch.float64), rtol=1e-12, atol=0)
    assert FlowSchedule(shift=0.2).shift_uniform(torch.tensor(0.0)) == 0.001, "never below"
    half = schedule.shift_uniform(torch.tensor(0.25))
    u = 0.001 + 0.998 * 0.25
    assert float(half) == pytest.approx(3 * u / (1 + 2 * u), rel=1e-12)
    uniform = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    drawn = schedule.sample_t(4, torch.Generator().manual_seed(5))
    assert torch.equal(drawn, schedule.shift_uniform(uniform)), "from float64 draws"


def test_times_just_outside_the_window_are_not_guided() -> None:
    schedule, window = FlowSchedule(), SyncWindow()
    for inside, step in ((True, 20 - 5e-5), (False, 20 - 1.5e-4), (True, 40 + 5e-5), (False, 40 + 1.5e-4)):
        assert bool(window.contains(schedule.tau(step))) == inside, step


def test_the_released_window_has_rounded_times_as_its_ends() -> None:
    window = SyncWindow().rounded()
    assert window == TimeWindow(low=0.556, high=0.882, guidance_scale=4.5, where="inside")
    times = torch.tensor([0.5559, 0.556, 0.7, 0.882, 0.8821], dtype=torch.float64)
    assert window.contains(times).tolist() == [False, True, True, True, False]
    other = SyncWindow(
        start_step=2, stop_step=6, guidance_scale=2.0, schedule=FlowSchedule(shift=3, num_steps=8)
    )
    assert other.rounded("outside") == TimeWindow(low=0.5, high=0.9, guidance_scale=2.0, where="outside")


@pytest.mark.parametrize(
    ("where", "scales"),
    [
        ("inside", [1.0, 3.0, 3.0, 1.0]),
        ("outside", [3.0, 1.0, 1.0, 3.0]),
        ("everywhere", [3.0] * 4),
        ("nowhere", [1.0] * 4),
    ],
)
def test_guidance_and_its_ablations(where: GuidedWhere, scales: list[float]) -> None:
    window = TimeWindow(low=0.25, high=0.5, guidance_scale=3.0, where=where)
    scale = window.scale(torch.tensor([0.2, 0.25, 0.5, 0.6]))
    assert scale.tolist() == scales
    assert scale.dtype == torch.float64
    assert float(window.scale(0.3)) == scales[1]


def test_conversions_at_no_noise_divide_by_a_millionth() -> None:
    x0, x_t = torch.zeros(1, 1), torch.full((1, 1), 3.0)
    assert float(velocity_from_x0(x_t, x0, 0.0)) == pytest.approx(3e6)
    assert float(noise_from_x0(x_t, x0, 0.0)) == pytest.approx(3e6)
    assert float(velocity_from_x0(x_t, x0, 0.5)) == pytest.approx(6.0)


def test_times_are_spread_over_what_they_belong_to() -> None:
    x = torch.zeros(2, 3, 4, 5, 6)
    assert expand_time(0.3, x).shape == ()
    assert expand_time(torch.zeros(2), x).shape == (2, 1, 1, 1, 1)
    assert expand_time(torch.zeros(2), torch.zeros(2, 7)).shape == (2, 1)
    assert expand_time(torch.zeros(2, 4), x).shape == (2, 1, 4, 1, 1)
    assert expand_time(torch.zeros(2, 1), x).shape == (2, 1, 1, 1, 1)
    assert expand_time(torch.zeros(2, 4), torch.zeros(2, 3, 4)).shape == (2, 1, 4)
    assert expand_time(torch.zeros(2, dtype=torch.float32), x).dtype == torch.float64
    assert expand_time(0.3, x).dtype == torch.float64
    assert expand_time(torch.zeros(2), x.to("meta")).device.type == "meta"
    assert expand_time(0.3, x.to("meta")).device.type == "meta"
    for t, latents in (
        (torch.zeros(2, 4), torch.zeros(2, 4)),
        (torch.zeros(2, 1, 1), x),
        (torch.zeros(2, 3), x),
    ):
        with pytest.raises(BadInputError, match="do not fit"):
            expand_time(t, latents)


def test_one_step_and_a_shift_below_one_are_usable() -> None:
    assert FlowSchedule(num_steps=1).timesteps.tolist() == [1.0, 0.0]
    assert FlowSchedule(shift=0.25).tau(25) == pytest.approx(0.125 / (1 - 0.375))
    with pytest.raises(BadInputError, match="shift=-1"):
        FlowSchedule(shift=-1)
