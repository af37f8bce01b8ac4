import numpy as np
import pytest

from lipforcing_core.metrics.bootstrap import (
    bootstrap_mean,
    bootstrap_statistic,
    paired_difference,
    resampling_weights,
)


def test_equal_values_have_an_interval_of_no_width():
    found = bootstrap_mean([2.0] * 6, list("abcdef"))
    assert (found.value, found.low, found.high, found.n, found.num_identities) == (2.0, 2.0, 2.0, 6, 6)


def test_two_identities_by_hand():
    found = bootstrap_mean([0.0, 1.0], ["a", "b"])  # resamples: 0, 1/2, 1 with chances 1/4, 1/2, 1/4
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_identities_are_drawn_whole():
    values = [0.0] * 10 + [1.0] * 10
    by_clip = bootstrap_mean(values, [str(k) for k in range(20)])
    by_person = bootstrap_mean(values, ["a"] * 10 + ["b"] * 10)
    assert by_clip.value == by_person.value == 0.5
    assert by_person.high - by_person.low > 1.5 * (by_clip.high - by_clip.low)


def test_clips_weigh_equally_in_clusters_of_unequal_size():
    found = bootstrap_mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"])  # resamples: 1, 2, 5
    assert (found.value, found.low, found.high) == (2.0, 1.0, 5.0)


def test_order_does_not_matter_and_seeds_do():
    rng = np.random.default_rng(0)
    values, people = rng.normal(size=30), [f"p{k % 7}" for k in range(30)]
    order = rng.permutation(30)
    assert bootstrap_mean(values, people) == bootstrap_mean(values[order], [people[k] for k in order])
    assert bootstrap_mean(values, people).low != bootstrap_mean(values, people, seed=1).low


def test_interval_has_the_width_of_the_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap_mean(values, [str(k) for k in range(400)])
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert found.low < found.value < found.high


def test_one_identity_has_no_interval_and_says_so():
    found = bootstrap_mean([1.0, 3.0], ["a", "a"])
    assert (found.value, found.low, found.high, found.n) == (2.0, None, None, 2)
    assert "one identity" in found.why_no_interval


@pytest.mark.parametrize(("values", "people"), [([], []), ([1.0], ["a", "b"]), ([np.nan], ["a"])])
def test_unusable_values_are_refused(values: list, people: list):
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(values, people)


def test_paired_difference_cancels_what_clips_share():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 10, 40)
    people = [str(k) for k in range(40)]
    found = paired_difference(hard + 1 + rng.normal(0, 0.1, 40), hard, people)
    assert 0.9 < found.low < found.value < found.high < 1.1
    reverse = paired_difference(hard, hard + 1, people)
    assert reverse.value == pytest.approx(-1.0)
    assert paired_difference(hard, hard, people).value == 0.0
    with pytest.raises(ValueError, match="number"):
        paired_difference([1.0], [1.0, 2.0], ["a"])


def test_weights_draw_as_many_as_there_are():
    weights = resampling_weights(5, 100, seed=0)
    assert weights.shape == (100, 5)
    assert (weights.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(weights, resampling_weights(5, 100, seed=0))


def test_interval_of_a_biased_statistic_lies_around_its_value():
    data = np.random.default_rng(3).normal(size=12)

    def spread(weights: np.ndarray) -> float:
        mean = weights @ data / weights.sum()
        return float(weights @ (data - mean) ** 2 / weights.sum())

    found = bootstrap_statistic(spread, 12, n=12, num_resamples=2000)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(data.var())
    assert bootstrap_statistic(lambda w: float((w == 0).any()), 4, n=4, minimum=0.0).low >= 0.0
    assert bootstrap_statistic(lambda w: 7.0, 1, n=3).why_no_interval is not None
