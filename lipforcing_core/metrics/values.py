"""Plain results: a measured value, a value that could not be measured and why, and a difference of two systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lipforcing_core.base.errors import BadInputError


class UndefinedMeasure(Exception):
    """The measure has no value for this input; the message says why."""


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One number and all that makes it comparable.

    ``clip_id`` is None for a value over a whole set. ``n`` counts frames for a clip and clips for a set;
    ``num_vectors`` is the number of feature vectors on each side of a Frechet distance. The interval is None for a
    clip, and for a set where ``no_interval_because`` says why.
    """

    system: str
    clip_id: str | None
    metric: str
    value: float
    n: int
    protocol_id: str
    backend: str
    num_identities: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    num_vectors: int | None = None
    no_interval_because: str | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.ci_low, self.ci_high):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.metric} of {self.system}: {number} is not a number to store")
        if self.n < 1:
            raise ValueError(f"{self.metric} of {self.system}: a value needs n of at least 1, got {self.n}")


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """A metric that has no value for a clip, or for a set where ``clip_id`` is None, and why."""

    system: str
    clip_id: str | None
    metric: str
    because: str
    protocol_id: str
    backend: str


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """``system_a`` minus ``system_b`` on the ``n`` clips that both have, with an interval over identities."""

    system_a: str
    system_b: str
    metric: str
    difference: float
    ci_low: float | None
    ci_high: float | None
    n: int
    num_identities: int
    protocol_id: str
    backend: str
    no_interval_because: str | None = None

    def __post_init__(self) -> None:
        for number in (self.difference, self.ci_low, self.ci_high):
            if number is not None and not math.isfinite(number):
                raise ValueError(
                    f"{self.metric} of {self.system_a} and {self.system_b}: {number} is not a number to store"
                )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Where a number belongs: one measure of one system on a clip, or on a set where ``clip_id`` is None."""

    system: str
    clip_id: str | None
    metric: str
    protocol_id: str
    backend: str

    def missing(self, because: str) -> Unavailable:
        """The row that says why there is no number."""
        return Unavailable(
            system=self.system,
            clip_id=self.clip_id,
            metric=self.metric,
            because=because,
            protocol_id=self.protocol_id,
            backend=self.backend,
        )

    def measured(self, compute: Callable[[], float], n: int) -> MetricValue | Unavailable:
        """The number that ``compute`` gives for ``n`` frames, or why there is none.

        A measure that is undefined for its input and one that gives NaN or an infinite number are unavailable.
        """
        try:
            value = float(compute())
        except (UndefinedMeasure, BadInputError) as problem:
            return self.missing(str(problem))
        if (because := why_no_number(value)) is not None:
            return self.missing(because)
        return MetricValue(
            system=self.system,
            clip_id=self.clip_id,
            metric=self.metric,
            value=value,
            n=n,
            protocol_id=self.protocol_id,
            backend=self.backend,
        )


def why_no_number(value: float) -> str | None:
    """A sentence for a value that is NaN or infinite; None for a number."""
    if math.isnan(value):
        return "its value is not a number"
    if math.isinf(value):
        return "its value is infinite: prediction and truth are equal, or the truth is flat"
    return None
