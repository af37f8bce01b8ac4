"""Two curations made by hand, and every change between them with its cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipforcing_core.curation.diff_text import diff_json, diff_text
from lipforcing_core.curation.manifest import write_manifest
from lipforcing_core.curation.run_diff import RunDiff, compare_runs
from lipforcing_core.curation.stored_run import read_run

from .runs import SETTINGS, piece, sha, write_run


def both(tmp_path: Path) -> RunDiff:
    """Given in the wrong order; the limit of the offset fell from 6 to 2, and one score crossed its own."""
    before = [
        piece("same.mp4", 1, av_offset_measured=0),
        piece("late.mp4", 2),
        piece("weak.mp4", 3, av_offset_measured=0),
        piece("gone.mp4", 4, av_offset_measured=0),
        piece("was.mp4", 5, av_offset_measured=0),
        piece("edited.mp4", 6, av_offset_measured=0),
        piece("better.mp4", 7, reason="quality_low", quality=90.0, measured=90.0, threshold=85.0),
    ]
    after = [
        piece("same.mp4", 1, av_offset_measured=0),
        piece("late.mp4", 2, reason="av_offset_too_large", measured=3.0, threshold=2.0),
        piece("weak.mp4", 3, reason="sync_confidence_low", av_offset_measured=0, sync_confidence=2.5),
        piece("new.mp4", 8, av_offset_measured=0),
        piece("is.mp4", 5, av_offset_measured=0),
        piece("edited.mp4", 9, reason="no_face", av_offset_measured=0),
        piece("better.mp4", 7, av_offset_measured=0, quality=80.0),
    ]
    newer = write_run(
        tmp_path / "a-newer",
        after,
        settings=SETTINGS | {"max_abs_offset_frames": 2},
        ended="2026-01-03 10:00:00",
    )
    older = write_run(tmp_path / "b-older", before, settings=SETTINGS, ended="2026-01-02 10:00:00")
    return compare_runs(newer, older)


def test_what_changed_and_why(tmp_path: Path) -> None:
    diff = both(tmp_path)
    assert (diff.older, diff.newer) == ("b-older", "a-newer")
    assert (diff.clips_before, diff.clips_after, diff.num_unchanged) == (6, 4, 2)
    assert diff.renamed == (("was.mp4", "is.mp4"),)
    assert [(c.setting, c.before, c.after) for c in diff.settings] == [("max_abs_offset_frames", 6, 2)]
    assert {c.source: (c.kind, c.why) for c in diff.changes} == {
        "late.mp4": (
            "lost",
            (
                "offset measured 3 frames is as before, its limit went from 6 to 2 "
                "(max_abs_offset_frames; nearer to 0 is better)",
            ),
        ),
        "weak.mp4": (
            "lost",
            ("Sync-C went from 5 to 2.5, past its limit 3 (sync_confidence_min; higher is better)",),
        ),
        "better.mp4": (
            "gained",
            ("picture quality went from 90 to 80, inside its limit 85 (quality_threshold; lower is better)",),
        ),
        "edited.mp4": ("lost", ("the file has other content",)),
        "gone.mp4": ("vanished", ("the source is gone",)),
        "new.mp4": ("appeared", ("the source is new",)),
    }


def test_the_text_and_the_json(tmp_path: Path) -> None:
    diff = both(tmp_path)
    text = diff_text(diff)
    assert max(map(len, text.splitlines())) <= 100
    assert "older  b-older, ended 2026-01-02 10:00:00, 6 clips" in text
    assert "6 pieces changed, 2 did not" in text
    assert "no longer clips: 3 pieces" in text
    assert "  late.mp4, 0.00 to 5.00 s: accepted -> rejected: av_offset_too_large" in text
    told = json.loads(json.dumps(diff_json(diff)))
    assert [change["kind"] for change in told["changes"] if change["source"] == "gone.mp4"] == ["vanished"]
    assert told["renamed"] == [{"before": "was.mp4", "after": "is.mp4"}]


def test_another_cut_names_the_setting(tmp_path: Path) -> None:
    older = write_run(tmp_path / "a", [piece("a.mp4", 1, 0, 125)], settings=SETTINGS)
    newer = write_run(
        tmp_path / "b",
        [piece("a.mp4", 1, 0, 75)],
        settings=SETTINGS | {"min_segment_s": 2.0},
        ended="2026-01-03 10:00:00",
    )
    diff = compare_runs(older, newer)
    assert [(c.kind, c.stop_frame, c.why) for c in diff.changes] == [
        ("appeared", 75, ("min_segment_s went from 5.0 to 2.0",)),
        ("vanished", 125, ("min_segment_s went from 5.0 to 2.0",)),
    ]


def test_settings_of_another_version_are_not_recorded(tmp_path: Path) -> None:
    old = {key: value for key, value in SETTINGS.items() if key != "max_abs_offset_frames"}
    older = write_run(tmp_path / "a", [piece("a.mp4", 1)], settings=old | {"gone": 1}, rows=False)
    late = piece("a.mp4", 1, reason="av_offset_too_large", measured=3.0, threshold=2.0)
    newer = write_run(
        tmp_path / "b", [late], settings=SETTINGS | {"max_abs_offset_frames": 2}, ended="2026-01-03 10:00:00"
    )
    diff = compare_runs(older, newer)
    assert [(c.setting, c.before, c.after) for c in diff.settings] == [
        ("gone", 1, "not recorded"),
        ("max_abs_offset_frames", "not recorded", 2),
    ]
    assert diff.changes[0].why == ("max_abs_offset_frames went from not recorded to 2",)


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", [piece("a.mp4", 1)], settings=SETTINGS)
    other = write_run(tmp_path / "b", [piece("a.mp4", 1)], settings=SETTINGS)
    assert (compare_runs(one, other).changes, compare_runs(one, other).num_unchanged) == ((), 1)
    assert one.sha256_of("a.mp4") == sha(1)


@pytest.mark.parametrize(
    ("older", "newer", "first"),
    [
        ("talks", "news", "two data sets: talks (older) and news (newer)"),
        ("talks", "talks", "older  one, ended 2026-01-02 10:00:00, 1 clips"),
        (None, "talks", "older  one, ended 2026-01-02 10:00:00, 1 clips"),
    ],
)
def test_runs_of_two_data_sets_are_told_apart_in_the_first_line(
    older: str | None, newer: str, first: str, tmp_path: Path
) -> None:
    one = write_run(tmp_path / "one", [piece("a.mp4", 1)], settings=SETTINGS, name=older)
    late = "2026-01-03 10:00:00"
    two = write_run(tmp_path / "two", [piece("a.mp4", 1)], settings=SETTINGS, name=newer, ended=late)
    diff = compare_runs(two, one)
    assert diff_text(diff).splitlines()[0] == first
    assert (diff_json(diff)["older_name"], diff_json(diff)["newer_name"]) == (older or "", newer)


def test_other_facts_of_a_clip_are_told_though_its_decision_is_the_same(tmp_path: Path) -> None:
    pieces = [piece("a.mp4", 1), piece("b.mp4", 2)]
    older = write_run(tmp_path / "older", pieces, settings=SETTINGS)
    newer = write_run(tmp_path / "newer", pieces, settings=SETTINGS, ended="2026-01-03 10:00:00")
    first, second = newer.clips
    moved = first.model_copy(update={"split": "val", "identity": "ben", "commercial_ok": False})
    write_manifest(newer.folder / "manifest.parquet", [moved, second])
    diff = compare_runs(older, read_run(newer.folder))
    assert diff.changes == ()
    assert {(c.source, c.fact, c.before, c.after) for c in diff.facts} == {
        ("a.mp4", "split", "train", "val"),
        ("a.mp4", "identity", "anna", "ben"),
        ("a.mp4", "commercial_ok", None, False),
    }
    text = diff_text(diff)
    assert "0 pieces changed, 2 did not; of 1 clip other facts are known" in text
    assert f"a.mp4, clip {first.clip_id}: commercial_ok unknown -> False" in text
    assert {fact["fact"] for fact in diff_json(diff)["facts"]} == {"split", "identity", "commercial_ok"}
    assert "facts" not in diff_text(compare_runs(older, older))


@pytest.mark.parametrize("is_turned_away_first", [True, False])
def test_a_source_that_is_turned_away_as_a_whole_says_so(tmp_path: Path, is_turned_away_first: bool) -> None:
    whole = [piece("a.mp4", 1, 0, 5000, level="source", reason="over_limits", measured=3.0, threshold=2.0)]
    cut = [piece("a.mp4", 1), piece("a.mp4", 1, 125, 250)]
    first, second = (whole, cut) if is_turned_away_first else (cut, whole)
    limit = SETTINGS | {"max_source_hours": 2.0}
    older = write_run(tmp_path / "older", first, settings=limit)
    newer = write_run(tmp_path / "newer", second, settings=limit, ended="2026-01-03 10:00:00")
    when = "before" if is_turned_away_first else "now"
    assert {c.why for c in compare_runs(older, newer).changes} == {
        (f"{when} the whole source is turned away as over_limits",)
    }
    other = write_run(
        tmp_path / "other", second, settings=limit | {"max_source_hours": 4.0}, ended="2026-01-03 10:00:00"
    )
    assert {c.why for c in compare_runs(older, other).changes} == {("max_source_hours went from 2.0 to 4.0",)}
