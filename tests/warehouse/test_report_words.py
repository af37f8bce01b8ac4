"""The report's tables and its verdict from rows made by hand, and the numbers on its page."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from warehouse.report.build import duration, interval, number, signed, significant, words
from warehouse.report.context import Question
from warehouse.report.data import ReportData
from warehouse.report.tables import comparable_scores, metric_tables, pareto_points, stage_times
from warehouse.report.verdict import Tone, blur_notes, judge, setbacks, stage_effects

GROUND = {"dataset_id": "d", "protocol_id": "p", "backend": "b"}


def data(**rows: Any) -> ReportData:
    """What a warehouse would say; nothing but ``rows``."""
    empty: dict[str, Any] = {field.name: [] for field in fields(ReportData)}
    return ReportData(**(empty | {"run": {}} | rows))


def score(system: str, metric: str = "sync_c", value: float = 1.0, **changes: Any) -> dict[str, Any]:
    row = {
        **GROUND, "system": system, "metric": metric, "value": value, "kind": "student", "label": system.upper(),
        "metric_label": metric.upper(), "unit": None, "higher_is_better": True, "published_name": None,
        "num_vectors": None, "paper_table": "main_hdtf",
    }  # fmt: skip
    return row | changes


def effect(a: str, b: str, verdict: str, metric: str = "sync_c", **changes: Any) -> dict[str, Any]:
    row = {
        **GROUND, "system_a": a, "system_b": b, "label_a": a.upper(), "label_b": b.upper(), "metric": metric,
        "metric_label": metric.upper(), "difference": 0.5, "ci_low": 0.25, "ci_high": 1.0, "verdict": verdict,
    }  # fmt: skip
    return row | changes


QUESTION = Question(
    system="ours",
    copied="source",
    unrelated="other",
    metric="sync_c",
    independent_metric="lips",
    quality_metric="ssim",
)


def verdicts_of(
    main: tuple[str | None, str | None], check: tuple[str | None, str | None] | None
) -> ReportData:
    """Scores of all three systems, and how ours fares against the two baselines; None: not compared."""
    scores, effects = [], []
    for metric, given in (("sync_c", main), ("lips", check)):
        if given is None:
            continue
        scores += [score(system, metric) for system in ("ours", "source", "other")]
        for baseline, verdict in zip(("source", "other"), given, strict=True):
            if verdict is not None:
                effects.append(effect("ours", baseline, verdict, metric))
    return data(scores=scores, effects=effects)


NOT_SEEN = "This run did not measure whether the lips follow new audio."
PART = "Only part of the evidence shows that the lips follow new audio."


@pytest.mark.parametrize(
    ("main", "check", "tone", "headline"),
    [
        (("better", "better"), ("better", "better"), Tone.GOOD,
         "The lips follow new audio, and a measure without any network agrees."),
        (("better", "better"), ("better", "worse"), Tone.MIXED,
         "The sync score says the lips follow new audio, but the independent measure does not agree."),
        (("better", "better"), ("better", None), Tone.MIXED,
         "The lips follow new audio; no independent measure was taken to confirm it."),
        (("better", "better"), None, Tone.MIXED,
         "The lips follow new audio; no independent measure was taken to confirm it."),
        (("worse", "worse"), ("better", "better"), Tone.BAD,
         "The lips follow the new audio less than the baselines do."),
        (("worse", "better"), ("better", "better"), Tone.MIXED, PART),
        (("better", "not separated"), ("better", "better"), Tone.MIXED, PART),
        (("worse", "not separated"), None, Tone.BAD, "This run does not show that the lips follow new audio."),
        (("not separated", "not separated"), ("better", "better"), Tone.BAD,
         "This run does not show that the lips follow new audio."),
        (("better", None), ("better", "better"), Tone.UNKNOWN, NOT_SEEN),
        ((None, None), ("better", "better"), Tone.UNKNOWN, NOT_SEEN),
    ],
)  # fmt: skip
def test_the_headline_says_what_the_intervals_say(
    main: tuple[str | None, str | None],
    check: tuple[str | None, str | None] | None,
    tone: Tone,
    headline: str,
) -> None:
    found = judge(verdicts_of(main, check), QUESTION)
    assert (found.tone, found.headline) == (tone, headline)
    expected = [verdict or "not measured" for verdict in (*main, *(check or ()))]
    assert [c.verdict for finding in found.findings for c in finding.comparisons] == expected


def test_a_finding_compares_only_on_its_own_ground() -> None:
    scores = [
        score("source", value=3.0, backend="c"),
        score("ours", value=5.0),
        score("other", value=1.0),
        score("source", value=2.0),
        score("ours", value=9.0, backend="c"),
        score("ours", value=7.0, metric="ssim"),
    ]
    effects = [
        effect("ours", "source", "worse", backend="c"),
        effect("other", "source", "worse"),
        effect("ours", "other", "not separated"),
        effect("source", "ours", "worse"),
    ]
    found = judge(data(scores=scores, effects=effects), QUESTION)
    (finding,) = found.findings
    assert (finding.metric_label, finding.backend, finding.score["value"]) == ("SYNC_C", "b", 5.0)
    assert [(c.baseline, c.score["value"], c.verdict) for c in finding.comparisons] == [
        ("source", 2.0, "better"),
        ("other", 1.0, "not separated"),
    ]
    turned = finding.comparisons[0].difference
    assert turned is not None
    assert (turned["difference"], turned["ci_low"], turned["ci_high"]) == (-0.5, -1.0, -0.25)
    assert (turned["system_a"], turned["label_a"], turned["label_b"]) == ("ours", "OURS", "SOURCE")


def test_findings_with_one_baseline_count_where_none_has_both() -> None:
    scores = [score("ours"), score("source"), score("ours", backend="c")]
    found = judge(data(scores=scores, effects=[effect("ours", "source", "better")]), QUESTION)
    assert [[c.baseline for c in finding.comparisons] for finding in found.findings] == [["source"], []]
    assert found.tone is Tone.MIXED
    both = judge(data(scores=[*scores, score("other")], effects=[]), QUESTION)
    assert [len(finding.comparisons) for finding in both.findings] == [2]


@pytest.mark.parametrize("field", ["dataset_id", "protocol_id", "metric", "backend"])
def test_one_difference_in_the_ground_is_enough(field: str) -> None:
    scores = [score("ours"), score("source"), score("other", **{field: "else"})]
    (finding, *_) = judge(data(scores=scores), QUESTION).findings
    assert [c.baseline for c in finding.comparisons] == ["source"]


def test_pairs_are_told_in_their_order_and_direction() -> None:
    effects = [
        effect("c", "b", "worse"),
        effect("a", "b", "better", ci_low=None, ci_high=None),
        effect("x", "y", "worse"),
        effect("b", "c", "not separated", "fid"),
    ]
    assert stage_effects(effects, []) == effects
    told = stage_effects(effects, [("b", "a"), ("b", "c")])
    assert [(r["system_a"], r["system_b"], r["verdict"], r["difference"]) for r in told] == [
        ("b", "a", "worse", -0.5),
        ("b", "c", "not separated", 0.5),
        ("b", "c", "better", -0.5),
    ]
    assert (told[0]["ci_low"], told[0]["ci_high"], told[0]["label_a"], told[0]["label_b"]) == (
        None,
        None,
        "B",
        "A",
    )
    assert [(r["system_a"], r["system_b"]) for r in setbacks(effects, [("b", "a"), ("b", "c")])] == [
        ("b", "a")
    ]
    assert [(r["system_a"], r["system_b"]) for r in setbacks(effects, [])] == [("c", "b"), ("x", "y")]
    (half,) = stage_effects([effect("a", "b", "no direction", ci_low=None)], [("b", "a")])
    assert (half["ci_low"], half["ci_high"], half["verdict"]) == (-1.0, None, "no direction")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [(0.9, 0.5, True), (1.0, 0.5, True), (1.5, 0.5, False), (0.5, 0.5, False), (0.5, 0.9, False), (None, 0.5, False),
     (0.9, None, False)],
)  # fmt: skip
def test_a_loss_in_ssim_is_explained_by_a_sharper_mouth_alone(
    first: float | None, second: float | None, told: bool
) -> None:
    """What is sharper than the truth itself is noise and no excuse."""
    place = {"dataset_id": "d", "protocol_id": "p"}
    scores = [
        {**place, "system": system, "kind": "student", "metric": "mouth_sharpness", "value": value}
        for system, value in (("a", first), ("b", second))
        if value is not None
    ] + [{**place, "system": "a", "kind": "student", "metric": "fid", "value": 0.7}]
    difference = (first or 0.0) - (second or 0.0)
    bounds = {"difference": difference, "ci_low": difference - 0.01, "ci_high": difference + 0.01}
    sharper = effect("a", "b", "no direction", "mouth_sharpness", **bounds)
    notes = blur_notes([effect("a", "b", "worse", "mouth_ssim"), sharper], scores, [])
    assert notes == (
        [
            f"A is behind B in MOUTH_SSIM, and draws the mouth with {first:.2f} of the truth's sharpness where the "
            "other has 0.50: SSIM rewards blur."
        ]
        if told
        else []
    )
    assert blur_notes([effect("a", "b", "not separated", "mouth_ssim"), sharper], scores, []) == []
    assert blur_notes([effect("a", "b", "worse", "ssim"), sharper], scores, []) == []


def test_systems_stand_in_the_order_of_their_kinds() -> None:
    kinds = ["control", None, "peer", "student", "teacher", "truth"]
    scores = [score(str(kind), kind=kind) for kind in kinds]
    scores += [score("b", kind="student", label="B"), score("a", kind="student", label="A")]
    (table,) = metric_tables(data(scores=scores))
    assert [(row["kind"], row["label"]) for row in table.systems] == [
        ("truth", "TRUTH"),
        ("teacher", "TEACHER"),
        ("student", "A"),
        ("student", "B"),
        ("student", "STUDENT"),
        ("peer", "PEER"),
        (None, "NONE"),
        ("control", "CONTROL"),
    ]


def test_columns_stand_as_in_the_table_of_measures() -> None:
    published = {
        "fps_pipeline": "FPS", "old": "New", "fvd": "FVD", "fid": "FID", "sync_d": "Sync-D", "sync_c": "Sync-C",
        "csim": "CSIM", "ssim": "SSIM",
    }  # fmt: skip
    scores = [
        score("s", metric, published_name=name, metric_label=name, unit="u")
        for metric, name in published.items()
    ]
    scores += [score("s", "own", metric_label="Own"), score("s", "hue", metric_label="Hue")]
    scores += [score("s", "fps_pipeline", published_name="FPS", metric_label="FPS", backend="a", value=4.0)]
    (table,) = metric_tables(data(scores=scores))
    assert [(c.label, c.backend) for c in table.columns] == [
        ("SSIM", "b"), ("CSIM", "b"), ("Sync-C", "b"), ("Sync-D", "b"), ("FID", "b"), ("FVD", "b"), ("FPS", "a"),
        ("FPS", "b"), ("New", "b"),
    ]  # fmt: skip
    assert [column.label for column in table.others] == ["Hue", "Own"]
    first = table.columns[0]
    assert (first.metric, first.unit, first.higher_is_better, first.published_name) == (
        "ssim",
        "u",
        True,
        "SSIM",
    )
    assert table.cells["s", "fps_pipeline", "a"]["value"] == 4.0
    assert (table.dataset_id, table.protocol_id, table.notes) == ("d", "p", [])


def test_every_ground_has_a_table_of_its_own() -> None:
    scores = [
        score("s", dataset_id="d2", protocol_id="p1"),
        score("s", dataset_id="d1", protocol_id="p2", paper_table=None),
        score("t", dataset_id="d1", protocol_id="p2"),
        score("s", dataset_id="d1", protocol_id="p1"),
    ]
    tables = metric_tables(data(scores=scores))
    assert [(table.dataset_id, table.protocol_id) for table in tables] == [
        ("d1", "p1"),
        ("d1", "p2"),
        ("d2", "p1"),
    ]
    assert [table.comparable_with_paper for table in tables] == [True, False, True]
    assert [len(table.systems) for table in tables] == [1, 2, 1]


def test_published_rows_show_the_metrics_that_were_measured() -> None:
    def printed(method: str, metric: str, value: str, steps: int | None = None) -> dict[str, Any]:
        row = {"method": method, "variant": "big", "num_steps": steps, "metric": metric}
        return row | {"value_printed": value}

    rows = [
        printed("a", "FID", "1.0"),
        printed("a", "FVD", "2.0"),
        printed("b", "FVD", "3.0"),
        printed("c", "FID", "4.0", 4),
        printed("c", "FID", "5.0", 8),
    ]
    (table,) = metric_tables(data(scores=[score("s", "fid", published_name="FID")], published=rows))
    assert table.published == [
        {"method": "a", "variant": "big", "values": {"FID": "1.0"}},
        {"method": "c", "variant": "big", "values": {"FID": "4.0"}},
        {"method": "c", "variant": "big", "values": {"FID": "5.0"}},
    ]


def test_scores_that_may_be_compared_stand_best_first() -> None:
    scores = [score("a", value=1.0), score("b", value=3.0), score("c", value=2.0), score("d", backend="x")]
    found = comparable_scores(data(scores=scores), scores[0])
    assert [row["system"] for row in found] == ["b", "c", "a"]
    lower = [row | {"higher_is_better": False} for row in scores]
    assert [row["system"] for row in comparable_scores(data(scores=lower), lower[0])] == ["a", "c", "b"]
    for field in ("dataset_id", "protocol_id", "metric", "backend"):
        rows = [score("a"), score("b", **{field: "else"})]
        assert [row["system"] for row in comparable_scores(data(scores=rows), rows[0])] == ["a"]


def test_a_stage_is_reused_where_all_of_it_was() -> None:
    rows = [
        {"stage": "a", "item": "1", "wall_s": 1.5, "reused": True},
        {"stage": "a", "item": "2", "wall_s": 2.0, "reused": False},
        {"stage": "b", "item": "1", "wall_s": 4.0, "reused": True},
    ]
    assert [(t.stage, t.wall_s, t.reused) for t in stage_times(rows)] == [("a", 3.5, False), ("b", 4.0, True)]


def test_points_share_a_plot_where_everything_else_agrees() -> None:
    names = ("dataset_id", "protocol_id", "quality_backend", "speed_protocol_id", "speed_backend")
    base = {"origin": "measured", "quality_metric": "ssim"} | dict.fromkeys(names, "x")
    rows = [
        base | {"label": "1"},
        base | {"label": "2"},
        *(base | {name: "y", "label": name} for name in names),
    ]
    rows += [base | {"origin": "published", "label": "3"}, base | {"quality_metric": "fid", "label": "4"}]
    found = pareto_points(data(pareto=rows), origin="measured", metric="ssim")
    assert [[row["label"] for row in plot] for plot in found] == [["1", "2"], *([name] for name in names)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000.0, "1000"), (999.94, "999.9"), (100.0, "100.0"), (99.99, "99.99"), (1.0, "1.00"), (0.9994, "0.999"),
     (-1000.4, "-1000"), (-1.0, "-1.00")],
)  # fmt: skip
def test_a_number_has_three_or_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_difference_has_a_sign_and_an_interval_the_decimals_of_its_value() -> None:
    assert [signed(v) for v in (None, 1.0, 0.5, -2.0)] == ["-", "+1.00", "+0.500", "-2.00"]
    row = {"ci_low": 0.5, "ci_high": 1.25}
    assert interval(row | {"value": 100.0}) == "[0.5, 1.2]"
    assert interval(row | {"difference": 0.2}) == "[0.500, 1.250]"
    assert interval(row | {"value": 1.0, "difference": 0.2}) == "[0.50, 1.25]"
    assert interval({"ci_low": None, "ci_high": 1.0, "value": 1.0}) == ""
    assert interval({"ci_low": 1.0, "ci_high": None, "value": 1.0}) == ""
    assert interval({"value": 1.0}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (60.4, "1 min 00 s"), (61.0, "1 min 01 s"),
     (3599.0, "59 min 59 s"), (3600.0, "1 h 0 min"), (7260.0, "2 h 1 min"), (36610.0, "10 h 10 min")],
)  # fmt: skip
def test_a_duration_is_said_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_code_names_become_words() -> None:
    assert words("diffusion_forcing_loss") == "diffusion forcing loss"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-10, "2.00e-10"), (3.092e-05, "3.09e-05"), (-0.00041, "-0.000410"), (0.01297, "0.0130"), (0.5, "0.500"),
     (0.0, "0.000"), (1.2345, "1.23"), (213.72, "213.7"), (None, "-")],
)  # fmt: skip
def test_numbers_of_any_size_keep_their_digits(value: float | None, text: str) -> None:
    assert significant(value) == text
