"""Progress on the terminal: a live bar, or a line every few seconds where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from apps.cli.output import escape
from tasks.progress import OccasionalLines, Step


class TerminalReporter:
    """Shows progress on standard error, so that standard output holds results alone."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def step(self, title: str, unit: str) -> Iterator[Step]:
        """A bar with what is done, left and at work, or occasional lines; at the end the time it took."""
        started = time.perf_counter()
        if self._console.is_terminal:
            with Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn(escape(unit)),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[at_work]}"),
                console=self._console,
                transient=True,
            ) as progress:
                yield _Bar(progress, progress.add_task(escape(title), total=None, at_work=""))
        else:
            self._line(f"  {title} ...")
            yield OccasionalLines(f"  {title}", unit, self._line)
        seconds = time.perf_counter() - started
        self._console.print(f"  [green]done[/green] {escape(title)} [dim]({seconds:.1f} s)[/dim]")

    def note(self, words: str) -> None:
        """One sentence on a line of its own."""
        self._line(f"  {words}")

    def _line(self, words: str) -> None:
        self._console.print(words, markup=False, soft_wrap=True)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def at_work(self, words: str) -> None:
        self._progress.update(self._task, at_work=escape(words))
