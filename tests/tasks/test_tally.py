"""What is told of a curation while it runs."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.timed_steps import StepCost
from lipforcing_core.media.encode import VideoWriter
from tasks import tally
from tasks.curation import Judged, Source
from tasks.tally import Tally
from tests.curation.test_outcomes import decision, outcome

LENGTHS = {"a.mp4": 10.0, "b.mp4": 60.0, "c.mp4": 30.0}


class Shown:
    """The last that was told."""

    def __init__(self) -> None:
        self.words, self.progress = "", (0, 0)

    def __call__(self, done: int, total: int) -> None:
        self.progress = (done, total)

    def at_work(self, words: str) -> None:
        self.words = words


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(tally, "_length_s", lambda path: LENGTHS[path.name])
    clock = count(100.0, 4.0)  # at the start, and 4 s later whenever something is told
    monkeypatch.setattr(tally.time, "monotonic", lambda: next(clock))
    return Shown()


def sources() -> list[Source]:
    return [Source(path=Path(name), root=Path()) for name in LENGTHS]


def judged(name: str, *reasons: str) -> Judged:
    rows = [decision(name, 125 * n, 125 * (n + 1), reason=reason) for n, reason in enumerate(reasons)]
    return Judged(outcome=outcome(name, *rows), costs={"read": StepCost(done=1, wall_s=2.0, cpu_s=1.0)})


def test_the_longest_is_first_and_seconds_are_counted(shown: Shown) -> None:
    told = Tally(sources(), shown)
    assert [source.path.name for source in told.sources] == ["b.mp4", "c.mp4", "a.mp4"]
    assert (shown.words, shown.progress) == ("0/3 files; now b.mp4, c.mp4", (0, 100))
    told.done(told.sources[1], judged("c.mp4", "no_face", "no_face", "no_speech"))
    assert shown.progress == (30, 100)
    assert (
        shown.words
        == "1/3 files; 3.8 x real time; 0 clips, 3 turned away (2 no_face, 1 no_speech); now b.mp4, a.mp4"
    )
    told.done(told.sources[0], judged("b.mp4", "silent_audio", "frozen_picture"))
    assert shown.words.startswith("2/3 files; 7.5 x real time; "), "90 s of video in 12 s"
    assert shown.words.endswith("5 turned away (2 no_face, 1 no_speech, 1 silent_audio, ...); now a.mp4")
    assert told.costs == {"read": StepCost(done=2, wall_s=4.0, cpu_s=2.0)}


def test_control_characters_of_a_name_are_escaped(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_length_s", lambda path: 1.0)
    Tally([Source(path=Path("evil\x1b[2J.mp4"), root=Path())], shown)
    assert "\x1b" not in shown.words
    assert "evil" in shown.words


def test_a_file_of_no_known_length_counts_as_a_second(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    told = Shown()
    Tally([Source(path=tmp_path / name, root=tmp_path) for name in ("junk.mp4", "gone.mp4")], told)
    assert told.progress == (0, 2)


def test_a_length_is_read_from_the_header_alone(tmp_path: Path) -> None:
    """Thirty thousand sources are opened before the work begins; going through their packets would take hours."""
    with VideoWriter(tmp_path / "a.mp4", width=32, height=32) as writer:
        for _ in range(75):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    told = Shown()
    Tally([Source(path=tmp_path / "a.mp4", root=tmp_path)], told)
    assert told.progress == (0, 3)
