"""Which sound track is taken: every case of the rule, with the answer that a person would give."""

from __future__ import annotations

import pytest

from lipforcing_core.sound.tracks import TrackFacts, choose_track


def speaking(index: int, *, default: bool = False) -> TrackFacts:
    return TrackFacts(index=index, is_default=default, loudness_dbfs=-25.0, speech_share=0.7)


def music(index: int, *, default: bool = False) -> TrackFacts:
    return TrackFacts(index=index, is_default=default, loudness_dbfs=-20.0, speech_share=0.0)


def silent(index: int, *, default: bool = False) -> TrackFacts:
    return TrackFacts(index=index, is_default=default, loudness_dbfs=None, speech_share=0.0)


CASES = [
    ([silent(1)], 1, "only"),
    ([silent(1), speaking(2, default=True)], 2, "default"),
    ([speaking(1), speaking(2, default=True)], 2, "default"),
    ([silent(1, default=True), speaking(2)], 2, "first_speaking"),
    ([music(1, default=True), speaking(2), speaking(3)], 2, "first_speaking"),
    ([music(1), music(2, default=True)], 2, "default"),
    ([music(1), silent(2, default=True)], 1, "first_sounding"),
    ([silent(1), silent(2, default=True)], 2, "default"),
    ([silent(1), music(2), speaking(3), speaking(4)], 3, "first_speaking"),
    ([silent(1), music(2), music(3)], 2, "first_sounding"),
    ([silent(3), silent(5)], 3, "first"),
    ([music(1, default=True), speaking(2, default=True), speaking(3)], 2, "default"),
]


@pytest.mark.parametrize(("tracks", "index", "why"), CASES)
def test_the_rule(tracks: list[TrackFacts], index: int, why: str) -> None:
    choice = choose_track(tracks)
    assert (choice.index, choice.why) == (index, why)


def test_words_name_the_default_that_was_passed_over() -> None:
    assert choose_track([silent(1, default=True), speaking(2)]).words == (
        "the first track with speech; track 1, flagged as default, is silent"
    )
    assert choose_track([music(1, default=True), speaking(2)]).words == (
        "the first track with speech; track 1, flagged as default, has no speech"
    )
    assert choose_track([music(1), speaking(2)]).words == "the first track with speech"


@pytest.mark.parametrize(("dbfs", "sounds"), [(-50.0, True), (-50.1, False), (None, False), (0.0, True)])
def test_silent_is_below_50_dbfs(dbfs: float | None, sounds: bool) -> None:
    assert TrackFacts(index=0, loudness_dbfs=dbfs).sounds == sounds
    assert TrackFacts(index=0, loudness_dbfs=dbfs, speech_share=0.9).speaks == sounds


@pytest.mark.parametrize(("share", "speaks"), [(0.05, True), (0.049, False), (None, True)])
def test_a_track_speaks_from_a_twentieth(share: float | None, speaks: bool) -> None:
    assert TrackFacts(index=0, loudness_dbfs=-20.0, speech_share=share).speaks == speaks


def test_no_track_is_refused() -> None:
    with pytest.raises(ValueError, match="no track"):
        choose_track([])
