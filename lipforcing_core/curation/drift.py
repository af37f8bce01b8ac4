"""Drift: how far a curation is from the run of the same data set before it.

Sizes are compared by their relative change, shares by how much of the clips moved from one value to another, and scores
by the two-sample Kolmogorov-Smirnov statistic. Chance alone moves the shares and scores of a few clips a long way, so
their limits are never below the critical value of the Kolmogorov-Smirnov test at the level of one per cent.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.curation.records import ClipRecord, Decision, Status
from lipforcing_core.curation.settings import CurationSettings

SCORES = ("sync_confidence", "quality", "av_offset_measured", "face_height_px")
QUANTILES = (0.1, 0.5, 0.9)
CRITICAL = math.sqrt(-0.5 * math.log(0.01 / 2))
"""About 1.628: times sqrt((n + m) / (n m)), the largest distance that two samples of one distribution have in 99 of 100
cases (Smirnov's asymptotic formula)."""


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """The run that a curation is compared with."""

    run_id: str
    clips: Collection[ClipRecord]
    decisions: Collection[Decision]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and quantiles (10, 50 and 90 per cent) of a score."""

    mean: float
    quantiles: tuple[float, ...]

    def __str__(self) -> str:
        low, middle, high = (f"{value:.4g}" for value in self.quantiles)
        return f"mean {self.mean:.4g}, 10/50/90 %: {low}, {middle}, {high}"


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """One comparison. ``before`` and ``now`` are words for people.

    value: the statistic, from 0 (no change) to 1; None where the two cannot be compared, as ``note`` says. limit: the
    value from which on it counts as drift, that itself does not.
    """

    what: str
    statistic: str
    before: str
    now: str
    value: float | None
    limit: float
    note: str = ""

    @property
    def has_drifted(self) -> bool:
        """Whether the value is beyond its limit."""
        return self.value is not None and self.value > self.limit

    @property
    def words(self) -> str:
        """The comparison in one line."""
        measured = "not compared" if self.value is None else f"{self.statistic} {self.value:.3g}"
        limit = "" if self.value is None else f", limit {self.limit:.3g}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.what}: {self.before} -> {self.now}; {measured}{limit}{note}"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """All comparisons with one earlier run. ``compared_with`` is None where there is no run to compare with."""

    compared_with: str | None
    rows: tuple[DriftRow, ...] = ()

    @property
    def drifted(self) -> tuple[DriftRow, ...]:
        """The comparisons beyond their limits."""
        return tuple(row for row in self.rows if row.has_drifted)

    @property
    def verdict(self) -> str:
        """The whole in one sentence."""
        if self.compared_with is None:
            return "this is the first run of the data set, so there is nothing to compare with"
        if len(self.drifted) == 1:
            return f"1 of {len(self.rows)} comparisons with {self.compared_with} is beyond its limit"
        found = len(self.drifted) or "none"
        return f"{found} of {len(self.rows)} comparisons with {self.compared_with} are beyond their limits"


def measure_drift(
    earlier: EarlierRun | None,
    clips: Collection[ClipRecord],
    decisions: Collection[Decision],
    settings: CurationSettings,
) -> Drift:
    """Compare the clips and decisions of a run with those of the one before it, under the limits of the settings."""
    if earlier is None:
        return Drift(compared_with=None)
    then, now = ([_Compared.of(clip) for clip in rows] for rows in (earlier.clips, clips))
    most = settings.drift_max_change
    rows = [
        _size("clips", len(then), len(now), most, "d"),
        _size("hours", _hours(then), _hours(now), most, ".3g"),
        _accepted(earlier.decisions, decisions, settings),
        _shares("languages", then, now, settings, lambda clip: clip.language),
        _shares("splits", then, now, settings, lambda clip: clip.split),
        *(_score(name, then, now, settings) for name in SCORES),
    ]
    return Drift(compared_with=earlier.run_id, rows=tuple(rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compared:
    """What is compared of a clip; the values and backends are those of ``SCORES``, in their order."""

    seconds: float
    language: str
    split: str
    values: tuple[float, ...]
    backends: tuple[str, ...]

    @classmethod
    def of(cls, clip: ClipRecord) -> _Compared:
        """The part of a row of the manifest."""
        return cls(
            seconds=clip.seconds,
            language=sys.intern(clip.language or "unknown"),
            split=sys.intern(clip.split),
            values=tuple(float(getattr(clip.scores, name)) for name in SCORES),
            backends=tuple(sys.intern(str(clip.scores.backend_of(name))) for name in SCORES),
        )


def relative_change(before: float, now: float) -> float:
    """How much smaller the smaller of two sizes is: 0 for equal ones, 0.5 for half or double, 1 for nothing left."""
    largest = max(before, now)
    return abs(now - before) / largest if largest else 0.0


def moved_share(before: Iterable[Hashable], now: Iterable[Hashable]) -> float:
    """How much of the whole has another value than before: half the sum of the changes of the shares, 0 to 1.

    Both must hold at least one value.
    """
    old, new = Counter(before), Counter(now)
    changes = (abs(old[k] / old.total() - new[k] / new.total()) for k in old.keys() | new.keys())
    return math.fsum(changes) / 2


def kolmogorov_smirnov(before: Sequence[float], now: Sequence[float]) -> float:
    """The largest distance of the empirical distribution functions of two samples, neither of them empty: 0 to 1."""
    one_N, other_M = np.sort(before), np.sort(now)
    places = np.concatenate([one_N, other_M])
    below_one = np.searchsorted(one_N, places, side="right") / len(one_N)
    below_other = np.searchsorted(other_M, places, side="right") / len(other_M)
    return float(np.abs(below_one - below_other).max())


def critical_distance(num_before: int, num_now: int) -> float:
    """The distance that two samples of one distribution exceed in one case of a hundred; above 1 for very few."""
    return CRITICAL * math.sqrt((num_before + num_now) / (num_before * num_now))


def _size(what: str, before: float, now: float, limit: float, form: str) -> DriftRow:
    return DriftRow(
        what=what,
        statistic="relative change",
        before=f"{before:{form}}",
        now=f"{now:{form}}",
        value=relative_change(before, now),
        limit=limit,
    )


def _hours(clips: Iterable[_Compared]) -> float:
    return math.fsum(clip.seconds for clip in clips) / 3600


def _accepted(before: Iterable[Decision], now: Iterable[Decision], settings: CurationSettings) -> DriftRow:
    then, today = ([d.status is Status.ACCEPTED for d in rows] for rows in (before, now))
    return _moved("accepted share", then, today, settings.drift_max_share, lambda rows: _percent(rows, True))


def _shares(
    what: str,
    before: Sequence[_Compared],
    now: Sequence[_Compared],
    settings: CurationSettings,
    value_of: Callable[[_Compared], str],
) -> DriftRow:
    def words(values: Sequence[Hashable]) -> str:
        largest = sorted(Counter(values).items(), key=lambda pair: (-pair[1], str(pair[0])))
        return ", ".join(f"{name} {_percent(values, name)}" for name, _ in largest[:5])

    then, today = ([value_of(clip) for clip in clips] for clips in (before, now))
    return _moved(what, then, today, settings.drift_max_share, words)


def _moved(
    what: str,
    before: Sequence[Hashable],
    now: Sequence[Hashable],
    limit: float,
    words: Callable[[Sequence[Hashable]], str],
) -> DriftRow:
    comparable = bool(before and now)
    return DriftRow(
        what=what,
        statistic="moved share",
        before=words(before) if before else "none",
        now=words(now) if now else "none",
        value=moved_share(before, now) if comparable else None,
        limit=max(limit, critical_distance(len(before), len(now))) if comparable else limit,
        note="" if comparable else "one of the two is empty",
    )


def _score(
    name: str, before: Sequence[_Compared], now: Sequence[_Compared], settings: CurationSettings
) -> DriftRow:
    place = SCORES.index(name)
    then, today = ([clip.values[place] for clip in clips] for clips in (before, now))
    measured_by = [sorted({clip.backends[place] for clip in clips}) for clips in (before, now)]
    note, limit, value = "", settings.drift_max_ks, None
    if not (then and today):
        note = "one of the two has no clip"
    elif measured_by[0] != measured_by[1]:
        note = f"measured by {', '.join(measured_by[0])} then and by {', '.join(measured_by[1])} now"
    else:
        value = kolmogorov_smirnov(then, today)
        limit = max(limit, critical_distance(len(then), len(today)))
    return DriftRow(
        what=name,
        statistic="Kolmogorov-Smirnov",
        before=_spread(then),
        now=_spread(today),
        value=value,
        limit=limit,
        note=note,
    )


def spread(values: Sequence[float]) -> Spread:
    """Mean and quantiles of at least one value; between two values a quantile is interpolated."""
    quantiles = np.quantile(values, QUANTILES)
    return Spread(mean=math.fsum(values) / len(values), quantiles=tuple(map(float, quantiles)))


def _spread(values: Sequence[float]) -> str:
    return str(spread(values)) if values else "none"


def _percent(values: Sequence[Hashable], value: Hashable) -> str:
    return f"{100 * sum(v == value for v in values) / len(values):.1f} %"
