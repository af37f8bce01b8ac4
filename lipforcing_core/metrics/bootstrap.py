"""Bootstrap intervals over identities: whole clusters are drawn, since clips of one person are not independent.

With one identity there is no interval. With few (under about ten) the intervals are too narrow; the number of
identities is stored beside every value so that a reader can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A point value with its interval.

    ``low`` and ``high`` are None where ``why_no_interval`` says why. ``n`` counts observations, ``num_identities``
    the clusters that were resampled.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    num_identities: int
    why_no_interval: str | None = None


def bootstrap_mean(
    values: Sequence[float],
    identities: Sequence[str],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean of per-clip values with a percentile interval from resampling identities.

    The order of the clips does not matter. Raises ``ValueError`` for no values, unequal lengths or non-finite values.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0 or data.shape != (len(identities),) or not np.isfinite(data).all():
        raise ValueError(f"need one finite value per identity label, got {data.shape} and {len(identities)}")
    names, cluster = np.unique(np.asarray(identities, dtype=str), return_inverse=True)
    order = np.lexsort((data, cluster))
    sums = np.bincount(cluster[order], weights=data[order])
    counts = np.bincount(cluster)
    value = float(sums.sum() / counts.sum())
    if len(names) < 2:
        return _no_interval(value, n=data.size)
    weights = resampling_weights(len(names), num_resamples, seed)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, _tails(level))
    return Interval(value=value, low=float(low), high=float(high), n=data.size, num_identities=len(names))


def paired_difference(
    values: Sequence[float],
    baseline: Sequence[float],
    identities: Sequence[str],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean of ``values - baseline`` clip by clip, with an interval from resampling identities.

    Both sequences belong to the same clips in the same order, so what clips have in common cancels.
    """
    if len(values) != len(baseline):
        raise ValueError(f"paired values differ in number: {len(values)} and {len(baseline)}")
    differences = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return bootstrap_mean(
        differences.tolist(), identities, seed=seed, num_resamples=num_resamples, level=level
    )


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], float],
    num_identities: int,
    *,
    n: int,
    seed: int = 0,
    num_resamples: int = 200,
    level: float = LEVEL,
    minimum: float | None = None,
) -> Interval:
    """A statistic of a whole set, such as a Frechet distance, with an interval from resampling identities.

    ``statistic`` takes the weight of each identity (``[num_identities]``, how often it was drawn) and returns the
    value. Such statistics are biased in a resample, which holds fewer different clips than the set, so the spread
    of the resamples is centred on the point value instead of taking their percentiles as they are. ``minimum``
    bounds the interval from below. ``n`` is stored.
    """
    value = statistic(np.ones(num_identities))
    if num_identities < 2:
        return _no_interval(value, n=n)
    weights = resampling_weights(num_identities, num_resamples, seed)
    distinct, inverse = np.unique(weights, axis=0, return_inverse=True)
    resampled = np.array([statistic(row) for row in distinct])[inverse.reshape(-1)]
    low, high = value + np.quantile(resampled - resampled.mean(), _tails(level))
    if minimum is not None:
        low, high = max(low, minimum), max(high, minimum)
    return Interval(value=value, low=float(low), high=float(high), n=n, num_identities=num_identities)


def resampling_weights(num_identities: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each identity is drawn in each resample: ``[num_resamples, num_identities]`` float64."""
    rng = np.random.default_rng(seed)
    uniform = np.full(num_identities, 1.0 / num_identities)
    return rng.multinomial(num_identities, uniform, size=num_resamples).astype(np.float64)


def _tails(level: float) -> tuple[float, float]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    return (1 - level) / 2, (1 + level) / 2


def _no_interval(value: float, *, n: int) -> Interval:
    return Interval(
        value=value,
        low=None,
        high=None,
        n=n,
        num_identities=1,
        why_no_interval="only one identity to resample",
    )
