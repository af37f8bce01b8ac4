"""The workers that train together: how they share the micro-batches of a step, and what they tell each other.

The micro-batches of a step are numbered; which worker takes which changes neither the effective batch nor the order of
the data, so a run may go on with another number of workers. Every worker makes the same number of calls, since some
of them meet in the middle of a call: where a number does not divide, the workers without a micro-batch of their own
repeat one, and it does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Part:
    """A micro-batch of a step by its number (from 0), and whether what comes of it counts on this worker."""

    number: int
    counts: bool = True


class Workers(Protocol):
    """All workers, seen from one of them. Every call is made by all of them, in the same order."""

    @property
    def rank(self) -> int:
        """The number of this worker, from 0. Worker 0 writes what is written once."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def total(self, value: float) -> float:
        """The sum of a value over all workers, in double precision."""
        ...

    def largest(self, value: int) -> int:
        """The largest value of any worker."""
        ...

    def gather(self, values: Tensor) -> list[Tensor]:
        """The values of every worker, equal in shape and type, on the CPU."""
        ...

    def wait(self) -> None:
        """Return once all workers are here."""
        ...


class OneWorker:
    """A worker without others."""

    rank, count = 0, 1

    def total(self, value: float) -> float:
        """The value."""
        return value

    def largest(self, value: int) -> int:
        """The value."""
        return value

    def gather(self, values: Tensor) -> list[Tensor]:
        """The values."""
        return [values.cpu()]

    def wait(self) -> None:
        """There is nobody to wait for."""


def share(num_parts: int, workers: Workers) -> list[Part]:
    """The micro-batches of a step that this worker takes: every ``workers.count``-th, from its own rank on.

    All workers get equally many; a number that there is not is a repetition that does not count.
    """
    numbers = range(workers.rank, -(-num_parts // workers.count) * workers.count, workers.count)
    return [Part(number=n % num_parts, counts=n < num_parts) for n in numbers]


def in_order(values: list[Tensor], num_parts: int, workers: Workers) -> list[Tensor]:
    """One tensor for every micro-batch of a step, by number, from those of the parts that this worker took."""
    of_workers = workers.gather(torch.stack(values))
    return [of_workers[n % workers.count][n // workers.count] for n in range(num_parts)]
