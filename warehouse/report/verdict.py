"""The headline in plain words: what the stored scores and paired differences say, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from warehouse.report.context import Question
from warehouse.report.data import ReportData, Row, same_ground


class Tone(StrEnum):
    """How the evidence falls."""

    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The system against one baseline on the same clips; ``verdict`` as in the view stage_effects."""

    baseline: str
    score: Row
    difference: Row | None

    @property
    def verdict(self) -> str:
        return (self.difference or {}).get("verdict") or "not measured"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One metric by one backend: the system's score and its comparisons with the two baselines."""

    metric_label: str
    backend: str
    score: Row
    comparisons: Sequence[Comparison]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The headline, its tone, and the findings it rests on."""

    tone: Tone
    headline: str
    findings: Sequence[Finding]


def judge(data: ReportData, question: Question) -> Verdict:
    """Answer the headline question. Never claims more than intervals that exclude zero."""
    main = _findings(data, question, question.metric)
    independent = _findings(data, question, question.independent_metric)
    main_verdicts = [c.verdict for finding in main for c in finding.comparisons]
    check_verdicts = [c.verdict for finding in independent for c in finding.comparisons]
    tone, headline = _headline(main_verdicts, check_verdicts)
    return Verdict(tone=tone, headline=headline, findings=[*main, *independent])


def stage_effects(effects: Sequence[Row], stage_pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Paired differences of the named pairs, first minus second, in their order; all where none are named."""
    if not stage_pairs:
        return list(effects)
    found = []
    for a, b in stage_pairs:
        found += [row for row in effects if (row["system_a"], row["system_b"]) == (a, b)]
        found += [_flipped(row) for row in effects if (row["system_b"], row["system_a"]) == (a, b)]
    return found


def setbacks(effects: Sequence[Row], stage_pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Paired differences whose interval says that the first system is worse; all pairs where none are named."""
    return [row for row in stage_effects(effects, stage_pairs) if row["verdict"] == "worse"]


def blur_notes(
    effects: Sequence[Row], scores: Sequence[Row], stage_pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """A sentence for each pair in which the system that is measurably behind in the SSIM of the mouth draws it sharper.

    SSIM compares pixels at the same place, so it rewards the average of all that could be there, which is a blur. Said
    only where the paired difference in sharpness has an interval that excludes zero, and of no control: a system that
    was driven by other speech is behind for the wrong mouth, and a copied source for the wrong words.
    """
    sharpness = {_place(row): row for row in scores if row["metric"] == "mouth_sharpness"}
    flipped = [_flipped(row) for row in stage_effects(effects, stage_pairs)]
    notes = []
    for row in [*setbacks(effects, stage_pairs), *(row for row in flipped if row["verdict"] == "worse")]:
        first, second = (
            sharpness.get(_place({**row, "system": row[name]})) for name in ("system_a", "system_b")
        )
        if row["metric"] != "mouth_ssim" or first is None or second is None:
            continue
        if (
            "control" not in (first["kind"], second["kind"])
            and first["value"] <= 1
            and _is_sharper(row, effects)
        ):
            notes.append(
                f"{row['label_a']} is behind {row['label_b']} in {row['metric_label']}, and draws the mouth with "
                f"{first['value']:.2f} of the truth's sharpness where the other has {second['value']:.2f}: "
                "SSIM rewards blur."
            )
    return notes


def _is_sharper(row: Row, effects: Sequence[Row]) -> bool:
    """Whether the first system of a pair draws a sharper mouth than the second, by an interval above zero."""
    return any(
        other["metric"] == "mouth_sharpness"
        and all(other[name] == row[name] for name in ("dataset_id", "protocol_id", "system_a", "system_b"))
        and other["ci_low"] is not None
        and other["ci_low"] > 0
        for other in [*effects, *map(_flipped, effects)]
    )


def _place(row: Row) -> tuple[str, str, str]:
    return row["dataset_id"], row["protocol_id"], row["system"]


def _headline(main: list[str], check: list[str]) -> tuple[Tone, str]:
    if not main or "not measured" in main:
        return Tone.UNKNOWN, "This run did not measure whether the lips follow new audio."
    if all(verdict == "better" for verdict in main):
        if check and all(verdict == "better" for verdict in check):
            return Tone.GOOD, "The lips follow new audio, and a measure without any network agrees."
        if not check or "not measured" in check:
            return Tone.MIXED, "The lips follow new audio; no independent measure was taken to confirm it."
        return (
            Tone.MIXED,
            "The sync score says the lips follow new audio, but the independent measure does not agree.",
        )
    if all(verdict == "worse" for verdict in main):
        return Tone.BAD, "The lips follow the new audio less than the baselines do."
    if "better" in main:
        return Tone.MIXED, "Only part of the evidence shows that the lips follow new audio."
    return Tone.BAD, "This run does not show that the lips follow new audio."


def _findings(data: ReportData, question: Question, metric: str) -> list[Finding]:
    """One finding for each data set, protocol and backend the system was scored with."""
    findings = []
    for score in data.scores:
        if score["metric"] != metric or score["system"] != question.system:
            continue
        comparisons = [
            Comparison(baseline=baseline, score=other, difference=_difference(data.effects, score, baseline))
            for baseline in (question.copied, question.unrelated)
            for other in data.scores
            if other["system"] == baseline and same_ground(other, score)
        ]
        findings.append(
            Finding(
                metric_label=score["metric_label"],
                backend=score["backend"],
                score=score,
                comparisons=comparisons,
            )
        )
    return [finding for finding in findings if len(finding.comparisons) == 2] or findings


def _difference(effects: Sequence[Row], score: Row, baseline: str) -> Row | None:
    for row in effects:
        if not same_ground(row, score):
            continue
        if (row["system_a"], row["system_b"]) == (score["system"], baseline):
            return row
        if (row["system_b"], row["system_a"]) == (score["system"], baseline):
            return _flipped(row)
    return None


def _flipped(row: Row) -> Row:
    opposite = {"better": "worse", "worse": "better"}
    return {
        **row,
        "system_a": row["system_b"],
        "system_b": row["system_a"],
        "label_a": row["label_b"],
        "label_b": row["label_a"],
        "difference": -row["difference"],
        "ci_low": None if row["ci_high"] is None else -row["ci_high"],
        "ci_high": None if row["ci_low"] is None else -row["ci_low"],
        "verdict": opposite.get(row["verdict"], row["verdict"]),
    }
