"""Progress of long work: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int, int], None]
"""Called with (done, total); it may be called often."""

console = Console(stderr=True, highlight=False)
QUIET_INTERVAL_S = 10.0


@contextmanager
def step(title: str) -> Iterator[Advance]:
    """Show one step of a flow: yields the callback that moves its bar; says at the end how long it took."""
    started = time.perf_counter()
    if console.is_terminal:
        with Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as progress:
            bar = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
    else:
        print(f"  {title} ...", file=sys.stderr, flush=True)
        yield _occasional_lines(title)
    console.print(f"  [green]done[/green] {title} [dim]({time.perf_counter() - started:.1f} s)[/dim]")


def _occasional_lines(title: str) -> Advance:
    last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_INTERVAL_S:
            last = time.monotonic()
            print(f"  {title}: {done}/{total}", file=sys.stderr, flush=True)

    return advance


class Stopwatch:
    """Wall time of the stages of a flow, for the table ``stage_timings``."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as stage ``name``."""
        started_at, started = datetime.now(UTC), time.perf_counter()
        yield
        self._rows.append(
            {
                "stage": name,
                "item": "all",
                "position": len(self._rows),
                "wall_s": time.perf_counter() - started,
                "reused": False,
                "started_at": started_at,
            }
        )

    def rows(self) -> list[dict[str, object]]:
        """One row a finished stage."""
        return list(self._rows)
