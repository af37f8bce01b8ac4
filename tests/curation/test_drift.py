"""Drift against the run before: statistics with hand-computed values, and what the contract makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lipforcing_core.curation.contract import check_contract
from lipforcing_core.curation.drift import (
    Drift,
    DriftRow,
    EarlierRun,
    critical_distance,
    kolmogorov_smirnov,
    measure_drift,
    moved_share,
    relative_change,
    spread,
)
from lipforcing_core.curation.funnel import balance
from lipforcing_core.curation.records import ClipRecord, Decision
from lipforcing_core.curation.settings import CurationSettings

from .runs import piece, record

SETTINGS = CurationSettings()
NOTHING = balance([])


def clips_of(num: int, **changes: Any) -> list[ClipRecord]:
    """So many clips of 5 s; ``changes`` are columns or scores, one value or one for each clip."""
    found = []
    for number in range(num):
        own = {k: v[number] if isinstance(v, list) else v for k, v in changes.items()}
        scores = {k: own.pop(k) for k in list(own) if hasattr(piece("a", 1).scores, k)}
        clip = record(piece(f"{number}.mp4", number % 200, number, number + 125), number % 200)
        found.append(clip.model_copy(update=own | {"scores": replace(clip.scores, **scores)}))
    return found


def decisions_of(accepted: int, rejected: int) -> list[Decision]:
    kept = [piece(f"{k}.mp4", k % 200) for k in range(accepted)]
    return kept + [piece(f"r{k}.mp4", k % 200, reason="no_face") for k in range(rejected)]


def rows_of(
    before: list[ClipRecord],
    now: list[ClipRecord],
    counts: tuple[tuple[int, int], tuple[int, int]] = ((1, 0), (1, 0)),
    settings: CurationSettings = SETTINGS,
) -> dict[str, DriftRow]:
    earlier = EarlierRun(run_id="curate-aa", clips=before, decisions=decisions_of(*counts[0]))
    found = measure_drift(earlier, now, decisions_of(*counts[1]), settings)
    assert found.compared_with == "curate-aa"
    return {row.what: row for row in found.rows}


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [(10, 10, 0.0), (10, 5, 0.5), (5, 10, 0.5), (4, 0, 1.0), (0, 0, 0.0), (8, 10, 0.2)],
)
def test_a_size_changes_by_its_share_of_the_larger(before: float, now: float, change: float) -> None:
    assert relative_change(before, now) == pytest.approx(change)


def test_the_moved_share_is_what_has_another_value() -> None:
    assert moved_share("aabb", "bbaa") == 0
    assert moved_share("aaab", "aabb") == pytest.approx(0.25)  # a quarter went from a to b
    assert moved_share("aa", "bb") == 1
    assert moved_share("ab", "abcc") == pytest.approx(0.5)  # c has half, a and b lost a quarter each
    assert moved_share([True] * 3 + [False], [True]) == pytest.approx(0.25)


def test_the_distance_of_two_samples() -> None:
    """By hand: below 2 lie 1/2 of the one and nothing of the other; below 3 all and 1/3."""
    assert kolmogorov_smirnov([1, 2], [3, 2.5, 4]) == 1
    assert kolmogorov_smirnov([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert kolmogorov_smirnov([4, 1, 3, 2], [3, 4, 5, 6]) == pytest.approx(0.5)
    assert kolmogorov_smirnov([0, 0, 0, 1], [0, 1]) == pytest.approx(0.25)  # ties
    assert kolmogorov_smirnov([3, 4, 5, 6], [1, 2, 3, 4]) == pytest.approx(0.5)


def test_the_distance_is_that_of_scipy() -> None:
    import numpy as np
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(3)
    one, other = rng.integers(-6, 7, 80).tolist(), rng.integers(-4, 9, 33).tolist()
    assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(one, other).statistic)


def test_the_critical_distance_is_that_of_the_tables() -> None:
    """Tables of the two-sample test give 1.63 sqrt((n + m) / (n m)) at the level of one per cent."""
    assert critical_distance(100, 100) == pytest.approx(1.63 * (2 / 100) ** 0.5, rel=2e-3)
    assert critical_distance(50, 200) == pytest.approx(1.63 / 40**0.5, rel=2e-3)
    assert critical_distance(2, 2) > 1


def test_mean_and_quantiles() -> None:
    found = spread([float(k) for k in range(11)])
    assert (found.mean, found.quantiles) == (5.0, (1.0, 5.0, 9.0))
    assert str(found) == "mean 5, 10/50/90 %: 1, 5, 9"


def test_equal_runs_have_not_drifted() -> None:
    clips = clips_of(300, quality=[float(k % 40) for k in range(300)])
    rows = rows_of(clips, clips[::-1], ((300, 100), (300, 100)))
    assert {row.value for row in rows.values()} == {0.0}
    assert list(rows) == [
        "clips", "hours", "accepted share", "languages", "splits",
        "sync_confidence", "quality", "av_offset_measured", "face_height_px",
    ]  # fmt: skip


def test_each_comparison_sees_its_own_change() -> None:
    before = clips_of(400, language="en", sync_confidence=[3.0 + k / 100 for k in range(400)])
    now = clips_of(
        300,
        language=["en"] * 225 + ["de"] * 75,
        split=["val"] * 15 + ["train"] * 285,
        sync_confidence=[4.0 + k / 100 for k in range(300)],
        quality=31.0,
        av_offset_measured=[3] * 210 + [4] * 90,
        face_height_px=[120.0] * 270 + [200.0] * 30,
    )
    rows = rows_of(before, now, ((400, 0), (300, 100)))
    values = {what: row.value for what, row in rows.items()}
    assert values == pytest.approx(
        {
            "clips": 0.25,
            "hours": 0.25,
            "accepted share": 0.25,
            "languages": 0.25,
            "splits": 0.05,
            "sync_confidence": 0.25,  # a hundred of four hundred lie below the least of today
            "quality": 1.0,
            "av_offset_measured": 0.3,
            "face_height_px": 0.1,
        }
    )
    assert {what for what, row in rows.items() if row.has_drifted} == {
        "accepted share", "languages", "sync_confidence", "quality", "av_offset_measured",
    }  # fmt: skip
    assert (rows["hours"].before, rows["hours"].now) == ("0.556", "0.417")
    assert rows["accepted share"].before == "100.0 %"
    assert rows["accepted share"].now == "75.0 %"
    assert rows["languages"].now == "en 75.0 %, de 25.0 %"
    assert rows["quality"].words == (
        "quality: mean 30, 10/50/90 %: 30, 30, 30 -> mean 31, 10/50/90 %: 31, 31, 31; Kolmogorov-Smirnov 1, limit 0.2"
    )


def test_a_value_at_its_limit_is_no_drift_and_limits_are_settings() -> None:
    before, now = clips_of(400), clips_of(200)
    assert not rows_of(before, now)["clips"].has_drifted
    assert rows_of(before, now[:-1])["clips"].has_drifted
    tighter = CurationSettings(drift_max_change=0.4, drift_max_ks=0.5, drift_max_share=0.3)
    limits = {what: row.limit for what, row in rows_of(before, before, settings=tighter).items()}
    assert (limits["hours"], limits["splits"], limits["quality"]) == (0.4, 0.3, 0.5)


def test_chance_moves_few_clips_far() -> None:
    """Of two runs with four clips each nothing can be said; at a hundred the limit is the critical distance, 0.23."""
    few = rows_of(clips_of(4), clips_of(4, quality=90.0))["quality"]
    assert (few.value, few.has_drifted) == (1.0, False)
    many = rows_of(clips_of(100), clips_of(100, quality=[90.0] * 22 + [30.0] * 78))["quality"]
    assert (many.value, many.has_drifted) == (pytest.approx(0.22), False)
    assert rows_of(clips_of(100), clips_of(100, quality=[90.0] * 24 + [30.0] * 76))["quality"].has_drifted


def test_scores_of_two_backends_are_not_compared() -> None:
    row = rows_of(clips_of(100), clips_of(100, quality=60.0, quality_backend="hyperiqa-1"))["quality"]
    assert (row.value, row.has_drifted) == (None, False)
    assert row.note == "measured by piqe-pyiqa0.1 then and by hyperiqa-1 now"


def test_a_run_without_clips_has_drifted_in_size_alone() -> None:
    rows = rows_of(clips_of(100), [], ((100, 0), (0, 100)))
    assert {what for what, row in rows.items() if row.has_drifted} == {"clips", "hours", "accepted share"}
    assert rows["quality"].value is None
    assert rows["quality"].now == "none"
    assert rows["splits"].note == "one of the two is empty"


def test_the_first_run_has_nothing_to_compare_with() -> None:
    found = measure_drift(None, clips_of(3), decisions_of(3, 0), SETTINGS)
    assert found == Drift(compared_with=None)
    assert found.verdict == "this is the first run of the data set, so there is nothing to compare with"


@pytest.mark.parametrize("kind", ["warn", "fail"])
def test_drift_warns_unless_the_settings_say_that_it_fails(kind: str) -> None:
    settings = CurationSettings(drift=kind)
    earlier = EarlierRun(run_id="curate-aa", clips=clips_of(100), decisions=decisions_of(100, 0))
    drift = measure_drift(earlier, clips_of(0), decisions_of(0, 100), settings)
    assert drift.verdict == "3 of 9 comparisons with curate-aa are beyond their limits"
    found = check_contract([], [], NOTHING, settings, drift=drift)
    told = {c.column for c in found.checks if c.table == "drift" and not c.success}
    assert told == {row.what for row in drift.drifted} == {"clips", "hours", "accepted share"}
    assert sum(c.table == "drift" for c in found.checks) == 9
    assert found.drift is drift
    if kind == "warn":
        assert (found.success, found.num_failed, found.num_warnings, found.failures) == (True, 0, 3, ())
        assert found.num_checks == len(found.checks) - 9
    else:
        assert (found.success, found.num_failed, found.num_warnings, len(found.failures)) == (False, 3, 0, 3)
        assert found.num_checks == len(found.checks)


def test_settings_of_drift_decide_about_no_source() -> None:
    named = {name for name in SETTINGS.model_dump() if name.startswith("drift")}
    assert named == {"drift", "drift_max_change", "drift_max_share", "drift_max_ks"}
    assert set(SETTINGS.model_dump()) - set(SETTINGS.deciding()) == named
    assert SETTINGS.deciding()["max_yaw_deg"] == 50.0
