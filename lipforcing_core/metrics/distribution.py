"""The Frechet distance between two sets of feature vectors: the formula behind FID and FVD.

For Gaussians N(m1, S1) and N(m2, S2): |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Dowson and Landau 1982).
With S = A A^T the last trace is the sum of the singular values of A1^T A2. Computing it so, in float64, needs no
matrix square root: it is symmetric, exact for rank-deficient covariances, and 0 for equal sets up to rounding.

With fewer vectors than dimensions the covariance is rank-deficient and the distance biased upwards, the more so the
fewer the vectors: values compare only at equal n, equal extractor and equal protocol. n is stored with every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean ``[d]``, unbiased covariance ``[d, d]`` (both float64) and number of the vectors they come from."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int

    @property
    def is_rank_deficient(self) -> bool:
        """Whether there are too few vectors for a covariance of full rank (fewer than d + 1)."""
        return self.n <= len(self.mean)


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

    @property
    def num_vectors(self) -> int:
        """Vectors of all clusters."""
        return int(self._counts.sum())

    def moments(self, weights: np.ndarray) -> Moments:
        """Moments (about ``origin``) with cluster i taken ``weights[i]`` times."""
        n = float(weights @ self._counts)
        mean = weights @ self._sums / n
        products = np.tensordot(weights, self._products, axes=1)
        return Moments(mean=mean, covariance=(products - n * np.outer(mean, mean)) / (n - 1.0), n=int(n))


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
