"""Synthesised speech: repeatable, tied to the lips, and different from sound to sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lipforcing_core.media.clock import SAMPLE_RATE
from lipforcing_core.puppets.phonemes import PHONEMES, SILENCE
from lipforcing_core.puppets.speech import Utterance, Voice, synthesise


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    return [synthesise(seed, 7.0) for seed in range(6)]


def test_the_same_seed_gives_the_same_samples() -> None:
    first, again, other = synthesise(5, 2.0), synthesise(5, 2.0), synthesise(6, 2.0)
    np.testing.assert_array_equal(first.waveform, again.waveform)
    np.testing.assert_array_equal(first.aperture_F, again.aperture_F)
    assert not np.array_equal(first.waveform, other.waveform)


@pytest.mark.parametrize(("seconds", "frames"), [(0.04, 1), (1.16, 29), (3.24, 81), (6.999, 174)])
def test_lengths_follow_the_clock(seconds: float, frames: int) -> None:
    utterance = synthesise(1, seconds)
    assert len(utterance.waveform) == round(seconds * SAMPLE_RATE)
    assert utterance.waveform.dtype == np.float32
    assert utterance.num_frames == len(utterance.aperture_F) == len(utterance.width_F) == frames
    assert np.abs(utterance.waveform).max() <= 1.0


def test_less_than_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.04"):
        synthesise(1, 0.03)


def test_phonemes_tile_the_whole_time(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        edges = [utterance.phonemes[0][1], *(stop for _, _, stop in utterance.phonemes)]
        assert edges[0] == 0.0
        assert edges[-1] == pytest.approx(utterance.duration_s, abs=1e-3)
        starts = [start for _, start, _ in utterance.phonemes[1:]]
        np.testing.assert_allclose(starts, edges[1:-1], atol=2e-4)


def test_phrases_and_pauses_have_natural_lengths(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        pauses = [(start, stop) for symbol, start, stop in utterance.phonemes if symbol == SILENCE]
        inner = [stop - start for start, stop in pauses[1:] if stop < utterance.duration_s - 0.01]
        phrases = [after[0] - before[1] for before, after in pairwise(pauses)]
        assert all(0.14 < length < 0.51 for length in inner)
        assert all(0.59 < length < 1.85 for length in phrases)


def test_loudness_follows_the_lips_without_being_a_copy(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        correlation = np.corrcoef(utterance.aperture_F, utterance.loudness_F())[0, 1]
        assert 0.6 < correlation < 0.98


def test_lips_and_sound_agree_best_without_a_shift(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        aperture, loudness = utterance.aperture_F, utterance.loudness_F()
        curve = [np.corrcoef(np.roll(aperture, k)[5:-5], loudness[5:-5])[0, 1] for k in range(-5, 6)]
        assert int(np.argmax(curve)) == 5


def test_pauses_are_quiet_with_closed_lips(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        for symbol, start, stop in utterance.phonemes:
            if symbol == SILENCE and stop - start > 0.25:
                middle = (start + stop) / 2
                around = utterance.waveform[
                    int((middle - 0.02) * SAMPLE_RATE) : int((middle + 0.02) * SAMPLE_RATE)
                ]
                assert utterance.aperture_at(np.array([middle]))[0] < 0.02
                assert np.sqrt(np.mean(around**2)) < 2e-3


def test_labials_close_the_lips_and_open_vowels_open_them(utterances: list[Utterance]) -> None:
    at_middle: dict[str, list[float]] = {}
    for utterance in utterances:
        for symbol, start, stop in utterance.phonemes:
            value = float(utterance.aperture_at(np.array([(start + stop) / 2]))[0])
            at_middle.setdefault(symbol, []).append(value)
    closed = [value for symbol in "mpb" for value in at_middle[symbol]]
    assert max(closed) < 0.06
    assert np.mean(at_middle["a"]) > 0.7
    assert np.mean(at_middle["a"]) > np.mean(at_middle["e"]) > np.mean(at_middle["u"])


def test_vowels_differ_in_their_formants() -> None:
    voice = Voice(f0_hz=120.0, formant_scale=1.0, tilt=1.0, tempo=0.9, articulation=1.0)
    spectra: dict[str, list[np.ndarray]] = {symbol: [] for symbol in ("a", "i", "u")}
    for seed in range(12):
        utterance = synthesise(seed, 6.0, voice=voice)
        for symbol, start, stop in utterance.phonemes:
            if symbol in spectra and stop - start > 0.1:
                middle = int((start + stop) / 2 * SAMPLE_RATE)
                piece = utterance.waveform[middle - 512 : middle + 512]
                if len(piece) == 1024:
                    spectra[symbol].append(np.abs(np.fft.rfft(piece * np.hanning(1024))) ** 2)
    hertz = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)

    def share(symbol: str, low: float, high: float) -> float:
        spectrum = np.mean([s / s.sum() for s in spectra[symbol]], axis=0)
        return float(spectrum[(hertz >= low) & (hertz < high)].sum())

    assert share("a", 550, 1400) > 0.5 > share("i", 550, 1400)
    assert share("i", 1800, 3500) > 3 * share("u", 1800, 3500)
    assert share("u", 150, 1000) > 0.8


def test_every_phoneme_is_used_and_described() -> None:
    spoken = {symbol for seed in range(15) for symbol, _, _ in synthesise(seed, 4.0).phonemes}
    assert spoken - {SILENCE} == set(PHONEMES)
    assert len(PHONEMES) >= 20
