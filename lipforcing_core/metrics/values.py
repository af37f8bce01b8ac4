"""Plain results: a measured value, a value that could not be measured and why, and a difference of two systems."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
        if not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.system}: {self.value} is not a number to store")
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
