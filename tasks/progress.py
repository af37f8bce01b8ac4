"""Progress of long work, told to whoever listens: a terminal that an app gives, or the log of a service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lipforcing_core.base.names import printable
from tasks.cost import read_meters

Advance = Callable[[int, int], None]
"""Called with (done, total); it may be called often."""

_log = logging.getLogger("lipforcing")
_log.setLevel(logging.INFO)
_log.propagate = False
QUIET_INTERVAL_S = 10.0


class Step(Protocol):
    """What a running step tells."""

    def __call__(self, done: int, total: int) -> None:
        """Move the bar to ``done`` of ``total``; it may be called often."""

    def at_work(self, words: str) -> None:
        """Name what is being worked on at this moment."""


class Reporter(Protocol):
    """Somewhere that progress is shown."""

    def step(self, title: str, unit: str) -> AbstractContextManager[Step]:
        """Show a step while the block runs, and at its end how long it took; ``unit`` is what it counts."""

    def note(self, words: str) -> None:
        """Show one sentence."""


class LogReporter:
    """Progress as lines of a log: of the flow run inside one that Prefect records, else of ``lipforcing``."""

    @contextmanager
    def step(self, title: str, unit: str) -> Iterator[Step]:
        started = time.perf_counter()
        self.note(f"{title} ...")
        yield OccasionalLines(title, unit, self.note)
        self.note(f"done {title} ({time.perf_counter() - started:.1f} s)")

    def note(self, words: str) -> None:
        from prefect.exceptions import MissingContextError
        from prefect.logging import get_run_logger

        try:
            get_run_logger().info(words)
        except MissingContextError:
            _log.info(words)


class OccasionalLines:
    """A line of progress every few seconds, with what is at work and how long the rest may take."""

    def __init__(self, title: str, unit: str, write: Callable[[str], None]) -> None:
        self._title, self._unit, self._write = title, unit, write
        self._started = self._last = time.monotonic()
        self._at_work = ""

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < QUIET_INTERVAL_S:
            return
        self._last = now
        left = remaining_s(now - self._started, done, total)
        parts = [
            f"{done}/{total} {self._unit}".rstrip(),
            f"{in_words(now - self._started)} so far" if left is None else f"about {in_words(left)} left",
            *([self._at_work] if self._at_work else []),
        ]
        self._write(f"{self._title}: {', '.join(parts)}")

    def at_work(self, words: str) -> None:
        self._at_work = printable(words)


def remaining_s(elapsed_s: float, done: int, total: int) -> float | None:
    """Seconds that the rest takes at the pace so far; None before anything is done."""
    return None if done <= 0 else elapsed_s * (total - done) / done


def in_words(seconds: float) -> str:
    """A duration for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


_reporter: Reporter = LogReporter()


def report_to(reporter: Reporter) -> None:
    """Show progress of this process through ``reporter`` from now on."""
    global _reporter
    _reporter = reporter


def note(words: str) -> None:
    """Tell one sentence to whoever listens, and write it into the run's log."""
    words = printable(words)
    _log.info("%s", words)
    _reporter.note(words)


@contextmanager
def run_log(path: Path) -> Iterator[None]:
    """Write start, end and failure of every step to a log file as well, appending to what earlier runs wrote."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _log.addHandler(handler)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        handler.close()


@contextmanager
def step(title: str, unit: str = "") -> Iterator[Step]:
    """Show one step of a flow: yields what moves its bar; ``unit`` is what it counts, such as ``clips``."""
    title = printable(title)  # a file's name in it may be any bytes
    started = time.perf_counter()
    _log.info("started %s", title)
    try:
        with _reporter.step(title, unit) as shown:
            yield shown
    except BaseException as error:
        _log.info("failed %s: %s: %s", title, type(error).__name__, printable(str(error)))
        raise
    _log.info("done %s (%.1f s)", title, time.perf_counter() - started)


class Stopwatch:
    """Wall and CPU time of the stages of a flow, for the table ``stage_timings``."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as stage ``name``."""
        started_at, started = datetime.now(UTC), read_meters()
        yield
        ended = read_meters()
        self._rows.append(
            {
                "stage": name,
                "item": "all",
                "position": len(self._rows),
                "wall_s": ended.clock_s - started.clock_s,
                "cpu_seconds": max(0.0, ended.cpu_s - started.cpu_s),
                "started_at": started_at,
            }
        )

    def rows(self) -> list[dict[str, object]]:
        """One row a finished stage."""
        return list(self._rows)
