"""From clips to sets: means, Frechet distances, intervals over identities, paired differences.

Systems are compared on the clips that all of them have: those that were scored for every system (one that was scored
nowhere aside), and for each metric those where every system that has the metric at all has a value. n is stated. What
a system lacks is listed, never filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.bootstrap import Interval, bootstrap_mean, bootstrap_statistic, paired_difference
from lipforcing_core.metrics.distribution import resampled_distance
from lipforcing_core.metrics.item_result import IMAGE, VIDEO, ItemResult
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.registry import METRICS, Scope
from lipforcing_core.metrics.values import MetricValue, PairedDifference, Unavailable

SET_RESAMPLES = 200

_SET_FEATURES = {"fid": IMAGE, "fvd": VIDEO}


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """Set-level rows, what could not be computed, and paired differences."""

    values: tuple[MetricValue, ...]
    unavailable: tuple[Unavailable, ...]
    differences: tuple[PairedDifference, ...]


def aggregate(
    results: Sequence[ItemResult],
    protocol: Protocol,
    backends: Backends,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    speed: Iterable[MetricValue] = (),
    seed: int = 0,
) -> SetResult:
    """Set-level rows of all systems, and ``system_a - system_b`` of every pair, from the items' results.

    ``speed`` adds per-clip speed rows (``speed.speed_rows``), treated as any other per-clip metric. The order of the
    items does not change the outcome.
    """
    results = sorted(results, key=lambda result: result.clip_id)
    identities = {result.clip_id: result.identity for result in results}
    systems = {system for result in results for system in result.features}
    scored = [result for result in results if result.features.keys() >= systems]
    rows = [*(value for result in scored for value in result.values), *speed]
    means = _aggregate_means(rows, identities, pairs, protocol.id, seed)
    distances = _aggregate_distances(scored, sorted(systems), pairs, protocol.id, backends, seed)
    return SetResult(
        values=(*means.values, *distances.values),
        unavailable=(*means.unavailable, *distances.unavailable),
        differences=(*means.differences, *distances.differences),
    )


def _aggregate_means(
    rows: Sequence[MetricValue],
    identities: dict[str, str],
    pairs: Sequence[tuple[str, str]],
    protocol_id: str,
    seed: int,
) -> SetResult:
    tables: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.clip_id is not None and row.clip_id in identities:
            table = tables.setdefault((row.metric, row.backend), {})
            table.setdefault(row.system, {})[row.clip_id] = row.value
    values, unavailable, differences = [], [], []
    order = list(METRICS)
    for (metric, backend), table in sorted(
        tables.items(), key=lambda entry: (order.index(entry[0][0]), entry[0][1])
    ):
        assert METRICS[metric].scope is Scope.CLIP, metric
        clips = sorted(set.intersection(*(set(column) for column in table.values())))
        people = [identities[clip] for clip in clips]
        context = _Context(metric=metric, backend=backend, protocol_id=protocol_id)
        for system, column in table.items():
            if clips:
                interval = bootstrap_mean([column[clip] for clip in clips], people, seed=seed)
                values.append(context.value(system, interval))
            else:
                unavailable.append(context.missing(system, "no clip has this metric for every system"))
        for a, b in pairs:
            if clips and a in table and b in table:
                of_a, of_b = ([table[system][clip] for clip in clips] for system in (a, b))
                differences.append(context.difference(a, b, paired_difference(of_a, of_b, people, seed=seed)))
    return SetResult(values=tuple(values), unavailable=tuple(unavailable), differences=tuple(differences))


def _aggregate_distances(
    results: Sequence[ItemResult],
    systems: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    protocol_id: str,
    backends: Backends,
    seed: int,
) -> SetResult:
    values, unavailable, differences = [], [], []
    for metric, kind in _SET_FEATURES.items() if systems else ():
        context = _Context(
            metric=metric, backend=backends.id_of(METRICS[metric].backend), protocol_id=protocol_id
        )
        common = [
            result
            for result in results
            if all(len(result.features[system][kind]) for system in systems)
            and len(result.truth_features[kind])
        ]
        people = sorted({result.identity for result in common})
        num_vectors = sum(len(result.truth_features[kind]) for result in common)
        if num_vectors < 2:
            reason = (
                f"{num_vectors} feature vectors in the clips that every system has; at least 2 are needed"
            )
            unavailable += [context.missing(system, reason) for system in systems]
            continue
        truths = _by_person(common, people, [result.truth_features[kind] for result in common])
        origin = np.concatenate(truths).mean(axis=0, dtype=np.float64)
        distance: dict[str, Callable[[np.ndarray], float]] = {}
        for system in systems:
            clusters = _by_person(common, people, [result.features[system][kind] for result in common])
            distance[system] = _memoised(resampled_distance(truths, clusters, origin))
            interval = _set_interval(distance[system], len(people), len(common), seed, minimum=0.0)
            values.append(context.value(system, interval, num_vectors=num_vectors))
        for a, b in pairs:
            if a in distance and b in distance:
                both = _difference(distance[a], distance[b])
                interval = _set_interval(both, len(people), len(common), seed)
                differences.append(context.difference(a, b, interval))
    return SetResult(values=tuple(values), unavailable=tuple(unavailable), differences=tuple(differences))


@dataclass(frozen=True, kw_only=True)
class _Context:
    """What the rows of one metric share."""

    metric: str
    backend: str
    protocol_id: str

    def value(self, system: str, interval: Interval, *, num_vectors: int | None = None) -> MetricValue:
        return MetricValue(
            system=system,
            clip_id=None,
            metric=self.metric,
            value=interval.value,
            n=interval.n,
            num_identities=interval.num_identities,
            ci_low=interval.low,
            ci_high=interval.high,
            num_vectors=num_vectors,
            no_interval_because=interval.why_no_interval,
            protocol_id=self.protocol_id,
            backend=self.backend,
        )

    def missing(self, system: str, because: str) -> Unavailable:
        return Unavailable(
            system=system,
            clip_id=None,
            metric=self.metric,
            because=because,
            protocol_id=self.protocol_id,
            backend=self.backend,
        )

    def difference(self, a: str, b: str, interval: Interval) -> PairedDifference:
        return PairedDifference(
            system_a=a,
            system_b=b,
            metric=self.metric,
            difference=interval.value,
            ci_low=interval.low,
            ci_high=interval.high,
            n=interval.n,
            num_identities=interval.num_identities,
            no_interval_because=interval.why_no_interval,
            protocol_id=self.protocol_id,
            backend=self.backend,
        )


def _by_person(
    results: Sequence[ItemResult], people: Sequence[str], arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [
        np.concatenate([a for r, a in zip(results, arrays, strict=True) if r.identity == person])
        for person in people
    ]


def _memoised(distance: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """A function of the clusters' weights, remembered, since pairs ask for the same resamples."""
    known: dict[bytes, float] = {}

    def remembered(weights: np.ndarray) -> float:
        key = weights.tobytes()
        if key not in known:
            known[key] = distance(weights)
        return known[key]

    return remembered


def _difference(
    a: Callable[[np.ndarray], float], b: Callable[[np.ndarray], float]
) -> Callable[[np.ndarray], float]:
    return lambda weights: a(weights) - b(weights)


def _set_interval(
    statistic: Callable[[np.ndarray], float],
    num_people: int,
    num_clips: int,
    seed: int,
    minimum: float | None = None,
) -> Interval:
    return bootstrap_statistic(
        statistic, num_people, n=num_clips, seed=seed, num_resamples=SET_RESAMPLES, minimum=minimum
    )
