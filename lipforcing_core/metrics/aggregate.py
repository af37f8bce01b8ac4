"""From clips to sets: means, distances of features, intervals over identities, paired differences.

Systems are compared on the clips that all of them have: those that were scored for every system (one that was scored
nowhere aside), and for each measure those where every system that has the measure at all has a value. n is stated. What
a system lacks is listed, never filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.bootstrap import Interval, bootstrap_mean, bootstrap_statistic, paired_difference
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.measures.catalogue import MEASURES, set_measures
from lipforcing_core.metrics.measures.protocol import Scope, SetMeasure
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.values import Cell, MetricValue, PairedDifference, Unavailable, why_no_number

SET_RESAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """Set-level rows, what could not be computed, and paired differences."""

    values: tuple[MetricValue, ...]
    unavailable: tuple[Unavailable, ...]
    differences: tuple[PairedDifference, ...]


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One measure by one backend over the clips that all systems have, ready to be worked out for each system.

    because: why no system has a value; None where they have. interval: of a system; difference: of two.
    """

    metric: str
    backend: str
    systems: Sequence[str]
    because: str | None
    interval: Callable[[str], Interval]
    difference: Callable[[str, str], Interval]
    num_vectors: int | None = None


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

    ``speed`` adds per-clip speed rows (``speed.speed_rows``), treated as any other per-clip measure. The order of the
    items does not change the outcome. A value that is no finite number is unavailable, with a sentence.
    """
    results = sorted(results, key=lambda result: result.clip_id)
    systems = {system for result in results for system in result.features}
    scored = [result for result in results if result.features.keys() >= systems]
    identities = {result.clip_id: result.identity for result in results}
    rows = [*(value for result in scored for value in result.values), *speed]
    values: list[MetricValue] = []
    unavailable: list[Unavailable] = []
    differences: list[PairedDifference] = []
    columns = [*_means(rows, identities, seed), *_distances(scored, sorted(systems), backends, seed)]
    for column in columns:
        sound = set()
        for system in column.systems:
            row = _row(column, system, protocol.id)
            if isinstance(row, MetricValue):
                values.append(row)
                sound.add(system)
            else:
                unavailable.append(row)
        for a, b in pairs:
            if {a, b} <= sound:
                differences.append(_difference(column, a, b, protocol.id))
    return SetResult(values=tuple(values), unavailable=tuple(unavailable), differences=tuple(differences))


def _row(column: _Column, system: str, protocol_id: str) -> MetricValue | Unavailable:
    cell = Cell(
        system=system,
        clip_id=None,
        metric=column.metric,
        protocol_id=protocol_id,
        backend=column.backend,
    )
    if column.because is not None:
        return cell.missing(column.because)
    interval = column.interval(system)
    if (because := why_no_number(interval.value)) is not None:
        return cell.missing(because)
    return MetricValue(
        system=system,
        clip_id=None,
        metric=column.metric,
        value=interval.value,
        n=interval.n,
        num_identities=interval.num_identities,
        ci_low=interval.low,
        ci_high=interval.high,
        num_vectors=column.num_vectors,
        no_interval_because=interval.why_no_interval,
        protocol_id=protocol_id,
        backend=column.backend,
    )


def _difference(column: _Column, a: str, b: str, protocol_id: str) -> PairedDifference:
    interval = column.difference(a, b)
    return PairedDifference(
        system_a=a,
        system_b=b,
        metric=column.metric,
        difference=interval.value,
        ci_low=interval.low,
        ci_high=interval.high,
        n=interval.n,
        num_identities=interval.num_identities,
        no_interval_because=interval.why_no_interval,
        protocol_id=protocol_id,
        backend=column.backend,
    )


def _means(rows: Sequence[MetricValue], identities: Mapping[str, str], seed: int) -> Iterator[_Column]:
    """Means over clips, in the order of the table of measures."""
    tables: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.clip_id is not None and row.clip_id in identities:
            table = tables.setdefault((row.metric, row.backend), {})
            table.setdefault(row.system, {})[row.clip_id] = row.value
    order = MEASURES.names
    for metric, backend in sorted(tables, key=lambda key: (order.index(key[0]), key[1])):
        assert MEASURES[metric].scope is Scope.CLIP, metric
        yield _mean_column(metric, backend, tables[metric, backend], identities, seed)


def _mean_column(
    metric: str,
    backend: str,
    table: Mapping[str, Mapping[str, float]],
    identities: Mapping[str, str],
    seed: int,
) -> _Column:
    clips = sorted(set.intersection(*(set(column) for column in table.values())))
    people = [identities[clip] for clip in clips]

    def of(system: str) -> list[float]:
        return [table[system][clip] for clip in clips]

    return _Column(
        metric=metric,
        backend=backend,
        systems=list(table),
        because=None if clips else "no clip has this metric for every system",
        interval=lambda system: bootstrap_mean(of(system), people, seed=seed),
        difference=lambda a, b: paired_difference(of(a), of(b), people, seed=seed),
    )


def _distances(
    results: Sequence[ItemResult], systems: Sequence[str], backends: Backends, seed: int
) -> Iterator[_Column]:
    """Measures of the features of the set."""
    for measure in set_measures() if systems else ():
        yield _distance_column(measure, results, systems, backends.id_of(measure.backend), seed)


def _distance_column(
    measure: SetMeasure, results: Sequence[ItemResult], systems: Sequence[str], backend: str, seed: int
) -> _Column:
    kind = measure.features.name
    common = [
        result
        for result in results
        if all(len(result.features[system][kind]) for system in systems) and len(result.truth_features[kind])
    ]
    people = sorted({result.identity for result in common})
    truth_vectors = [result.truth_features[kind] for result in common]
    num_vectors = sum(len(vectors) for vectors in truth_vectors)
    because = None
    if num_vectors < measure.min_vectors:
        because = (
            f"{num_vectors} feature vectors in the clips that every system has; at least {measure.min_vectors} "
            "are needed"
        )
    elif broken := [r.clip_id for r in common if not _finite(r, kind, systems)]:
        because = f"feature vectors of {', '.join(broken)} hold values that are not numbers"
    known: dict[str, Callable[[np.ndarray], float]] = {}

    def statistic(system: str) -> Callable[[np.ndarray], float]:
        if system not in known:
            truths = _by_person(common, people, truth_vectors)
            origin = np.concatenate(truths).mean(axis=0, dtype=np.float64)
            of_system = _by_person(common, people, [result.features[system][kind] for result in common])
            known[system] = _memoised(measure.statistic(truths, of_system, origin))
        return known[system]

    def interval(of: Callable[[np.ndarray], float], minimum: float | None) -> Interval:
        return bootstrap_statistic(
            of, len(people), n=len(common), seed=seed, num_resamples=SET_RESAMPLES, minimum=minimum
        )

    def difference(a: str, b: str) -> Interval:
        of_a, of_b = statistic(a), statistic(b)
        return interval(lambda weights: of_a(weights) - of_b(weights), None)

    return _Column(
        metric=measure.name,
        backend=backend,
        systems=systems,
        because=because,
        interval=lambda system: interval(statistic(system), measure.minimum),
        difference=difference,
        num_vectors=num_vectors,
    )


def _finite(result: ItemResult, kind: str, systems: Sequence[str]) -> bool:
    vectors = [result.truth_features[kind], *(result.features[system][kind] for system in systems)]
    return all(np.isfinite(array).all() for array in vectors)


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
