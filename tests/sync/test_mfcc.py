"""Cepstra: lengths, energy in closed form, scale behaviour, refusals. Values: tests/parity/test_syncnet.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.mfcc import _cosines, filterbank, mel_filters, mfcc


@pytest.fixture(autouse=True)
def _fresh_tables() -> None:
    """Every test makes its own tables, so that none passes on what another one computed."""
    mel_filters.cache_clear()
    _cosines.cache_clear()


def test_81_frames_have_323_columns() -> None:
    assert mfcc(np.zeros(81 * 640, dtype=np.float32)).shape == (323, 13)


@settings(max_examples=25)
@given(st.integers(1, 5000))
def test_every_sample_is_in_some_window(num_samples: int) -> None:
    num_windows = len(mfcc(np.ones(num_samples, dtype=np.float32)))
    covered = (num_windows - 1) * 160 + 400
    assert covered >= num_samples
    assert num_windows == 1 or covered - 160 < num_samples


def test_first_coefficient_is_log_power() -> None:
    waveform = np.zeros(400, dtype=np.float32)
    waveform[0] = 0.5
    # After pre-emphasis two samples are left: 16384 and -0.97 of it. The one-sided power spectrum of 512 points
    # sums to half of what Parseval's theorem gives, plus half of the first and of the last bin.
    first, second = 16384.0, -0.97 * 16384
    both_sides = first**2 + second**2
    ends = ((first + second) ** 2 + (first - second) ** 2) / 512
    assert mfcc(waveform)[0, 0] == pytest.approx(np.log((both_sides + ends) / 2))


def test_louder_sound_only_moves_energy() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.05, 4000).astype(np.float32)
    quiet, loud = mfcc(waveform), mfcc(2 * waveform)
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], np.log(4), atol=1e-6)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-5)


def test_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(2000, dtype=np.float32))).all()


def test_a_tone_rings_in_the_filter_at_its_pitch() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    power, _ = filterbank(tone)
    nearest_bin = round(1000 / 16000 * 512)
    assert power.mean(axis=0).argmax() == mel_filters()[:, nearest_bin].argmax()


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((2, 100))])
def test_refuses_what_is_not_a_mono_waveform(waveform: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="one-dimensional"):
        mfcc(waveform)


def hertz_bins() -> list[int]:
    """FFT bins of the 28 corners: equal steps on the mel scale 2595 log10(1 + f / 700), from 0 to 8 kHz."""
    top = 2595 * np.log10(1 + 8000 / 700)
    return [int(513 * 700 * (10 ** (top * step / 27 / 2595) - 1) / 16000) for step in range(28)]


def test_filters_are_triangles_between_their_neighbours() -> None:
    bins, want = hertz_bins(), np.zeros((26, 257))
    for number in range(26):
        low, centre, high = bins[number : number + 3]
        for k in range(low, centre):
            want[number, k] = (k - low) / (centre - low)
        for k in range(centre, high):
            want[number, k] = (high - k) / (high - centre)
    np.testing.assert_allclose(mel_filters(), want, atol=1e-12)
    assert (mel_filters().max(axis=1) == 1).all()


def test_filterbank_window_by_window() -> None:
    waveform = np.random.default_rng(3).uniform(-0.3, 0.3, 1000).astype(np.float32)
    signal = [0.0] * 1040  # five windows of 400, 160 apart; the last is completed with zeros
    for n in range(1000):
        before = float(waveform[n - 1]) if n else 0.0
        signal[n] = 32768 * (float(waveform[n]) - 0.97 * before)
    powers = [np.abs(np.fft.rfft(signal[160 * w : 160 * w + 400], 512)) ** 2 / 512 for w in range(5)]
    filtered, energy = filterbank(waveform)
    np.testing.assert_allclose(filtered, [mel_filters() @ power for power in powers], rtol=1e-9)
    np.testing.assert_allclose(energy, [power.sum() for power in powers], rtol=1e-9)


def test_cepstra_are_the_cosine_transform_of_log_filters_with_a_lifter() -> None:
    waveform = np.random.default_rng(4).normal(0, 0.1, 2000).astype(np.float32)
    filtered, energy = filterbank(waveform)
    want = dct(np.log(filtered), type=2, norm="ortho", axis=1)[:, :13]
    want *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    want[:, 0] = np.log(energy)
    np.testing.assert_allclose(mfcc(waveform), want, atol=1e-9)


def test_silence_has_the_logarithm_of_the_smallest_step() -> None:
    """An exact zero is replaced by the machine's epsilon, in every filter and in the energy."""
    silent = mfcc(np.zeros(400, dtype=np.float32))[0]
    assert silent[0] == pytest.approx(np.log(2.0**-52))
    np.testing.assert_allclose(silent[1:], 0, atol=1e-9)  # the cosine transform of a constant


@pytest.mark.parametrize(("samples", "windows"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3)])
def test_number_of_windows(samples: int, windows: int) -> None:
    assert len(filterbank(np.ones(samples, dtype=np.float32))[0]) == windows
