"""What steps cost: a store that measures the work that it does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.products import StepResult, StepStore, read_json


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What was spent on one kind of step: how often it was done and reused, wall-clock and CPU seconds.

    The CPU time is that of all threads of the process, user and system.
    """

    done: int = 0
    reused: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: StepCost) -> StepCost:
        return StepCost(
            done=self.done + other.done,
            reused=self.reused + other.reused,
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
        )


Costs = dict[str, StepCost]
"""By the name of the step."""


def sum_of(costs: Iterable[Costs]) -> Costs:
    """The costs of several stores or sources together, in the order in which their steps first appear."""
    total: Costs = {}
    for one in costs:
        for step, cost in one.items():
            total[step] = total.get(step, StepCost()) + cost
    return total


COST = "cost.json"
"""The file of a finished step that tells what it cost, beside its result."""


def stored_cost(store: StepStore, step: str, key: str) -> StepCost | None:
    """What a finished step cost when it was done; None where nobody measured that, or it is no longer stored.

    Of a step that was killed and went on later it is the cost of the last attempt.
    """
    try:
        told = read_json(store.folder(step, key) / COST)
        return StepCost(done=1, wall_s=float(told["wall_s"]), cpu_s=float(told["cpu_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class TimedSteps(StepStore):
    """A step store that adds up what its steps cost, in ``costs``. The work of a step may not run other steps of it."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self.costs: Costs = {}

    def run(
        self,
        step: str,
        key: str,
        work: Callable[[Path], Any],
        *,
        resumable: bool = False,
        also: Sequence[str] = (),
    ) -> StepResult:
        """As ``StepStore.run``; a step whose work fails costs nothing. What it cost is kept beside its result."""
        cost = StepCost(reused=1)

        def timed(folder: Path) -> Any:
            nonlocal cost
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            result = work(folder)
            cost = StepCost(done=1, wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s)
            told = {"wall_s": round(cost.wall_s, 6), "cpu_s": round(cost.cpu_s, 6)}
            (folder / COST).write_text(json.dumps(told) + "\n", encoding="utf-8")
            return result

        done = super().run(step, key, timed, resumable=resumable, also=also)
        self.costs[step] = self.costs.get(step, StepCost()) + cost
        return done
