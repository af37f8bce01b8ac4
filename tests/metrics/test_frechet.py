import numpy as np
import pytest
from scipy.linalg import sqrtm

from lipforcing_core.metrics.few_samples import few_samples_note
from lipforcing_core.metrics.frechet import (
    WIDE,
    ClusteredFeatures,
    Moments,
    frechet_distance,
    frechet_from_moments,
    moments,
    resampled_distance,
)


def samples(seed: int, n: int, d: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + shift


@pytest.mark.parametrize(("n", "d"), [(200, 8), (6, 32), (2, 3)])
def test_zero_for_equal_sets_even_when_rank_deficient(n: int, d: int):
    a = samples(0, n, d)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-10)
    assert frechet_from_moments(moments(a), moments(a)) == pytest.approx(0.0, abs=1e-9)


def test_closed_form_of_gaussians():
    diagonal = frechet_from_moments(
        Moments(mean=np.array([0.0, 0.0]), covariance=np.diag([4.0, 9.0]), n=10),
        Moments(mean=np.array([3.0, 4.0]), covariance=np.diag([1.0, 25.0]), n=10),
    )
    assert diagonal == pytest.approx(25.0 + (2 - 1) ** 2 + (3 - 5) ** 2)


def test_by_hand_in_one_dimension():
    a, b = (
        np.array([[0.0], [2.0]]),
        np.array([[5.0], [11.0]]),
    )  # means 1 and 8, deviations sqrt(2) and sqrt(18)
    assert frechet_distance(a, b) == pytest.approx(49.0 + (np.sqrt(18) - np.sqrt(2)) ** 2)


def test_shift_adds_its_square():
    a = samples(1, 50, 6)
    assert frechet_distance(a, a + 2.0) == pytest.approx(6 * 4.0)


def test_symmetric_and_grows_with_the_difference():
    a, b, c = samples(2, 40, 5), samples(3, 60, 5, 0.5), samples(3, 60, 5, 3.0)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) < frechet_distance(a, c)


def test_agrees_with_the_matrix_square_root_of_scipy():
    a, b = samples(4, 300, 10), samples(5, 200, 10, 1.0)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_from_moments(moments(a), moments(b)) == pytest.approx(expected, rel=1e-9)


def test_too_few_or_broken_vectors_are_refused():
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(np.full((3, 3), np.nan), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="width"):
        frechet_distance(np.zeros((3, 3)), np.zeros((5, 4)))


@pytest.mark.parametrize(("n", "singular"), [(64, True), (65, False)])
def test_the_note_comes_where_the_covariance_is_singular(n: int, singular: bool) -> None:
    assert (few_samples_note("fid", n, "random-conv-v1@seed0") is not None) == singular
    assert (np.linalg.matrix_rank(moments(samples(0, n, 64)).covariance) < 64) == singular


def test_there_is_no_note_without_a_known_width_or_count() -> None:
    assert few_samples_note("fid", None, "random-conv-v1@seed0") is None
    assert few_samples_note("fid", 2, "mine@1") is None
    assert few_samples_note("ssim", 2, "random-conv-v1@seed0") is None


def test_clusters_give_the_moments_of_the_repeated_vectors():
    clusters = [samples(k, 4 + k, 3, shift=100.0) for k in range(3)]
    origin = np.concatenate(clusters).mean(axis=0)
    grouped = ClusteredFeatures(clusters, origin)
    drawn = np.concatenate([clusters[0], clusters[2], clusters[2]])
    expected, found = moments(drawn), grouped.moments(np.array([1.0, 0.0, 2.0]))
    assert found.n == expected.n
    np.testing.assert_allclose(found.mean + origin, expected.mean)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-9)


@pytest.mark.parametrize("width", [WIDE - 200, WIDE + 40])
@pytest.mark.parametrize("vectors_each", [3, 60])
def test_resampled_distance_is_that_of_the_repeated_vectors(width: int, vectors_each: int) -> None:
    """Narrow and wide features take different ways; few and many vectors for the width."""
    truth = [samples(k, vectors_each + k, width, shift=5.0) for k in range(6)]
    other = [samples(10 + k, vectors_each + 1, width, shift=5.5) for k in range(6)]
    distance = resampled_distance(truth, other, np.concatenate(truth).mean(axis=0))
    for weights in (np.ones(6), np.array([1.0, 0.0, 3.0, 1.0, 0.0, 1.0])):
        taken = [
            np.concatenate([c for c, w in zip(s, weights, strict=True) for _ in range(int(w))])
            for s in (truth, other)
        ]
        assert distance(weights) == pytest.approx(frechet_distance(*taken), rel=1e-7)
