"""Progress of long work: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasks.cost import read_meters

Advance = Callable[[int, int], None]
"""Called with (done, total); it may be called often."""

console = Console(stderr=True, highlight=False)
_log = logging.getLogger("lipforcing")
_log.setLevel(logging.INFO)
_log.propagate = False
QUIET_INTERVAL_S = 10.0


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
def step(title: str) -> Iterator[Advance]:
    """Show one step of a flow: yields the callback that moves its bar; says at the end how long it took."""
    started = time.perf_counter()
    _log.info("started %s", title)
    try:
        with _shown(title) as advance:
            yield advance
    except BaseException as error:
        _log.info("failed %s: %s: %s", title, type(error).__name__, error)
        raise
    seconds = time.perf_counter() - started
    _log.info("done %s (%.1f s)", title, seconds)
    console.print(f"  [green]done[/green] {escape(title)} [dim]({seconds:.1f} s)[/dim]")


@contextmanager
def _shown(title: str) -> Iterator[Advance]:
    if console.is_terminal:
        with Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as progress:
            bar = progress.add_task(escape(title), total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
    else:
        print(f"  {title} ...", file=sys.stderr, flush=True)
        yield _occasional_lines(title)


def _occasional_lines(title: str) -> Advance:
    last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_INTERVAL_S:
            last = time.monotonic()
            print(f"  {title}: {done}/{total}", file=sys.stderr, flush=True)

    return advance


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
