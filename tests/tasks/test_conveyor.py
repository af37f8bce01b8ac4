"""Items that pass two kinds of workers: order, bounds on what waits, workers that die, and values that end early."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, LipForcingError
from tasks.cluster import connect, disconnect, num_slots
from tasks.dispatch import AHEAD, Station, convey
from tasks.resources import Need, Resources, Work, using

pytestmark = pytest.mark.ray

SLOW_S = 0.15


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    connect()
    yield
    disconnect()


def double(item: int) -> int:
    return 2 * item


def negated(item: int) -> int:
    return -item


def stations(first: object, second: object, *, last: Work = Work.MEASURE) -> list[Station]:
    return [
        Station(function=first, name="first", work=Work.CLIPS),  # type: ignore[arg-type]
        Station(function=second, name="second", work=last),  # type: ignore[arg-type]
    ]


def test_every_item_passes_both_and_results_keep_the_order() -> None:
    done: list[tuple[int, int]] = []
    results = convey([3, 1, 2], stations(double, negated), on_done=lambda *told: done.append(told))
    assert results == [-6, -2, -4]
    assert sorted(done) == [(0, -6), (1, -2), (2, -4)]


def test_a_final_value_skips_the_rest() -> None:
    assert convey([1, 2, 3], stations(double, negated), is_final=lambda value: value == 4) == [-2, 4, -6]


def test_the_first_waits_while_the_second_has_enough_to_do(tmp_path: Path) -> None:
    """Of 40 items never more than those at work and two bounded queues are on the way."""

    def begin(item: int) -> int:
        (tmp_path / f"{item}.begun").touch()
        return item

    def finish(item: int) -> int:
        time.sleep(SLOW_S)
        begun, done = len(list(tmp_path.glob("*.begun"))), len(list(tmp_path.glob("*.done")))
        (tmp_path / f"{item}.done").touch()
        return begun - done

    with using(Resources(measure=Need(cpus=2))):
        slow, fast = num_slots(Need(cpus=2)), num_slots(Need(cpus=1))
        on_the_way = convey(range(40), stations(begin, finish))
    assert max(on_the_way) <= AHEAD * (2 * slow + fast)
    assert max(on_the_way) >= AHEAD * slow


@pytest.mark.parametrize("where", ["first", "second"])
def test_an_item_that_kills_its_worker_twice_costs_only_itself(where: str, tmp_path: Path) -> None:
    def dies(item: int) -> int:
        if item == 2:
            (tmp_path / f"{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    both = (dies, negated) if where == "first" else (lambda item: item, dies)
    sign = -1 if where == "first" else 1
    results = convey([1, 2, 3], stations(*both), lost=lambda item, words: f"{item}: {words}")
    assert (results[0], results[2]) == (sign * 1, sign * 3)
    assert str(results[1]).startswith(f"2: a worker of {where} died")
    assert len(list(tmp_path.iterdir())) == 2  # another worker tried it again


def test_a_worker_that_dies_once_is_no_matter(tmp_path: Path) -> None:
    def dies_once(item: int) -> int:
        mark = tmp_path / f"{item}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    assert convey([1, 2], stations(dies_once, negated), lost=lambda item, words: words) == [-1, -2]


def test_an_error_of_the_second_station_ends_it_all(tmp_path: Path) -> None:
    def fails(item: int) -> None:
        raise BadInputError(f"item {item} is wrong")

    with pytest.raises(BadInputError, match=r"item \d is wrong"):
        convey([1, 2, 3], stations(double, fails))
    with pytest.raises(LipForcingError, match="a worker of second died"):
        convey([1], stations(double, lambda _item: os.kill(os.getpid(), signal.SIGKILL)))
    assert convey([1], stations(double, negated)) == [-2]


def test_workers_keep_what_they_have_loaded() -> None:
    """Models are loaded once per worker: 30 items are the work of few processes."""
    workers = convey(range(30), stations(double, lambda _item: os.getpid()))
    assert len(set(workers)) <= 2 * num_slots(Need())


def test_work_that_no_machine_has_room_for_is_said() -> None:
    with (
        using(Resources(measure=Need(cpus=1, gpus=64))),
        pytest.raises(BadInputError, match=r"resources.measure of the request asks for 1 CPUs and 64 GPUs"),
    ):
        convey([1], stations(double, negated))


def test_nothing_to_do_starts_nothing() -> None:
    assert convey([], stations(double, negated)) == []
