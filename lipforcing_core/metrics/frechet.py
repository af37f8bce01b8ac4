"""The Frechet distance between two sets of feature vectors: the formula behind FID and FVD.

For Gaussians N(m1, S1) and N(m2, S2): |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Dowson and Landau 1982).
With S = A A^T the last trace is the sum of the singular values of A1^T A2. Computing it so, in float64, needs no
matrix square root: it is symmetric, exact for rank-deficient covariances, and 0 for equal sets up to rounding.

With fewer vectors than dimensions the covariance is rank-deficient and the distance biased upwards, the more so the
fewer the vectors: values compare only at equal n, equal extractor and equal protocol. n is stored with every value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 256
"""Features with more dimensions than this are resampled by their scalar products, narrower ones by their moments."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean ``[d]``, unbiased covariance ``[d, d]`` (both float64) and number of the vectors they come from."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def moments(features: np.ndarray) -> Moments:
    """Moments of ``[n, d]`` features; raises ``ValueError`` for fewer than two vectors or non-finite values."""
    features = _checked(features)
    return Moments(
        mean=features.mean(axis=0), covariance=np.atleast_2d(np.cov(features, rowvar=False)), n=len(features)
    )


class ClusteredFeatures:
    """Features in clusters (one a person), whose moments for any resampling of the clusters come from stored sums.

    ``clusters``: ``[n_i, d]`` arrays, at least one vector each. Sums are taken about ``origin``, a point near the
    data, so that no digits are lost when the covariance is formed; sets that are compared must share it.
    """

    def __init__(self, clusters: Sequence[np.ndarray], origin: np.ndarray) -> None:
        centred = [np.asarray(cluster, dtype=np.float64) - origin for cluster in clusters]
        self._counts = np.array([len(cluster) for cluster in centred], dtype=np.float64)
        self._sums = np.stack([cluster.sum(axis=0) for cluster in centred])
        self._products = np.stack([cluster.T @ cluster for cluster in centred])

    def moments(self, weights: np.ndarray) -> Moments:
        """Moments (about ``origin``) with cluster i taken ``weights[i]`` times."""
        n = float(weights @ self._counts)
        mean = weights @ self._sums / n
        products = np.tensordot(weights, self._products, axes=1)
        return Moments(mean=mean, covariance=(products - n * np.outer(mean, mean)) / (n - 1.0), n=int(n))


def resampled_distance(
    truth: Sequence[np.ndarray], other: Sequence[np.ndarray], origin: np.ndarray
) -> Callable[[np.ndarray], float]:
    """The Frechet distance of two clustered sets as a function of how many times each cluster is taken.

    ``truth`` and ``other``: ``[n_i, d]`` arrays of the same clusters in the same order; ``origin``: see
    ``ClusteredFeatures``. Of wide features (FID 2048, FVD 400) no covariance is ever formed: a resample costs the
    singular values of a matrix of as many rows as distinct vectors are in it.
    """
    if len(origin) > WIDE:
        return _by_products(truth, other, origin)
    a, b = ClusteredFeatures(truth, origin), ClusteredFeatures(other, origin)
    return lambda weights: frechet_from_moments(a.moments(weights), b.moments(weights))


def _by_products(
    truth: Sequence[np.ndarray], other: Sequence[np.ndarray], origin: np.ndarray
) -> Callable[[np.ndarray], float]:
    """With rows x of one set and y of the other, each centred and scaled by sqrt(weight / (n - 1)), the last trace of
    the formula is the sum of the singular values of x y^T, which follows from the products of the rows as they are.
    """
    x, y = (np.concatenate(clusters).astype(np.float64) - origin for clusters in (truth, other))
    x_cluster, y_cluster = (np.repeat(np.arange(len(c)), [len(rows) for rows in c]) for c in (truth, other))
    products, x_squares, y_squares = x @ y.T, (x**2).sum(axis=1), (y**2).sum(axis=1)

    def distance(weights: np.ndarray) -> float:
        wx, wy = weights[x_cluster], weights[y_cluster]
        n, m = wx.sum(), wy.sum()
        mean_x, mean_y = wx @ x / n, wy @ y / m
        in_x, in_y = wx > 0, wy > 0
        cross = (
            products[np.ix_(in_x, in_y)] - (x[in_x] @ mean_y)[:, None] - y[in_y] @ mean_x + mean_x @ mean_y
        )
        cross *= np.sqrt(wx[in_x] / (n - 1))[:, None] * np.sqrt(wy[in_y] / (m - 1))
        spread = (wx @ x_squares - n * mean_x @ mean_x) / (n - 1) + (wy @ y_squares - m * mean_y @ mean_y) / (
            m - 1
        )
        trace = np.linalg.svd(cross, compute_uv=False).sum()
        return max(0.0, float(((mean_x - mean_y) ** 2).sum() + spread - 2.0 * trace))

    return distance


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance between the Gaussians fitted to ``[n, d]`` and ``[m, d]`` features; never negative.

    Raises ``ValueError`` for fewer than two vectors in a set, unequal widths or non-finite values.
    """
    a, b = _checked(a), _checked(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features differ in width: {a.shape[1]} and {b.shape[1]}")
    factors = [((x - x.mean(axis=0)) / np.sqrt(len(x) - 1)).T for x in (a, b)]
    return _distance(a.mean(axis=0), factors[0], b.mean(axis=0), factors[1])


def frechet_from_moments(a: Moments, b: Moments) -> float:
    """``frechet_distance`` of Gaussians given by their moments."""
    return _distance(a.mean, _factor(a.covariance), b.mean, _factor(b.covariance))


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"a Frechet distance needs at least two vectors in each set, got shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError("features hold values that are not finite")
    return features


def _factor(covariance: np.ndarray) -> np.ndarray:
    """``A`` with ``A A^T`` equal to a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return vectors * np.sqrt(np.clip(values, 0.0, None))


def _distance(mean_a: np.ndarray, factor_a: np.ndarray, mean_b: np.ndarray, factor_b: np.ndarray) -> float:
    cross = np.linalg.svd(factor_a.T @ factor_b, compute_uv=False).sum()
    spread = (factor_a**2).sum() + (factor_b**2).sum() - 2.0 * cross
    return max(0.0, float(((mean_a - mean_b) ** 2).sum() + spread))
