"""Every setting of curation says which step or reject reason it decides, and the thresholds decide what they say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.describe import describe
from lipforcing_core.curation.decide import (
    Verdict,
    judge_face,
    judge_quality,
    judge_sound,
    judge_sync,
    no_face,
)
from lipforcing_core.curation.reasons import RejectReason, Step
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import QualityResult, SyncResult
from lipforcing_core.curation.settings import CurationSettings

SETTINGS = {setting.name: setting for setting in describe(CurationSettings)}
GOOD = Scores(
    loudness_dbfs=-20.0,
    speech_share=0.8,
    detected_fraction=0.9,
    absent_frames=0,
    face_height_px=90.0,
    num_faces=1,
    yaw_deg=20.0,
    pitch_deg=-15.0,
    lips_outside=0.05,
    mouth_likeness=0.75,
    longest_repeat_frames=5,
    repeated_fraction=0.2,
)
SYNC = SyncResult(
    offset_measured=3,
    offset_applied=3,
    offset_remaining=0,
    confidence=7.0,
    distance=6.5,
    confidence_before=4.0,
    backend="b",
    audio_sha256="",
)
QUALITY = QualityResult(value=50.0, backend="b", higher_is_better=False)


def verdicts(**changes: Any) -> list[str]:
    """What the decisions say of a good piece under settings that differ from the defaults."""
    settings = CurationSettings(**changes)
    judged: list[Verdict | None] = [
        judge_sound(GOOD, settings),
        judge_face(GOOD, settings),
        judge_sync(SYNC, settings),
        judge_quality(QUALITY, settings),
    ]
    return [verdict.reason.value for verdict in judged if verdict]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_names_steps_and_reasons_that_there_are(name: str) -> None:
    told = SETTINGS[name].decides
    step = re.search(r"step (\w+)", told)
    reasons = re.search(r"reject reasons? ([\w, ]+)", told)
    assert step or reasons or told == "the contract", f"{name} does not say what it decides"
    assert (told == "the contract") == name.startswith("drift")
    if step:
        assert step[1] in set(Step)
    for reason in reasons[1].split(", ") if reasons else ():
        assert reason in set(RejectReason)


def test_every_number_has_a_unit() -> None:
    assert [s.name for s in SETTINGS.values() if s.type.split(",")[0].endswith("number") and not s.unit] == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("silence_dbfs", -10.0, "silent_audio"),
        ("min_speech_share", 0.9, "no_speech"),
        ("min_face_height_px", 100.0, "face_too_small"),
        ("max_yaw_deg", 19.0, "turned_away"),
        ("max_pitch_deg", 14.0, "turned_up_or_down"),
        ("max_lips_outside", 0.04, "lips_cut_off"),
        ("max_repeat_frames", 4, "frozen_picture"),
        ("max_repeated_fraction", 0.1, "repeated_frames"),
        ("min_mouth_likeness", 0.8, "occluded"),
        ("sync_confidence_min", 8.0, "sync_confidence_low"),
        ("max_abs_offset_frames", 2, "av_offset_too_large"),
        ("quality_threshold", 40.0, "quality_low"),
    ],
)
def test_a_threshold_gives_the_reason_that_it_names(name: str, value: float, reason: str) -> None:
    assert verdicts() == []
    assert verdicts(**{name: value}) == [reason]
    assert SETTINGS[name].decides == f"reject reason {reason}"


def test_absent_frames_and_the_sync_filter_decide_what_they_say() -> None:
    lost = replace(GOOD, absent_frames=3)
    verdict = judge_face(lost, CurationSettings())
    assert verdict is not None
    assert verdict.reason.value in SETTINGS["max_absent_frames"].decides
    assert judge_face(lost, CurationSettings(max_absent_frames=3)) is None
    assert no_face(GOOD, CurationSettings()).reason.value in SETTINGS["min_detected_fraction"].decides
    assert verdicts(sync_confidence_min=8.0, sync_filter=False) == []
    assert "sync_confidence_low" in SETTINGS["sync_filter"].decides


def test_the_command_prints_name_default_unit_meaning_and_what_is_decided() -> None:
    printed = CliRunner().invoke(app, ["settings", "curation"]).output
    for setting in SETTINGS.values():
        block = printed[printed.index(f"{setting.name} = ") :].splitlines()
        assert block[0].endswith(f"  {setting.unit}" if setting.unit else block[0][-1])
        assert block[1].strip().startswith(setting.meaning)
        assert block[2].strip() == f"decides {setting.decides}"
    commented = CliRunner().invoke(app, ["settings", "curation", "--toml"]).output.replace("\n## ", " ")
    assert "Unit: seconds. Decides step read; reject reason too_short. Values: number" in commented
