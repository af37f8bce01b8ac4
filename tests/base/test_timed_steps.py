"""A store that adds up what its steps cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import COST, StepCost, TimedSteps, stored_cost, sum_of


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


def test_what_a_step_cost_stays_beside_it(tmp_path: Path) -> None:
    """Whoever looks at it later, and whatever a reuse takes."""
    for resumable in (False, True):
        step = f"s{resumable}"
        for _ in range(2):
            TimedSteps(tmp_path).run(step, "a", lambda _folder: spin(0.05), resumable=resumable)
        found = stored_cost(StepStore(tmp_path), step, "a")
        assert found is not None
        assert (found.done, found.reused) == (1, 0)
        assert 0.05 <= found.cpu_s < 0.5
        assert 0.05 <= found.wall_s < 5


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"wall_s": "long", "cpu_s": 1}'])
def test_a_cost_that_nobody_has_written_is_not_known(text: str | None, tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    done = store.run("read", "a", lambda _folder: {})
    if text is not None:
        (done.folder / COST).write_text(text)
    assert stored_cost(store, "read", "a") is None
    assert stored_cost(store, "read", "b") is None
    (done.folder / COST).write_text('{"wall_s": 1.5, "cpu_s": 2}')
    assert stored_cost(store, "read", "a") == StepCost(done=1, wall_s=1.5, cpu_s=2.0)


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
