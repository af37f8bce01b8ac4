"""The contract, check by check: rows at a bound hold, and the next value breaks the check of its column alone."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any

import pytest

from lipforcing_core.curation.contract import (
    Check,
    ContractResult,
    _books,
    _check,
    _short,
    check_contract,
    score_bounds,
)
from lipforcing_core.curation.funnel import Balance
from lipforcing_core.curation.limits import MEASURES, Direction, limit_of
from lipforcing_core.curation.manifest import arrow_schema
from lipforcing_core.curation.records import MAY_LACK, SCORE_NAMES, ClipRecord, Decision, SourceFacts
from lipforcing_core.curation.settings import CurationSettings

from .test_outcomes import clip, decision

SETTINGS = CurationSettings()
BALANCE = Balance(
    sources_in=6,
    sources_accepted=1,
    sources_rejected=2,
    sources_quarantined=3,
    frames_in=1000,
    frames_accepted=125,
    frames_rejected=0,
    frames_quarantined=0,
    clips=1,
    frames_trimmed=75,
)
DECISIONS: list[Decision] = [
    decision(stop=125, status="accepted", reason=None, clip_id="ab" * 8),
    decision(start=125, stop=325),
    decision(stop=600, status="quarantined", reason="truncated"),
]


def named(number: int, **changes: Any) -> ClipRecord:
    """A clip like no other, with values that no rule of a record has seen; scores among the others."""
    scores = {name: changes.pop(name) for name in list(changes) if name in SCORE_NAMES}
    own = {
        "clip_id": f"{number:016x}",
        "clip_path": f"clips/{number}.mp4",
        "start_frame": 1,
        "stop_frame": 1000 + number,
    }
    record = clip(**{name: own[name] for name in own})
    scores = {"quality_backend": "piqe-pyiqa0.1", "longest_repeat_frames": 0} | scores
    return record.model_copy(update=changes | {"scores": replace(record.scores, **scores)})


def of_values(result: ContractResult) -> list[Check]:
    """The checks that fail, but for those of names: no decision is about the clips made here."""
    return [check for check in result.failures if check.table != "references"]


AT_THE_BOUND: list[dict[str, Any]] = [
    {"source": "1", "num_frames": 125, "seconds": 5.0, "loudness_dbfs": -50.0, "detected_fraction": 0.3},
    {"source": "2", "num_frames": 250, "seconds": 10.0, "loudness_dbfs": 3.1, "detected_fraction": 1.0},
    {"source": "3", "face_height_px": 64.0, "sync_distance": 0.0, "sync_confidence": 3.0, "split": "val"},
    {"source": "4", "av_offset_measured": -6, "av_offset_remaining": 0, "stop_frame": 2},
    {"source": "5", "av_offset_measured": 6, "split": "train", "identity": None, "licence": None},
    {
        "source": "6",
        "speech_share": 0.2,
        "yaw_deg": 50.0,
        "lips_outside": 0.1,
        "quality": 85.0,
        "pitch_deg": 40.0,
    },
    {
        "source": "7",
        "speech_share": 1.0,
        "longest_repeat_frames": 12,
        "repeated_fraction": 0.3,
        "yaw_deg": 0.0,
        "pitch_deg": -40.0,
    },
]
BEYOND: list[tuple[str, str, list[Any]]] = [
    ("expect_column_values_to_be_between", "num_frames", [124, 251]),
    ("expect_column_values_to_be_between", "seconds", [4.96, 10.04]),
    ("expect_column_values_to_be_between", "loudness_dbfs", [-50.1, 3.2]),
    ("expect_column_values_to_be_between", "detected_fraction", [0.29, 1.01]),
    ("expect_column_values_to_be_between", "absent_frames", [-1, 1]),
    ("expect_column_values_to_be_between", "face_height_px", [63.9]),
    ("expect_column_values_to_be_between", "sync_distance", [-0.1]),
    ("expect_column_values_to_be_between", "sync_confidence", [2.9]),
    ("expect_column_values_to_be_between", "av_offset_measured", [-7, 7]),
    ("expect_column_values_to_be_between", "av_offset_remaining", [-1, 1]),
    ("expect_column_values_to_be_between", "speech_share", [0.19, 1.01]),
    ("expect_column_values_to_be_between", "yaw_deg", [-1.0, 50.1]),
    ("expect_column_values_to_be_between", "pitch_deg", [-40.1, 40.1]),
    ("expect_column_values_to_be_between", "lips_outside", [-0.1, 0.11]),
    ("expect_column_values_to_be_between", "longest_repeat_frames", [-1, 13]),
    ("expect_column_values_to_be_between", "repeated_fraction", [-0.1, 0.31]),
    ("expect_column_values_to_be_between", "quality", [85.1]),
    ("expect_column_values_to_be_in_set", "num_lossy_encodes", [0, 2]),
    ("expect_column_values_to_be_in_set", "split", ["dev"]),
    ("expect_column_values_to_match_regex", "clip_id", ["xyz", "ABCDEF0123456789", "0" * 17]),
    ("expect_column_values_to_match_regex", "source_sha256", ["ab", "g" * 64]),
]


@pytest.fixture(scope="module")
def broken() -> ContractResult:
    """Every bound broken by rows of its own, beside rows at the bounds."""
    rows = [named(number, **changes) for number, changes in enumerate(AT_THE_BOUND)]
    for _, column, values in BEYOND:
        for value in values:
            rows.append(named(len(rows), **({"source": f"s{len(rows)}"} | {column: value})))
    rows.append(named(len(rows), source="backwards", stop_frame=1))
    rows.append(named(len(rows), source="nothing", quality=None, sync_backend=None))
    rows.append(named(len(rows), source="same id", clip_id=f"{0:016x}"))
    rows.append(named(len(rows), source="same path", clip_path="clips/0.mp4"))
    rows.append(named(len(rows), source="1"))
    return check_contract(rows, DECISIONS, BALANCE, SETTINGS)


def test_rows_beyond_a_bound_break_the_check_of_their_column(broken: ContractResult) -> None:
    failed = {(c.expectation, c.column): (c.num_unexpected, set(c.examples)) for c in of_values(broken)}
    expected: dict[tuple[str, str | None], tuple[int, set[str]]] = {
        (expectation, column): (len(values), {str(value) for value in values})
        for expectation, column, values in BEYOND
    }
    pair = failed.pop(("expect_column_pair_values_a_to_be_greater_than_b", "stop_frame, start_frame"))
    assert pair[0] == 1
    assert failed.pop(("expect_compound_columns_to_be_unique", None))[0] == 2
    expected |= {
        ("expect_column_values_to_be_unique", "clip_id"): (2, {f"{0:016x}"}),
        ("expect_column_values_to_be_unique", "clip_path"): (2, {"clips/0.mp4"}),
        ("expect_column_values_to_not_be_null", "quality"): (
            1,
            failed["expect_column_values_to_not_be_null", "quality"][1],
        ),
        ("expect_column_values_to_not_be_null", "sync_backend"): (
            1,
            failed["expect_column_values_to_not_be_null", "sync_backend"][1],
        ),
    }
    assert failed == expected
    assert not broken.success
    assert broken.num_failed == len(broken.failures) == len(BEYOND) + 6 + 1
    assert broken.num_checks == len(broken.checks)


def test_every_check_says_what_it_expects(broken: ContractResult) -> None:
    told = {
        (c.expectation.removeprefix("expect_"), c.column): c.expected for c in broken.checks if c.expected
    }
    between, among, pattern = (
        "column_values_to_be_between",
        "column_values_to_be_in_set",
        "column_values_to_match_regex",
    )
    assert told == {
        (between, "absent_frames"): "max_value 0.0; min_value 0.0",
        (between, "av_offset_measured"): "max_value 6.0; min_value -6.0",
        (between, "detected_fraction"): "max_value 1.0; min_value 0.3",
        (between, "face_height_px"): "min_value 64.0",
        (between, "loudness_dbfs"): "max_value 3.1; min_value -50.0",
        (between, "num_frames"): "max_value 250.0; min_value 125.0",
        (between, "seconds"): "max_value 10.0; min_value 5.0",
        (between, "sync_confidence"): "min_value 3.0",
        (between, "sync_distance"): "min_value 0.0",
        (between, "av_offset_remaining"): "max_value 0.0; min_value 0.0",
        (between, "speech_share"): "max_value 1.0; min_value 0.2",
        (between, "yaw_deg"): "max_value 50.0; min_value 0.0",
        (between, "pitch_deg"): "max_value 40.0; min_value -40.0",
        (between, "lips_outside"): "max_value 0.1; min_value 0.0",
        (between, "mouth_likeness"): "min_value 0.45",
        (between, "longest_repeat_frames"): "max_value 12.0; min_value 0.0",
        (between, "repeated_fraction"): "max_value 0.3; min_value 0.0",
        (between, "quality"): "max_value 85.0",
        (among, "num_lossy_encodes"): "value_set 1",
        (among, "split"): "value_set train, val, test",
        (pattern, "clip_id"): "regex ^[0-9a-f]{16}$",
        (pattern, "source_sha256"): "regex ^[0-9a-f]{64}$",
    }
    required = {c.column for c in broken.checks if c.expectation == "expect_column_values_to_not_be_null"}
    assert required == set(arrow_schema(ClipRecord).names) - {
        "identity", "licence", "commercial_ok", "language", "consent", "dataset", "face_track", "face_box",
        "reference_81", "duplicate_of", "identity_from", "silences", "sound_notes",
    } - MAY_LACK  # fmt: skip
    tables = ["balance"] * 4 + ["manifest"] * (len(broken.checks) - 8)
    assert [c.table for c in broken.checks] == [*tables, "people", "references", "rights", "twins"]
    order = [(c.table, c.expectation, c.column or "", c.expected) for c in broken.checks]
    assert order == sorted(order)


def failures(clips: list[ClipRecord], facts: dict[str, SourceFacts] | None = None) -> list[tuple[str, str]]:
    """The checks on people and rights that do not hold, and what breaks them."""
    found = check_contract(clips, DECISIONS, BALANCE, SETTINGS, facts)
    return [
        (c.table, example)
        for c in found.failures
        if c.table in ("people", "rights")
        for example in c.examples
    ]


def test_nobody_may_be_in_two_splits() -> None:
    people = [
        ("anna", "train"),
        ("anna", "train"),
        ("ben", "test"),
        (None, "train"),
        (None, "test"),
        ("carl", "val"),
    ]
    clips = [named(i, identity=person, split=split) for i, (person, split) in enumerate(people)]
    assert failures(clips) == []
    leaks = [named(6, identity="ben", split="val"), named(7, identity="anna", split="test")]
    assert failures(clips + leaks) == [
        ("people", "anna is in test and train"),
        ("people", "ben is in test and val"),
    ]


def test_a_right_that_the_licence_excludes_may_not_be_claimed() -> None:
    facts = {
        "a.mp4": SourceFacts(licence="CC-BY-NC-4.0", commercial_ok=True),
        "b.mp4": SourceFacts(licence="CC-BY-NC-4.0", commercial_ok=False),
        "c.mp4": SourceFacts(licence="CC-BY-4.0", commercial_ok=True),
        "d.mp4": SourceFacts(licence="CC-BY-4.0", commercial_ok=False),  # a person may not have consented
        "e.mp4": SourceFacts(commercial_ok=True),
    }
    message = "a.mp4: commercial_ok is true, but its licence is CC-BY-NC-4.0"
    assert failures([named(0)], facts) == [("rights", message)]
    assert failures([named(0)], {f"{letter}.mp4": facts[f"{letter}.mp4"] for letter in "bcde"}) == []


def test_without_the_sync_filter_nothing_is_promised_about_sync_and_the_run_is_quiet(
    broken: ContractResult, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GX_ANALYTICS_ENABLED")
    place = {"clip_id": "ab" * 8, "start_frame": 0, "stop_frame": 125}
    rows = [named(0, **place, sync_confidence=0.0, av_offset_measured=15, av_offset_remaining=3)]
    loose = check_contract(rows, DECISIONS, BALANCE, SETTINGS.model_copy(update={"sync_filter": False}))
    assert (loose.success, loose.num_failed, loose.failures) == (True, 0, ())
    assert loose.num_checks == broken.num_checks - 3
    assert capfd.readouterr() == ("", ""), "no progress bars, no warnings"
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        assert logging.getLogger(name).level == logging.ERROR


def test_the_books_are_those_of_all_decisions() -> None:
    books = _books(BALANCE, DECISIONS)
    assert books["sources_out"] == 1 + 2 + 3
    assert books["frames_out"] == 125 + 200 + 600 + 75
    assert (books["accepted_decisions"], books["accepted_frames_decided"]) == (1, 125)
    assert (books["sources_in"], books["frames_in"], books["clips"], books["frames_accepted"]) == (
        6,
        1000,
        1,
        125,
    )


def test_books_that_do_not_balance_break_the_contract() -> None:
    wrong = replace(BALANCE, sources_in=7, frames_in=999, clips=2, frames_accepted=124)
    result = check_contract([], DECISIONS, wrong, SETTINGS)
    assert [(c.table, c.column) for c in of_values(result)] == [
        ("balance", "clips, accepted_decisions"),
        ("balance", "frames_accepted, accepted_frames_decided"),
        ("balance", "frames_in, frames_out"),
        ("balance", "sources_in, sources_out"),
    ]
    assert {check.num_unexpected for check in result.failures} == {1}
    assert (result.success, result.num_failed) == (False, 5)


def broken_names(clips: list[ClipRecord], decisions: list[Decision], **others: str) -> list[str]:
    found = check_contract(clips, decisions, BALANCE, SETTINGS, others=others)
    return [example for check in found.failures if check.table == "references" for example in check.examples]


def test_every_name_leads_to_what_it_names() -> None:
    one, two = (
        clip(clip_id="ab" * 8, start_frame=0, stop_frame=125),
        clip(clip_id="cd" * 8, start_frame=125, stop_frame=250, duplicate_of="ab" * 8),
    )
    rows = [
        decision(stop=125, status="accepted", reason=None, clip_id="ab" * 8),
        decision(
            start=125, stop=250, status="accepted", reason=None, clip_id="cd" * 8, duplicate_of="ab" * 8
        ),
        decision("copy.mp4", reason="duplicate", duplicate_of="a.mp4"),
        decision("b.mp4", reason="near_duplicate", duplicate_of="of-another-set"),
    ]
    assert broken_names([one, two], rows, **{"of-another-set": "test"}) == []
    assert broken_names([one, two], rows) == ["b.mp4 repeats of-another-set, which is not there"]
    assert broken_names([two], rows[:3]) == [
        f"the accepted clip {one.clip_id} is not in the manifest",
        f"a.mp4 repeats {one.clip_id}, which is not there",
        f"a.mp4 repeats {one.clip_id}, which is not there",
    ]
    assert broken_names([one, two], [rows[1]]) == [
        f"clip {one.clip_id} of the manifest was accepted by no decision"
    ]
    assert broken_names([one], [rows[0].model_copy(update={"start_frame": 1})]) == [
        f"clip {one.clip_id} is another piece in the decisions"
    ]
    assert broken_names([], [rows[2].model_copy(update={"duplicate_of": "gone.mp4"})]) == [
        "copy.mp4 repeats gone.mp4, which is not there"
    ]


def test_an_entry_of_the_validator_becomes_a_check() -> None:
    config = {
        "type": "expect_x",
        "kwargs": {"column": "c", "batch_id": "b", "z": [1, 2], "a": None, "column_list": ["c"], "m": 3},
    }
    entry = {
        "expectation_config": config,
        "success": False,
        "result": {"partial_unexpected_list": [1, 2, 3, 4, 5, 6], "unexpected_count": 6},
    }
    assert _check("t", entry) == Check(
        table="t",
        expectation="expect_x",
        column="c",
        expected="m 3; z 1, 2",
        success=False,
        num_unexpected=6,
        examples=("1", "2", "3", "4", "5"),
    )
    table = {"type": "expect_y", "kwargs": {"column_B": "b", "column_A": "a"}}
    seen = {"expectation_config": table, "success": False, "result": {"observed_value": ["x", "y"]}}
    found = _check("t", seen)
    assert (found.column, found.expected, found.num_unexpected, found.examples) == (
        "a, b",
        "",
        1,
        ("['x', 'y']",),
    )
    assert _check("t", seen | {"success": True}).examples == ()
    bare = _check("t", {"expectation_config": {"type": "e", "kwargs": {}}, "success": True})
    assert (bare.column, bare.num_unexpected, bare.examples, bare.success) == (None, 0, (), True)


def test_long_expectations_are_cut() -> None:
    assert _short("x" * 60) == "x" * 60
    assert _short("x" * 61) == "x" * 57 + "..."
    assert _short(["a", 1]) == "a, 1"


LIMITED = [measure for measure in MEASURES if measure.setting is not None or measure.fixed is not None]


def test_every_limit_of_curation_is_one_of_the_table() -> None:
    """A setting that rejects stored scores and is no limit of a score would be checked nowhere."""
    thresholds = {
        name
        for name, field in CurationSettings.model_fields.items()
        if (told := field.json_schema_extra) and str(told["decides"]).startswith("reject reason")  # type: ignore[call-overload,index]
    }
    assert thresholds == {measure.setting for measure in LIMITED if measure.setting is not None}
    assert len(LIMITED) == 15


@pytest.mark.parametrize(("scorer", "worse"), [("piqe", 1), ("hyperiqa", -1)])
def test_a_row_on_the_wrong_side_of_any_limit_breaks_the_contract(scorer: str, worse: int) -> None:
    """One row for each side of each limit; a limit that the table gains is checked here without being named."""
    settings = CurationSettings(quality=scorer)
    signs = {
        Direction.HIGHER: [-1],
        Direction.LOWER: [1],
        Direction.ZERO: [-1, 1],
        Direction.UNKNOWN: [worse],
    }
    rated = {"quality_backend": f"{scorer}-1", "quality": settings.quality_threshold}
    rows, expected = [], {}
    for measure in LIMITED:
        limit = limit_of(measure, settings.model_dump())
        assert limit is not None
        whole = isinstance(getattr(named(0).scores, measure.score), int)
        near, step = (int(limit), 1) if whole else (limit, 0.01)
        for sign in signs[measure.direction]:
            at = near * sign if measure.direction is Direction.ZERO else near
            for value in (at, at + sign * step):
                rows.append(named(len(rows), source=f"s{len(rows)}", **rated | {measure.score: value}))
        expected[measure.score] = len(signs[measure.direction])
    found = check_contract(rows, DECISIONS, BALANCE, settings)
    assert {check.column: check.num_unexpected for check in of_values(found)} == expected


def test_the_limit_of_an_unknown_scorer_has_no_side() -> None:
    assert "quality" in score_bounds(CurationSettings())
    assert "quality" not in score_bounds(CurationSettings(), ["detail-v1"])
    assert score_bounds(CurationSettings(), ["detail-v1", "hyperiqa-2"])["quality"] == (85.0, None)
