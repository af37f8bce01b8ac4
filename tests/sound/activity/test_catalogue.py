"""The table of voice activity detectors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sound.activity.catalogue import ACTIVITY_DETECTORS, load_activity
from lipforcing_core.sound.activity.protocol import ActivityRule


def test_unknown_detector_names_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="unknown voice activity detector 'webrtc'; known: silero"):
        load_activity("webrtc")


def test_each_is_loaded_by_its_name_and_says_which_it_is() -> None:
    rule = ActivityRule(enter=0.7)
    for entry in ACTIVITY_DETECTORS:
        detector = load_activity(entry.name, rule=rule)
        assert detector.backend_id.startswith(entry.name)


def test_an_absent_package_is_named() -> None:
    entry = ACTIVITY_DETECTORS["silero"]
    assert entry.lacks == ""
    assert replace(entry, module="silero_vad_of_nobody").lacks == "the package silero-vad"
