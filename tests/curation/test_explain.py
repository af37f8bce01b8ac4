"""The story of a source from a run made by hand: who is meant, what is said, and what an older run cannot say."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, write_json
from lipforcing_core.curation.limits import Direction, judged, judged_scores, passes
from lipforcing_core.curation.lookup import Asked, look_up, look_up_in
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import SizeChange
from lipforcing_core.curation.stored_run import StoredRun, find_run
from lipforcing_core.curation.story_page import write_story_page
from lipforcing_core.curation.story_text import facts_line, read_lines, story_text
from tests.curation.runs import tell

from .readings import plain_reading
from .runs import SETTINGS, piece, sha, write_run

FIRST = "010000000000007d"
SECOND = "0100007d000000fa"


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    decisions = [
        piece("talks/a.mp4", 1),
        piece("talks/a.mp4", 1, 125, 250),
        piece("b.mp4", 2, quality=90.0, reason="quality_low", measured=90.0, threshold=85.0),
        piece("other/b.mp4", 3, reason="face_lost", absent_frames=4, measured=4.0, threshold=0.0),
    ]
    return write_run(tmp_path / "runs" / "curate-0123", decisions, settings=SETTINGS)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (FIRST, Asked(source="talks/a.mp4", clip_id=FIRST)),
        ("0100007", Asked(source="talks/a.mp4", clip_id=SECOND)),
        (f"clips/{SECOND}.mp4", Asked(source="talks/a.mp4", clip_id=SECOND)),
        ("talks/a.mp4", Asked(source="talks/a.mp4")),
        ("./talks/a.mp4", Asked(source="talks/a.mp4")),
        ("a.mp4", Asked(source="talks/a.mp4")),
        ("/corpus/talks/a.mp4", Asked(source="talks/a.mp4")),
        ("/elsewhere/talks/a.mp4", Asked(source="talks/a.mp4")),
        ("/corpus/b.mp4", Asked(source="b.mp4")),
        ("b.mp4", Asked(source="b.mp4")),
        (sha(3), Asked(source="other/b.mp4")),
    ],
)
def test_who_is_meant(run: StoredRun, asked: str, found: Asked) -> None:
    assert look_up(run, asked) == found


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("0100", f"{FIRST} (talks/a.mp4), {SECOND} (talks/a.mp4)"),
        ("talks/aa.mp4", "did you mean 'talks/a.mp4'?"),
        ("/x/other/b.mp4", "may be any of these: b.mp4, other/b.mp4"),
        ("zzzz", "neither a clip nor a source of the run curate-0123; give"),
    ],
)
def test_who_is_not_known(run: StoredRun, asked: str, words: str) -> None:
    with pytest.raises(BadInputError) as error:
        look_up(run, asked)
    assert words in str(error.value)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"moved").hexdigest()
    decision = piece("a.mp4", 1)
    run = write_run(
        tmp_path / "run",
        [decision.model_copy(update={"source_id": sha256[:16]})],
        settings=SETTINGS,
        rows=False,
    )
    (tmp_path / "renamed.mp4").write_bytes(b"moved")
    assert look_up(run, str(tmp_path / "renamed.mp4")).source == "a.mp4"


def test_scores_are_judged_in_their_direction(run: StoredRun) -> None:
    found = {
        line.measure.score: line for line in judged_scores(run.decisions_of_source["b.mp4"][0], SETTINGS)
    }
    quality = found["quality"]
    assert (quality.direction, quality.passed, quality.limit) == (Direction.LOWER, False, 85.0)
    assert quality.asked == "at most 85 (quality_threshold)"
    assert (found["sync_confidence"].passed, found["sync_confidence"].asked) == (
        True,
        "at least 3 (sync_confidence_min)",
    )
    assert (found["yaw_deg"].passed, found["yaw_deg"].words, found["yaw_deg"].asked) == (
        None,
        "not recorded",
        "limit not recorded",
    )
    assert (found["sync_distance"].passed, found["sync_distance"].asked) == (None, "no limit")
    off = {
        line.measure.score: line.passed
        for line in judged_scores(piece("b.mp4", 2), SETTINGS | {"sync_filter": False})
    }
    assert (off["sync_confidence"], off["quality"]) == (None, True)
    assert judged_scores(piece("b.mp4", 2).model_copy(update={"scores": Scores()}), SETTINGS) == []


@pytest.mark.parametrize(
    ("value", "limit", "direction", "good"),
    [
        (3, 3, Direction.HIGHER, True),
        (2.9, 3, Direction.HIGHER, False),
        (85, 85, Direction.LOWER, True),
        (85.1, 85, Direction.LOWER, False),
        (-6, 6, Direction.ZERO, True),
        (-7, 6, Direction.ZERO, False),
        (1, 2, Direction.UNKNOWN, None),
    ],
)
def test_the_limit_itself_is_good(
    value: float, limit: float, direction: Direction, good: bool | None
) -> None:
    assert passes(value, limit, direction) is good


def test_a_rejection_tells_the_direction_of_an_unknown_scorer() -> None:
    from lipforcing_core.curation.limits import MEASURES

    (quality,) = (measure for measure in MEASURES if measure.score == "quality")
    low = piece(
        "a.mp4", 1, quality_backend="mine-1", quality=2.0, reason="quality_low", measured=2.0, threshold=5.0
    )
    assert judged(quality, low, {"quality_threshold": 5.0}).direction is Direction.HIGHER
    kept = piece("a.mp4", 1, quality_backend="mine-1", quality=2.0)
    assert judged(quality, kept, {"quality_threshold": 5.0}).direction is Direction.UNKNOWN


def test_the_text_says_everything_in_a_hundred_columns(run: StoredRun, tmp_path: Path) -> None:
    text = story_text(tell(run, StepStore(tmp_path / "steps"), SECOND))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "talks/a.mp4: accepted, 2 clips of 10.00 s in all; 2 rows"
    assert "  file        /corpus/talks/a.mp4" in lines
    assert f"  sha256      {sha(1)}" in lines
    assert "  facts       identity anna" in lines
    assert "  run         curate-0123, started 2026-01-02 10:00:00, ended 2026-01-02 10:00:00" in lines
    assert "piece 2, 5.00 to 10.00 s: accepted  <- the clip asked for" in lines
    assert (
        "    ok     Sync-C                       5            higher at least 3 (sync_confidence_min)"
        in lines
    )
    story = story_text(tell(run, StepStore(tmp_path / "steps"), "other/b.mp4"))
    assert "piece 1, 0.00 to 5.00 s: rejected as face_lost" in story
    assert "measured 4, limit 0 (stage face)" in story
    assert (
        "    MISSED frames without the face      4 frames     lower  at most 0 (max_absent_frames)" in story
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((), []),
        (((75, 270, 480),), ["540 x 960, from 3.00 s on 270 x 480; the source is cut there"]),
        (
            ((75, 270, 480), (80, 540, 960)),
            ["540 x 960, from 3.00 s on 270 x 480, from 3.20 s on 540 x 960; the source is cut there"],
        ),
        (
            tuple((k, 2 * k, 2) for k in range(1, 16)),
            ["from 0.48 s on 24 x 2 and 3 more changes; the source"],
        ),
    ],
)
def test_the_story_says_where_the_size_changes(
    changes: tuple[tuple[int, int, int], ...], words: list[str]
) -> None:
    noted = tuple(SizeChange(frame=frame, width=width, height=height) for frame, width, height in changes)
    reading = plain_reading(150, width=540, height=960, size_changes=noted)
    told = [line for title, line in read_lines(reading) if title == "size"]
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_an_older_run_says_what_is_not_recorded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "old", [piece("a.mp4", 1)], settings=None, ended=None, rows=False)
    text = story_text(tell(run, StepStore(tmp_path / "steps"), "a.mp4"))
    assert "  file        not recorded" in text
    assert f"  sha256      {sha(1)}" in text  # config.json has it
    assert "started not recorded, ended not recorded" in text
    assert "reading     not recorded" in text
    assert "limit not recorded" in text


def test_the_page_escapes_names_and_marks_what_was_missed(tmp_path: Path) -> None:
    name = "<b>&'\\x1b.mp4"
    lost = piece(name, 1, quality=90.0, reason="quality_low", measured=90.0, threshold=85.0, message="<i>")
    run = write_run(tmp_path / "run", [lost], settings=SETTINGS)
    story = tell(run, StepStore(tmp_path / "steps"), name)
    write_story_page(tmp_path / "page.html", story)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;&#39;\\x1b.mp4" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<script" not in page
    assert page.count('class="score missed"') == 1
    first = page
    write_story_page(tmp_path / "page.html", story)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == first


def test_runs_by_name(run: StoredRun, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "latest").symlink_to("curate-0123")
    for name in (
        "curate-0123",
        "curate-01",
        "01",
        "latest",
        str(run.folder),
        str(run.folder / "manifest.parquet"),
    ):
        assert find_run(runs, name).resolve() == run.folder.resolve(), name
    with pytest.raises(BadInputError, match="did you mean 'curate-0123'"):
        find_run(runs, "curate-0213")
    with pytest.raises(BadInputError, match="no curation has run here"):
        find_run(tmp_path / "none", "latest")


def test_a_file_of_another_data_set_is_told_with_that_set(tmp_path: Path) -> None:
    """Here is another ``a.mp4``; the last run of ``news`` has this one no more, that of ``talks`` has it."""
    runs, mine = tmp_path / "runs", tmp_path / "mine"
    mine.mkdir()
    (mine / "a.mp4").write_bytes(b"mine")
    sha256 = hashlib.sha256(b"mine").hexdigest()
    own = piece("a.mp4", 1).model_copy(update={"source_id": sha256[:16]})
    here = write_run(runs / "curate-01", [piece("a.mp4", 2)], settings=SETTINGS, name="inc", corpus="/inc")
    with pytest.raises(BadInputError, match="neither a clip nor a source of the run curate-01"):
        look_up_in(runs, here, str(mine / "a.mp4"))
    for number, (name, decision) in enumerate(
        [("news", own), ("talks", piece("a.mp4", 3)), ("talks", own), ("news", piece("b.mp4", 4))], start=2
    ):
        folder = write_run(
            runs / f"curate-0{number}", [decision], settings=SETTINGS, name=name, rows=False
        ).folder
        listing = [[decision.source, sha256 if decision is own else sha(number)]]
        write_json(folder / "config.json", {"sources": listing})
        os.utime(folder / "decisions.parquet", (number, number))
    write_run(runs / "curate-09", [own], settings=SETTINGS, rows=False)
    (runs / "latest").symlink_to("curate-02")
    (runs / "curate-10").mkdir()
    words = (
        r"a\.mp4: is not in the data set inc, run curate-01, but in the data set talks \(--run curate-04\)$"
    )
    with pytest.raises(BadInputError, match=words):
        look_up_in(runs, here, str(mine / "a.mp4"))
    assert look_up_in(runs, here, "a.mp4").source == "a.mp4"


def test_facts_and_shots_are_told_in_words(run: StoredRun, tmp_path: Path) -> None:
    story = replace(
        tell(run, StepStore(tmp_path / "steps"), "b.mp4"),
        facts={"identity": "ben", "crop": {"left": 3, "frame_height": None}, "ranges": [[0, 9]]},
    )
    assert facts_line(story) == "identity ben, crop (left 3), ranges [[0, 9]]"
    lines = dict(read_lines(plain_reading(50, shots=())))
    assert lines["shots"] == "none"
