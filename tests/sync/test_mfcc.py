"""Cepstra: lengths, energy in closed form, scale behaviour, refusals. Values: tests/parity/test_syncnet.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.mfcc import filterbank, mel_filters, mfcc


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
