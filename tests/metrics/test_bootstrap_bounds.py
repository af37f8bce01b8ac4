"""Intervals at their limits: levels, seeds, numbers of resamples, least values, and two identities."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.metrics.bootstrap import (
    LEVEL,
    NUM_RESAMPLES,
    Interval,
    bootstrap_mean,
    bootstrap_statistic,
    paired_difference,
    resampling_weights,
)

VALUES = np.random.default_rng(0).normal(size=12).tolist()
BASELINE = np.random.default_rng(1).normal(size=12).tolist()
PEOPLE = [f"p{k % 6}" for k in range(12)]


def spread(weights: np.ndarray) -> float:
    return float(weights @ np.arange(len(weights)) ** 1.5)


def mean(**options: float) -> Interval:
    return bootstrap_mean(VALUES, PEOPLE, **options)  # type: ignore[arg-type]


def difference(**options: float) -> Interval:
    return paired_difference(VALUES, BASELINE, PEOPLE, **options)  # type: ignore[arg-type]


def statistic(**options: float) -> Interval:
    return bootstrap_statistic(spread, 6, n=12, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [mean, difference, statistic])
def test_what_is_not_said_is_seed_0_and_95_percent(of: type[Interval]) -> None:
    num_resamples = 200 if of is statistic else 2000
    assert of() == of(seed=0, num_resamples=num_resamples, level=0.95)
    assert of() != of(seed=1)
    assert of() != of(num_resamples=num_resamples // 2)
    assert of() != of(level=0.951)
    assert (NUM_RESAMPLES, LEVEL) == (2000, 0.95)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95.0])
@pytest.mark.parametrize("of", [mean, difference, statistic])
def test_a_level_lies_between_0_and_1(of: type[Interval], level: float) -> None:
    with pytest.raises(ValueError, match=f"lies between 0 and 1, got {level}"):
        of(level=level)
    assert of(level=0.001) != of(level=0.999)


def test_the_interval_holds_the_middle_of_the_resampled_means() -> None:
    """That of level 0.5 lies between the quartiles."""
    weights = resampling_weights(6, 2000, 0)
    sums = np.array([sum(v for v, p in zip(VALUES, PEOPLE, strict=True) if p == f"p{k}") for k in range(6)])
    means = weights @ sums / (2 * weights.sum(axis=1))
    found = mean(level=0.5)
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [25, 75]))
    assert found.value == pytest.approx(np.mean(VALUES))
    assert (found.n, found.num_identities, found.why_no_interval) == (12, 6, None)


def test_a_statistic_s_interval_is_the_spread_of_its_resamples_about_its_value() -> None:
    resampled = np.array([spread(row) for row in resampling_weights(6, 200, 3)])
    low, high = np.quantile(resampled, [0.05, 0.95]) - resampled.mean()
    found = statistic(seed=3, level=0.9)
    assert (found.low, found.high) == pytest.approx((found.value + low, found.value + high))
    assert (found.value, found.n, found.num_identities) == (spread(np.ones(6)), 12, 6)


def test_neither_end_lies_below_the_least_value() -> None:
    def constant(weights: np.ndarray) -> float:
        return -1.0

    found = bootstrap_statistic(constant, 4, n=4, minimum=0.0)
    assert (found.value, found.low, found.high) == (-1.0, 0.0, 0.0)
    unbounded = bootstrap_statistic(constant, 4, n=4)
    assert (unbounded.low, unbounded.high) == (-1.0, -1.0)
    free = statistic()
    assert statistic(minimum=0.0) == free
    assert statistic(minimum=free.value).low == free.value
    assert statistic(minimum=free.value).high == free.high > free.value


def test_two_identities_have_an_interval_and_one_has_none() -> None:
    two = bootstrap_statistic(lambda weights: float(weights[0]), 2, n=5)
    assert (two.value, two.low, two.high) == pytest.approx((1.0, 0.0, 2.0), abs=0.2)
    one = bootstrap_statistic(lambda weights: float(weights[0]), 1, n=5)
    assert one == Interval(
        value=1.0, low=None, high=None, n=5, num_identities=1, why_no_interval="only one identity to resample"
    )
    assert bootstrap_mean([1.0, 2.0], ["a", "b"]).low == 1.0
    assert bootstrap_mean([1.0, 2.0], ["a", "a"]).why_no_interval == one.why_no_interval


@pytest.mark.parametrize(
    ("values", "people"),
    [
        ([1.0, np.nan], ["a", "b"]),
        ([1.0, np.inf, 2.0], ["a", "b", "c"]),
        ([[1.0]], ["a"]),
        ([1.0, 2.0], ["a"]),
    ],
)
def test_one_unusable_value_is_enough(values: list[float], people: list[str]) -> None:
    with pytest.raises(ValueError, match="one finite value per identity label"):
        bootstrap_mean(values, people)


def test_every_identity_is_drawn_as_often_as_any_other() -> None:
    weights = resampling_weights(4, 4000, seed=2)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.05)
    np.testing.assert_allclose(
        weights.var(axis=0), 0.75, atol=0.08
    )  # of a binomial with 4 draws of chance 1/4
    assert weights.dtype == np.float64
    assert (weights.sum(axis=1) == 4).all()
    assert (weights != resampling_weights(4, 4000, seed=3)).any()
