"""Work sent to Ray: many small items on a conveyor, or one long job watched while it runs.

Models are loaded once per Ray worker, since workers are reused and the loaders are cached. What a piece of work takes
of a machine is a setting of the request (``tasks.resources``).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lipforcing_core.base.errors import LipForcingError
from tasks.cluster import check_room, connect, num_slots
from tasks.progress import Advance
from tasks.resources import Need, Work, needed

T = TypeVar("T")
R = TypeVar("R")

POLL_S = 0.5
SLOTS_EVERY_S = 5.0
AHEAD = 2
"""Pieces of work that are sent for each one that can be at work, so that no worker waits for this process."""


@dataclass(frozen=True, kw_only=True)
class Station:
    """One kind of work that items pass: what is done, what Ray calls it, and what it takes of a machine.

    on_gpu: it takes a GPU, or the share of one that the request names.
    """

    function: Callable[[Any], Any]
    name: str
    work: Work = Work.CLIPS
    on_gpu: bool = False


def fan_out(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    name: str,
    work: Work = Work.CLIPS,
    on_gpu: bool = False,
    advance: Advance | None = None,
) -> list[R]:
    """``[function(item) for item in items]`` on Ray workers; results in the order of the items. See ``Station``.

    Raises the first error of an item, after cancelling the rest, and ``LipForcingError`` where a worker died twice.
    """
    return convey(items, [Station(function=function, name=name, work=work, on_gpu=on_gpu)], advance=advance)


def convey(
    items: Sequence[T],
    stations: Sequence[Station],
    *,
    is_final: Callable[[Any], bool] = lambda _value: False,
    advance: Advance | None = None,
    on_done: Callable[[int, Any], None] | None = None,
    on_wait: Callable[[], None] | None = None,
    lost: Callable[[T, str], Any] | None = None,
) -> list[Any]:
    """Pass items through the stations, each on workers of its own kind; results in the order of the items.

    A station takes what the one before it returned; a value that ``is_final`` skips the rest. What is sent to the
    workers is bounded, and a station waits while the next one has enough to do: neither this process nor the cluster
    holds more than a few items for each worker.

    ``on_done`` is called with the index and result of every item that is finished, ``on_wait`` now and then meanwhile.
    ``lost`` makes the result of an item whose worker died, twice, from the item and what is known of the death.
    Raises the first error of an item, after cancelling the rest; without ``lost``, ``LipForcingError`` where a worker
    died.
    """
    if not items:
        return []
    import ray

    connect()
    lines = [_Line(station) for station in stations]
    lines[0].queue.extend(enumerate(items))
    results: list[Any] = [None] * len(items)
    num_done = 0
    try:
        while True:
            for line, following in reversed([*zip(lines, [*lines[1:], None], strict=True)]):
                line.send(following)
            at_work = [reference for line in lines for reference in line.at_work]
            if not at_work:
                return results
            ready = _ready(at_work)
            if on_wait:
                on_wait()
            for number, line in enumerate(lines):
                for index, reference in line.take(ready):
                    value, is_last = _result(reference, items[index], line.name, lost)
                    if not (is_last or number == len(lines) - 1 or is_final(value)):
                        lines[number + 1].queue.append((index, value))
                        continue
                    results[index] = value
                    num_done += 1
                    if on_done:
                        on_done(index, value)
            if advance:
                advance(num_done, len(items))
    finally:  # after an error; nothing is left otherwise
        for line in lines:
            for reference in line.at_work:
                ray.cancel(reference, force=True)


def _result(reference: Any, item: T, name: str, lost: Callable[[T, str], Any] | None) -> tuple[Any, bool]:
    """What came of an item at a station, and whether it goes no further, since its worker died."""
    import ray

    try:
        return ray.get(reference), False
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        if lost is None:
            raise _user_error(error, name) from error
        return lost(item, str(_user_error(error, name))), True
    except ray.exceptions.RayError as error:
        raise _user_error(error, name) from error


@dataclass
class _Line:
    """A station with what waits for it and what is at work there, by the index of the item."""

    station: Station
    queue: deque[tuple[int, Any]] = field(default_factory=deque)
    at_work: dict[Any, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import ray

        self._need = _with_gpu(needed(self.station.work), self.station.on_gpu)
        check_room(self._need, self.station.work)
        # Ray ends a worker with a GPU after every call unless told otherwise, and the models would go with it.
        made = ray.remote(num_cpus=self._need.cpus, num_gpus=self._need.gpus, max_retries=1, max_calls=0)
        self._remote = made(_here(self.station.function)).options(name=self.name)
        self._counted_at = -SLOTS_EVERY_S
        self._slots = 0

    @property
    def name(self) -> str:
        return self.station.name

    @property
    def room(self) -> int:
        """How many items are sent at most, given the machines that are there now."""
        if time.monotonic() - self._counted_at >= SLOTS_EVERY_S:
            self._slots, self._counted_at = num_slots(self._need), time.monotonic()
        return AHEAD * max(1, self._slots)

    def send(self, following: _Line | None) -> None:
        """Send what waits, as far as there is room here and the next station has not enough to do."""
        while self.queue and len(self.at_work) < self.room:
            if following is not None and len(following.queue) >= following.room:
                return
            index, value = self.queue.popleft()
            self.at_work[self._remote.remote(value)] = index

    def take(self, ready: set[Any]) -> Iterator[tuple[int, Any]]:
        """The items whose work is ready, with the references of what came of it."""
        for reference in [reference for reference in self.at_work if reference in ready]:
            yield self.at_work.pop(reference), reference


def run_job(
    function: Callable[..., R],
    *args: Any,
    name: str,
    num_cpus: float | None = None,
    on_gpu: bool = False,
    watch: Callable[[], None] | None = None,
) -> R:
    """Run one long job on Ray, calling ``watch`` now and then and once more at the end.

    The job must be resumable: if its worker dies it is started again with the same arguments. ``num_cpus`` takes the
    place of what the request says of training, for a job whose bits depend on it. ``on_gpu``: the job takes a GPU, or
    the share of one that the request names.
    """
    import ray

    connect()
    need = needed(Work.TRAIN)
    if num_cpus is not None:
        need = Need(cpus=num_cpus)
    need = _with_gpu(need, on_gpu)
    check_room(need, Work.TRAIN)
    remote = ray.remote(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=2)(_here(function))
    reference, finished = remote.options(name=name).remote(*args), False
    try:
        while not _ready([reference]):
            if watch:
                watch()
        finished = True
        result: R = ray.get(reference)
        if watch:
            watch()
        return result
    except ray.exceptions.RayError as error:
        raise _user_error(error, name) from error
    finally:
        if not finished:  # this process is being told to end
            ray.cancel(reference, force=True)


def _ready(references: list[Any]) -> set[Any]:
    """Those of the references that are ready, after waiting for the first of them, or for a moment.

    Ray turns what a signal handler raises meanwhile into a ``SystemError``; here it comes out as itself.
    """
    import ray

    try:
        ready, _ = ray.wait(references, num_returns=1, timeout=POLL_S)
        if ready:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return set(ready)
    except SystemError as error:
        raise error.__cause__ or error from None


def _with_gpu(need: Need, on_gpu: bool) -> Need:
    """A need with a GPU where the work runs on one and the request names no share."""
    return Need(cpus=need.cpus, gpus=1) if on_gpu and need.gpus == 0 else need


def _here(function: Callable[..., R]) -> Callable[..., R]:
    """``function`` in the folder this process runs in, so that relative paths mean the same on a worker.

    A plain function whatever ``function`` is, since Ray takes no partial objects.
    """
    folder = os.getcwd()

    def run(*args: Any) -> R:
        os.chdir(folder)
        return function(*args)

    return run


def _user_error(error: Any, name: str) -> BaseException:
    """The error that the function raised, without Ray's wrapping; one sentence where its worker died."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        cause: BaseException = error.cause or error
        return cause
    reason = str(error).strip().split("\n", 1)[0]
    return LipForcingError(
        f"a worker of {name} died ({type(error).__name__}: {reason}). Finished steps are kept: free memory if that ran "
        "out, and run the command again to go on"
    )
