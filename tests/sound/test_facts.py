"""Facts of sounds that are made so that each fact is known."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from lipforcing_core.puppets.speech import synthesise
from lipforcing_core.sound.activity.protocol import SpeechActivity
from lipforcing_core.sound.facts import SoundFacts, clipping_share, snr_db, sound_facts

HOP = 512
T = np.arange(3 * 16000) / 16000


def activity(speaks_N: np.ndarray, num_samples: int) -> SpeechActivity:
    return SpeechActivity(probability_N=speaks_N.astype(np.float32), hop=HOP, num_samples=num_samples)


def talk(speech_level: float, noise_level: float) -> tuple[np.ndarray, SpeechActivity]:
    """Tones where speech is said to be, half a second each with as long pauses, and noise everywhere."""
    speaks_N = np.arange(96) // 16 % 2 == 1
    speaks_S = np.repeat(speaks_N, HOP)
    t = np.arange(len(speaks_S)) / 16000
    tone = speech_level * math.sqrt(2) * np.sin(2 * np.pi * 1000 * t)
    hiss = noise_level * np.random.default_rng(0).standard_normal(len(t))
    return (tone * speaks_S + hiss).astype(np.float32), activity(speaks_N, len(t))


@pytest.mark.parametrize("decibels", [40, 20, 10, 0])
def test_signal_to_noise_is_the_ratio_of_the_powers(decibels: int) -> None:
    noise = 0.01
    assert snr_db(*talk(noise * 10 ** (decibels / 20), noise)) == pytest.approx(decibels, abs=0.4)


def test_signal_to_noise_has_a_floor_and_a_ceiling() -> None:
    """Speech that is no louder than the pauses; pauses of digital zeros count as the rounding to 16 bits."""
    waveform, found = talk(0.0, 0.01)
    assert snr_db(waveform, found) == pytest.approx(-20, abs=5)
    assert snr_db(waveform * ~found.speaks_S() + 1e-4, found) == -20.0
    waveform, found = talk(0.1, 0.0)
    assert snr_db(waveform, found) == pytest.approx(
        -20 + 20 * math.log10(32768) + 10 * math.log10(12), abs=0.1
    )


def test_speech_that_was_overlooked_is_no_noise() -> None:
    waveform, found = talk(0.1, 0.001)
    waveform[: 6 * HOP] += np.float32(0.3)
    assert snr_db(waveform, found) == pytest.approx(40, abs=0.5)


def test_what_is_next_to_speech_is_no_noise() -> None:
    """Two hops on both sides of every stretch are as loud as speech."""
    waveform, found = talk(0.1, 0.001)
    for start, stop in found.speech:
        for edge in (start - 2 * HOP, stop):
            waveform[max(0, edge) : edge + 2 * HOP] = 0.1
    (first, _), *others = found.silences
    assert first == 0
    assert snr_db(waveform, found) == pytest.approx(40, abs=0.5)
    assert len(others) == 2


def test_signal_to_noise_without_speech_or_without_pauses() -> None:
    waveform, _ = talk(0.1, 0.01)
    assert snr_db(waveform, activity(np.zeros(96), len(waveform))) is None
    assert snr_db(waveform, activity(np.ones(96), len(waveform))) is None
    short = np.ones(96)
    short[40:46] = 0  # four hops next to speech are left out, two are too few
    assert snr_db(waveform, activity(short, len(waveform))) is None
    short[40:47] = 0
    assert snr_db(waveform, activity(short, len(waveform))) is not None


@pytest.mark.parametrize("where", [slice(None, 5), slice(91, None)])
def test_at_the_ends_of_the_sound_nothing_is_left_out(where: slice) -> None:
    """Five hops of pause, of which two are next to speech: three are enough."""
    waveform, _ = talk(0.1, 0.01)
    speaks = np.ones(96)
    speaks[where] = 0
    assert snr_db(waveform, activity(speaks, len(waveform))) is not None


def test_a_clipped_sine_is_clipped_two_thirds_of_the_time() -> None:
    """A sine of amplitude 2 is above 1 for |angle - 90 degrees| < 60 degrees of each half wave."""
    sine = np.clip(2 * np.sin(2 * np.pi * 100 * T), -1, 1).astype(np.float32)
    assert clipping_share(sine) == pytest.approx(2 / 3, abs=0.02)
    assert clipping_share(np.clip(sine, 0, 1)) == pytest.approx(1 / 3, abs=0.01)


def test_a_loud_sine_is_not_clipped() -> None:
    for hertz in (100, 440, 1000, 4000):
        assert clipping_share(np.sin(2 * np.pi * hertz * T).astype(np.float32)) == 0.0


def test_runs_at_full_scale_are_three_samples_of_one_sign() -> None:
    assert clipping_share(np.array([0, 1, 1, 0, 0, 0, 1, 1, 1, 0], dtype=np.float32)) == pytest.approx(0.3)
    assert clipping_share(np.array([1, -1, 1, -1, 1, -1], dtype=np.float32)) == 0.0
    assert clipping_share(np.array([-1, -1, -1, -1], dtype=np.float32)) == 1.0
    assert clipping_share(np.array([32767, 32767, 32767, 0], dtype=np.float32) / 32768) == 0.75
    assert clipping_share(np.zeros(0, dtype=np.float32)) == 0.0


def test_speech_that_was_stored_at_8_khz() -> None:
    speech = synthesise(1, 4.0).waveform
    spectrum = np.fft.rfft(speech)
    spectrum[len(spectrum) // 2 :] = 0
    narrow = np.fft.irfft(spectrum, len(speech)).astype(np.float32)
    wide, found = sound_facts(speech), sound_facts(narrow)
    assert wide.bandwidth_hz == 8000.0
    assert found.bandwidth_hz == pytest.approx(4000, abs=200)


def test_speech_is_modulated_at_the_rate_of_syllables() -> None:
    """More than noise, of which an octave of 24.5 Hz is 0.115."""
    speech = [sound_facts(synthesise(seed, 6.0).waveform).modulation_4hz for seed in range(4)]
    assert min(value for value in speech if value is not None) > 0.17


def test_facts_of_activity() -> None:
    waveform, found = talk(0.1, 0.01)
    facts = sound_facts(waveform, found)
    assert facts.speech_share == pytest.approx(0.5)
    assert facts.longest_silence_s == pytest.approx(16 * HOP / 16000)
    assert facts.snr_db == pytest.approx(20, abs=0.4)
    without = sound_facts(waveform)
    assert (without.speech_share, without.longest_silence_s, without.snr_db) == (None, None, None)


def test_the_longest_of_several_silences() -> None:
    speaks = np.ones(96)
    speaks[10:20] = speaks[40:70] = 0
    found = activity(speaks, 96 * HOP)
    assert sound_facts(np.zeros(96 * HOP, dtype=np.float32), found).longest_silence_s == pytest.approx(0.96)


def test_facts_of_nothing() -> None:
    assert sound_facts(np.zeros(0, dtype=np.float32)) == SoundFacts()
    silence = sound_facts(np.zeros(32000, dtype=np.float32), activity(np.zeros(63), 32000))
    assert silence == SoundFacts(speech_share=0.0, longest_silence_s=2.0, clipping_share=0.0)


def test_facts_are_json() -> None:
    waveform, found = talk(0.1, 0.01)
    facts = asdict(sound_facts(waveform, found))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert all(type(value) is float for value in facts.values())


def test_the_activity_of_another_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="activity is of 512 samples, the waveform has 600"):
        sound_facts(np.zeros(600, dtype=np.float32), activity(np.zeros(1), 512))
