"""A store that adds up what its steps cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import StepCost, TimedSteps, sum_of


def spin(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_work_is_timed_and_reuse_is_counted(tmp_path: Path) -> None:
    store = TimedSteps(tmp_path)
    store.run("read", "a", lambda _folder: spin(0.05))
    store.run("read", "b", lambda _folder: time.sleep(0.05))
    for _ in range(3):
        store.run("read", "a", lambda _folder: spin(10))
    StepStore(tmp_path).run("sync", "a", lambda _folder: {})
    store.run("sync", "a", lambda _folder: spin(10))
    read = store.costs["read"]
    assert (read.done, read.reused) == (2, 3)
    assert read.wall_s >= 0.1
    assert 0.05 <= read.cpu_s < read.wall_s - 0.04  # sleep costs no CPU
    assert store.costs["sync"] == StepCost(reused=1)
    assert list(store.costs) == ["read", "sync"]


def test_results_are_those_of_a_plain_store(tmp_path: Path) -> None:
    timed, plain = TimedSteps(tmp_path / "timed"), StepStore(tmp_path / "plain")
    for resumable in (False, True):
        made = [
            store.run(f"s{resumable}", "k", lambda _: {"n": 1}, resumable=resumable)
            for store in (timed, plain)
        ]
        assert made[0].result == made[1].result == {"n": 1}
        assert made[0].reused is made[1].reused is False
    assert timed.run("later", "new", lambda _: {}, also=("old",)).reused is False


def test_failed_work_costs_nothing(tmp_path: Path) -> None:
    store = TimedSteps(tmp_path)

    def fails(_folder: Path) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        store.run("read", "a", fails)
    assert store.costs == {}


def test_costs_add_up() -> None:
    a = {"read": StepCost(done=1, wall_s=2.0, cpu_s=3.0)}
    b = {"sync": StepCost(reused=1), "read": StepCost(done=2, reused=4, wall_s=0.5, cpu_s=0.25)}
    assert sum_of([a, b]) == {
        "read": StepCost(done=3, reused=4, wall_s=2.5, cpu_s=3.25),
        "sync": StepCost(reused=1),
    }
    assert sum_of([]) == {}
