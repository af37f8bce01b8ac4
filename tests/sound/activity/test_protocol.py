"""From probabilities to stretches of speech: values worked out by hand, with hops of a tenth of a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipforcing_core.media import clock
from lipforcing_core.sound.activity.protocol import ActivityRule, SpeechActivity, speaks_N
from lipforcing_core.sound.rate import SAMPLE_RATE

HOP = 1600
RULE = ActivityRule(enter=0.5, leave=0.35, min_silence_s=0.2, min_speech_s=0.3)


def activity(*probabilities: float, num_samples: int | None = None) -> SpeechActivity:
    values = np.array(probabilities, dtype=np.float32)
    length = len(values) * HOP if num_samples is None else num_samples
    return SpeechActivity(probability_N=values, hop=HOP, num_samples=length, rule=RULE)


def hops(stretches: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(start / HOP, stop / HOP) for start, stop in stretches]


def test_the_rate_is_that_of_the_house() -> None:
    assert SAMPLE_RATE == clock.SAMPLE_RATE


def test_speech_is_entered_above_one_threshold_and_left_below_another() -> None:
    probabilities = np.array([0.4, 0.49, 0.5, 0.4, 0.35, 0.34, 0.49, 0.9, 0.1], dtype=np.float64)
    assert speaks_N(probabilities, RULE).tolist() == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
        True,
        False,
    ]


def test_speech_and_silence_share_the_sound() -> None:
    found = activity(0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0)
    assert hops(found.speech) == [(2, 6), (9, 13)]
    assert hops(found.silences) == [(0, 2), (6, 9), (13, 14)]
    assert found.speech_share == pytest.approx(8 / 14)
    assert np.flatnonzero(np.diff(found.speaks_S().astype(int), prepend=0)).tolist() == [
        2 * HOP,
        6 * HOP,
        9 * HOP,
        13 * HOP,
    ]


def test_a_short_silence_is_none() -> None:
    assert hops(activity(1, 1, 1, 0, 1, 1, 1).speech) == [(0, 7)]
    assert hops(activity(1, 1, 1, 1, 0, 0, 1, 1, 1, 1).speech) == [(0, 4), (6, 10)]


def test_short_speech_is_none_and_the_silences_around_it_are_one() -> None:
    found = activity(0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1)
    assert hops(found.speech) == [(7, 11)]
    assert hops(found.silences) == [(0, 7)]


def test_speech_that_is_cut_by_an_end_is_kept_however_short() -> None:
    found = activity(1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert hops(found.speech) == [(0, 1), (8, 9)]


def test_short_silences_are_closed_before_short_speech_is_dropped() -> None:
    assert hops(activity(0, 1, 1, 0, 1, 1, 0).speech) == [(1, 6)]


def test_all_and_nothing() -> None:
    assert (activity(1, 1, 1, 1).silences, activity(1, 1, 1, 1).speech_share) == ([], 1.0)
    assert hops(activity(0, 0, 0).silences) == [(0, 3)]
    assert activity(0, 0, 0).speech_share == 0.0


def test_an_empty_sound() -> None:
    found = activity()
    assert (found.speech, found.silences, found.speech_share) == ([], [], 0.0)
    assert len(found.speaks_S()) == 0


def test_the_last_hop_ends_with_the_sound() -> None:
    found = activity(0, 1, 1, 1, 1, num_samples=4 * HOP + 100)
    assert found.speech == [(HOP, 4 * HOP + 100)]
    assert found.silences == [(0, HOP)]


def test_another_rule_decides_anew() -> None:
    found = activity(0.4, 0.4, 0.4, 0.4)
    assert found.speech == []
    assert hops(replace(found, rule=replace(RULE, enter=0.4)).speech) == [(0, 4)]
