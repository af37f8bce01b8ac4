"""Hints read from spectra: tones, noise and modulations whose values are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipforcing_core.sound import spectra as module
from lipforcing_core.sound.spectra import BAND_EDGES_HZ, bandwidth_hz, modulation_share, spectra

T = np.arange(5 * 16000) / 16000


def noise(seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(len(T))).astype(np.float32)


def tone(hertz: float, amplitude: float = 0.3) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * T)).astype(np.float32)


def low_passed(waveform: np.ndarray, hertz: float) -> np.ndarray:
    """Without everything above: what a lower sample rate leaves."""
    spectrum = np.fft.rfft(waveform)
    spectrum[np.fft.rfftfreq(len(waveform), 1 / 16000) > hertz] = 0
    return np.asarray(np.fft.irfft(spectrum, len(waveform)), dtype=np.float32)


def modulated(hertz: float, depth: float = 0.5, carrier: np.ndarray | None = None) -> np.ndarray:
    sound = tone(1000) if carrier is None else carrier
    return (sound * (1 + depth * np.cos(2 * np.pi * hertz * T))).astype(np.float32)


def share(waveform: np.ndarray, low: float = 3.0, high: float = 5.0) -> float | None:
    envelopes = spectra(waveform).envelopes_NE
    return modulation_share(envelopes, band_hz=(low, high), all_hz=(0.5, 25.0), min_s=1.0)


def test_the_bands_are_those_of_the_mel_scale() -> None:
    """1000 Hz are 1000 mel by the definition of the scale (999.99 by the formula), and all bands are as wide in mel."""
    assert BAND_EDGES_HZ[0] == pytest.approx(100, abs=0.1)
    assert BAND_EDGES_HZ[-1] == pytest.approx(7600, abs=10)
    mel = 2595 * np.log10(1 + BAND_EDGES_HZ / 700)
    np.testing.assert_allclose(np.diff(mel), np.diff(mel)[0])


@pytest.mark.parametrize("hertz", [2000, 4000, 5512, 7000])
def test_bandwidth_ends_where_the_energy_ends(hertz: int) -> None:
    found = bandwidth_hz(spectra(low_passed(noise(), hertz)).power_B, drop_db=60.0)
    assert found is not None
    assert hertz - 40 <= found <= hertz + 200


def test_bandwidth_of_all_and_of_nothing() -> None:
    assert bandwidth_hz(spectra(noise()).power_B, drop_db=60.0) == 8000.0
    assert bandwidth_hz(spectra(np.zeros(16000, dtype=np.float32)).power_B, drop_db=60.0) is None


@pytest.mark.parametrize(("below_db", "expected"), [(50, 6000), (70, 1000)])
def test_what_is_60_db_below_is_no_energy(below_db: int, expected: int) -> None:
    """A tone at 6 kHz beside one at 1 kHz."""
    quiet = tone(1000) + tone(6000, 0.3 * 10 ** (-below_db / 20))
    assert bandwidth_hz(spectra(quiet).power_B, drop_db=60.0) == pytest.approx(expected, abs=200)


def test_silence_does_not_count_in_the_mean_power() -> None:
    loud = noise()[:40000]
    half = np.concatenate([loud, np.zeros(40000, dtype=np.float32)])
    assert spectra(half).power_B.mean() == pytest.approx(spectra(loud).power_B.mean(), rel=0.01)


def test_all_modulation_of_one_rate_is_there() -> None:
    assert share(modulated(4)) == pytest.approx(1.0, abs=0.01)
    assert share(modulated(10)) == pytest.approx(0.0, abs=0.01)
    assert share(modulated(2)) == pytest.approx(0.0, abs=0.01)


def test_two_modulations_share_by_their_squares() -> None:
    """Depths of 0.4 at 4 Hz and 0.2 at 10 Hz: 0.16 / (0.16 + 0.04), less a little for the window of 32 ms."""
    depth = 0.4 * np.cos(2 * np.pi * 4 * T) + 0.2 * np.cos(2 * np.pi * 10 * T)
    found = share((tone(1000) * (1 + depth)).astype(np.float32))
    assert found == pytest.approx(0.8, abs=0.03)


def test_modulation_of_noise_is_spread_evenly() -> None:
    """White noise has the same modulation at all rates: an octave around 4 Hz is 2.83 of 24.5 Hz."""
    octave = [share(noise(seed), 4 / math.sqrt(2), 4 * math.sqrt(2)) for seed in range(3)]
    assert np.mean([value for value in octave if value is not None]) == pytest.approx(0.115, abs=0.04)


def test_what_does_not_move_has_no_modulation() -> None:
    assert share(tone(1000)) is None
    assert share(np.zeros(len(T), dtype=np.float32)) is None
    assert share(modulated(4)[: 16000 - 200]) is None


def test_the_level_is_no_modulation() -> None:
    """In a sound of 1.2 s the mean of the envelope would leak into the slow modulations."""
    short = modulated(4)[: int(1.2 * 16000)]
    assert share(short, 2.5, 5.7) == pytest.approx(1.0, abs=0.02)


def test_the_power_of_noise_is_that_of_its_window() -> None:
    """Each bin of white noise holds its variance times the energy of a Hann window, 3/8 of its length."""
    power = spectra(noise()).power_B
    assert power[10:-10].mean() == pytest.approx(0.1**2 * 512 * 3 / 8, rel=0.02)


@pytest.mark.parametrize("num_samples", [0, 1, 511])
def test_a_sound_under_one_window(num_samples: int) -> None:
    found = spectra(noise()[:num_samples])
    assert found.envelopes_NE.shape == (0, 20)
    assert not found.power_B.any()


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = modulated(4, carrier=noise())
    whole = spectra(sound)
    monkeypatch.setattr(module, "FRAMES_PER_BLOCK", 17)
    parts = spectra(sound)
    np.testing.assert_allclose(parts.power_B, whole.power_B)
    np.testing.assert_allclose(parts.envelopes_NE, whole.envelopes_NE)
