"""Sounds whose fold-down is known in closed form: equal, opposite, dead, centred and silent channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lipforcing_core.puppets.speech import synthesise
from lipforcing_core.sound.fold import FoldDown, Folded

STEP = 1.0 / 32767.0
"""One step of the 16-bit integers that are kept."""

SPEECH = (0.5 * synthesise(3, 4.0).waveform).astype(np.float32)
OTHER = (0.5 * synthesise(8, 4.0).waveform).astype(np.float32)
NOTHING = np.zeros_like(SPEECH)


def fold(*channels: np.ndarray, layout: str = "", block: int = 1000) -> Folded:
    folder = FoldDown(len(channels), layout)
    together_CS = np.stack(channels).astype(np.float32)
    for start in range(0, together_CS.shape[1], block):
        folder.add(together_CS[:, start : start + block])
    return folder.finish()


def same(folded: Folded, expected_S: np.ndarray, steps: float = 1.0) -> None:
    assert folded.waveform_S.dtype == np.float32
    np.testing.assert_allclose(folded.waveform_S, expected_S, rtol=0, atol=steps * STEP)


def noise(seed: int, level: float = 0.1, num_samples: int = len(SPEECH)) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def test_one_channel_stays_as_it_is() -> None:
    folded = fold(SPEECH, layout="mono")
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("mono", ())


def test_equal_channels_give_that_channel() -> None:
    folded = fold(SPEECH, SPEECH, layout="stereo")
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("mean", ("identical_channels",))


def test_ordinary_stereo_gives_the_mean() -> None:
    """Two persons, each louder on their own side."""
    left, right = SPEECH + 0.5 * OTHER, 0.5 * SPEECH + OTHER
    folded = fold(left, right, layout="stereo")
    same(folded, 0.75 * (SPEECH + OTHER))
    assert (folded.how, folded.notes, folded.opposed) == ("mean", (), 0.0)


def test_unrelated_channels_give_the_mean() -> None:
    folded = fold(noise(1), noise(2), layout="stereo")
    same(folded, (noise(1) + noise(2)) / 2)
    assert (folded.how, folded.notes) == ("mean", ())


def test_opposite_channels_keep_their_speech() -> None:
    folded = fold(SPEECH, -SPEECH, layout="stereo")
    same(folded, SPEECH)
    assert (folded.how, folded.notes, folded.opposed) == ("difference", ("opposite_phase",), 1.0)


def test_an_inverted_microphone_keeps_both_persons() -> None:
    """Each microphone hears the other person at a third, and the wires of the right one are swapped."""
    left, right = SPEECH + OTHER / 3, -(SPEECH / 3 + OTHER)
    folded = fold(left, right, layout="stereo")
    assert folded.notes == ("opposite_phase",)
    same(folded, (2 / 3) * (SPEECH + OTHER))


@pytest.mark.parametrize("inverted", [(0, 2), (2, 4), (1, 2)])
def test_phase_that_changes_within_the_recording_gives_one_channel(inverted: tuple[int, int]) -> None:
    right = 0.8 * SPEECH
    right[inverted[0] * 16000 : inverted[1] * 16000] *= -1
    folded = fold(SPEECH, right, layout="stereo")
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("left", ("opposite_phase",))
    swapped = fold(right, SPEECH, layout="stereo")
    same(swapped, SPEECH)
    assert swapped.how == "right"


def test_opposite_speech_is_not_outvoted_by_loud_music_in_phase() -> None:
    t = np.arange(len(SPEECH)) / 16000
    music = (0.8 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    quiet = 0.1 * SPEECH
    folded = fold(np.concatenate([music, quiet]), np.concatenate([music, -quiet]), layout="stereo")
    same(folded, np.concatenate([music, quiet]))
    assert folded.how == "left"


def test_hiss_of_opposite_phase_in_long_pauses_decides_nothing() -> None:
    """The hiss is 50 dB below the speech, three quarters of the time."""
    hiss = np.concatenate([noise(k, 2e-4) for k in (1, 2, 3)])
    left = np.concatenate([SPEECH, hiss])
    folded = fold(left, np.concatenate([0.9 * SPEECH, -hiss]), layout="stereo")
    assert (folded.how, folded.notes, folded.opposed) == ("mean", (), 0.0)
    same(folded, np.concatenate([0.95 * SPEECH, 0.0 * hiss]))


def test_channels_apart_by_a_delay_are_not_subtracted() -> None:
    """A tone of 250 Hz two milliseconds later is its opposite, and the speech around it is not."""
    t = np.arange(16000) / 16000
    tone = (0.3 * np.sin(2 * np.pi * 250 * t)).astype(np.float32)
    left, right = np.concatenate([tone, noise(1), noise(2)]), np.concatenate([-tone, noise(3), noise(4)])
    folded = fold(left, right, layout="stereo")
    assert folded.opposed == pytest.approx(10 / 90, abs=0.01)
    assert folded.how in ("left", "right")


@pytest.mark.parametrize("dead", [NOTHING, np.full_like(SPEECH, 0.2), noise(5, 1e-3), 0.01 * SPEECH])
def test_a_dead_channel_does_not_halve_the_level(dead: np.ndarray) -> None:
    """Nothing, a constant voltage, hiss, or crosstalk at -40 dB."""
    folded = fold(SPEECH, dead, layout="stereo")
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("left", ("dead_channel",))
    folded = fold(dead, SPEECH, layout="stereo")
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("right", ("dead_channel",))


def test_a_click_does_not_bring_a_channel_to_life() -> None:
    clicks = NOTHING.copy()
    clicks[9000] = 0.3
    folded = fold(SPEECH, clicks, layout="stereo")
    assert folded.how == "left"


def test_somebody_who_speaks_once_is_kept() -> None:
    """One second in a long recording is less than a thousandth of the energy, and not dead."""
    long = np.tile(SPEECH, 40)
    once = np.zeros_like(long)
    once[16000:32000] = 0.3 * OTHER[16000:32000]
    assert np.sum(once**2) < 1e-3 * np.sum(long**2)
    folded = fold(long, once, layout="stereo")
    same(folded, (long + once) / 2)


def test_a_constant_voltage_decides_nothing() -> None:
    """Opposite offsets on equal speech are no opposite phase."""
    folded = fold(0.2 * SPEECH + 0.3, 0.2 * SPEECH - 0.3, layout="stereo")
    same(folded, 0.2 * SPEECH)
    assert folded.how == "mean"


@pytest.mark.parametrize(("layout", "num_channels"), [("5.1", 6), ("5.1(side)", 6), ("7.1", 8), ("3.0", 3)])
def test_speech_in_the_centre_alone_is_the_centre(layout: str, num_channels: int) -> None:
    channels = [NOTHING] * num_channels
    channels[2] = SPEECH
    folded = fold(*channels, layout=layout)
    same(folded, SPEECH)
    assert (folded.how, folded.notes) == ("centre", ("centre_only",))


def test_the_channel_for_low_frequencies_is_left_out() -> None:
    t = np.arange(len(SPEECH)) / 16000
    rumble = 0.9 * np.sin(2 * np.pi * 40 * t)
    folded = fold(NOTHING, NOTHING, SPEECH, rumble, NOTHING, NOTHING, layout="5.1")
    same(folded, SPEECH)


def test_centre_and_sides_add_up_by_the_table_of_the_standard() -> None:
    """Mono by BS.775: 0.7071 L + 0.7071 R + C + 0.5 LS + 0.5 RS."""
    channels = [noise(k, 0.05) for k in range(6)]
    left, right, centre, _, surround_left, surround_right = channels
    folded = fold(*channels, layout="5.1(side)")
    expected = 0.70711 * (left + right) + centre + 0.5 * (surround_left + surround_right)
    same(folded, expected, steps=5)
    assert (folded.how, folded.notes) == ("bs775", ())


def test_opposite_sides_beside_a_centre_do_not_touch_its_speech() -> None:
    folded = fold(0.3 * OTHER, -0.3 * OTHER, SPEECH, layout="3.0")
    same(folded, SPEECH + 0.3 * np.sqrt(2) * OTHER, steps=5)
    assert (folded.how, folded.notes) == ("bs775", ("opposite_phase",))


def test_a_centre_that_is_opposite_to_the_sides_keeps_its_speech() -> None:
    sides = 0.5 * SPEECH
    folded = fold(sides, sides, -SPEECH, layout="3.0")
    same(folded, -(1 + np.sqrt(0.5)) * SPEECH, steps=5)
    assert (folded.how, folded.notes) == ("bs775", ("opposite_phase",))


def test_a_dead_centre_leaves_stereo() -> None:
    folded = fold(SPEECH, -SPEECH, NOTHING, NOTHING, NOTHING, NOTHING, layout="5.1")
    same(folded, SPEECH, steps=3)
    assert (folded.how, folded.notes) == ("difference", ("centre_dead", "opposite_phase"))


def test_a_sum_over_full_scale_is_made_quieter_as_a_whole() -> None:
    loud = (SPEECH / np.abs(SPEECH).max()).astype(np.float32)
    folded = fold(0.5 * loud, 0.5 * loud, loud, layout="3.0")
    same(folded, loud, steps=5)
    assert (folded.how, folded.notes) == ("bs775", ("identical_channels", "lowered"))


def test_channels_of_an_unknown_layout() -> None:
    """Four tracks of a field recorder, of which two were used: none of them is halved for the unused ones."""
    folded = fold(SPEECH, OTHER, NOTHING, NOTHING, layout="4 channels")
    same(folded, (SPEECH + OTHER) / 2, steps=3)
    assert (folded.how, folded.notes) == ("mean", ("unknown_layout",))
    folded = fold(SPEECH, OTHER, SPEECH, OTHER, NOTHING, NOTHING, layout="6 channels")
    same(folded, (SPEECH + OTHER) / 2, steps=3)
    folded = fold(NOTHING, NOTHING, SPEECH, NOTHING)
    same(folded, SPEECH, steps=3)
    assert folded.notes == ("unknown_layout", "dead_channel")


@pytest.mark.parametrize(("num_channels", "layout"), [(1, "mono"), (2, "stereo"), (6, "5.1"), (5, "")])
def test_silence_is_said(num_channels: int, layout: str) -> None:
    folded = fold(*[NOTHING] * num_channels, layout=layout)
    assert not folded.waveform_S.any()
    assert "silent" in folded.notes


def test_silent_is_below_80_dbfs() -> None:
    t = np.arange(16000) / 16000
    for dbfs, is_silent in ((-82, True), (-78, False)):
        tone = np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * 440 * t)
        assert ("silent" in fold(tone, tone, layout="stereo").notes) == is_silent


def test_an_offset_is_not_heard() -> None:
    offset = np.full(16000, 0.1)
    assert "silent" in fold(offset, offset, layout="stereo").notes


@pytest.mark.parametrize("num_samples", [0, 1, 1599, 1600, 1601, 700_000])
def test_any_length(num_samples: int) -> None:
    channels = [noise(k, 0.1, num_samples) for k in range(2)]
    folded = fold(*channels, layout="stereo", block=65536)
    same(folded, (channels[0] + channels[1]) / 2)


@pytest.mark.parametrize("blocks", [[64000], [1, 63999], [1600] * 40, [777] * 82 + [286]])
def test_blocks_do_not_matter(blocks: Sequence[int]) -> None:
    right = SPEECH.copy()
    right[:9000] *= -1
    whole = fold(SPEECH, right, layout="stereo", block=64000)
    folder, start = FoldDown(2, "stereo"), 0
    for length in blocks:
        folder.add(np.stack([SPEECH, right])[:, start : start + length])
        start += length
    assert start == len(SPEECH)
    parts = folder.finish()
    np.testing.assert_array_equal(parts.waveform_S, whole.waveform_S)
    assert (parts.how, parts.notes, parts.opposed) == (whole.how, whole.notes, whole.opposed)


def test_values_that_no_sample_should_have() -> None:
    folded = fold(np.array([2.0, -3.0, np.nan, np.inf, -np.inf, 0.5]), layout="mono")
    same(folded, np.array([1.0, -1.0, 0.0, 1.0, -1.0, 0.5]))


def test_another_number_of_channels_is_refused() -> None:
    folder = FoldDown(2, "stereo")
    for shape in ((1, 10), (3, 10), (10,)):
        with pytest.raises(ValueError, match=r"not \[2, S\]"):
            folder.add(np.zeros(shape, dtype=np.float32))
