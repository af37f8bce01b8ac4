"""Progress that helps: pace, time left, what is at work; and who hears of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks import progress
from tasks.progress import OccasionalLines, Step, in_words, note, remaining_s, report_to, run_log, step


class Heard:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def step(self, title: str, unit: str) -> Iterator[Step]:
        self.lines.append(f"{title} [{unit}]")
        yield OccasionalLines(title, unit, self.lines.append)

    def note(self, words: str) -> None:
        self.lines.append(words)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    monkeypatch.setattr(progress, "_reporter", progress._reporter)
    listener = Heard()
    report_to(listener)
    return listener


def test_time_left_follows_from_the_pace() -> None:
    assert remaining_s(10.0, 1, 4) == 30.0
    assert remaining_s(10.0, 4, 4) == 0.0
    assert remaining_s(10.0, 0, 4) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (3600.0, "60 min"), (9000.0, "2.5 h")],
)
def test_durations_are_for_people(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_line_has_what_is_done_left_and_at_work(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with step("curate", "s of video") as shown:
        shown.at_work("3/9 files; now long.mp4")
        shown(5, 100)  # too soon for a line
        clock[0] += 20.0
        shown(40, 100)
        clock[0] += 1.0
        shown(41, 100)
    assert heard.lines == [
        "curate [s of video]",
        "curate: 40/100 s of video, about 30 s left, 3/9 files; now long.mp4",
    ]


def test_bytes_that_are_no_text_are_escaped_alike_in_all_that_is_heard_and_logged(
    heard: Heard, tmp_path: Path
) -> None:
    name = os.fsdecode(b"o\xe9.mp4")
    with (
        run_log(tmp_path / "run.log"),
        pytest.raises(OSError, match="stale"),
        step(f"generate {name}", "frames") as shown,
    ):
        shown.at_work(name)
        note(f"slow: {name}")
        raise OSError(f"stale {name}")
    assert heard.lines == [r"generate o\xe9.mp4 [frames]", r"slow: o\xe9.mp4"]
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        r"started generate o\xe9.mp4",
        r"slow: o\xe9.mp4",
        r"failed generate o\xe9.mp4: OSError: stale o\xe9.mp4",
    ]


def test_a_note_is_heard(heard: Heard) -> None:
    note("another process is at work")
    assert heard.lines == ["another process is at work"]
