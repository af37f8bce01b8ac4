"""Mel-frequency cepstra equal to the defaults of ``python_speech_features`` 0.6, which SyncNet was trained on.

16 kHz, windows of 25 ms every 10 ms without taper, 512-point FFT, pre-emphasis 0.97, 26 triangular filters from 0 to
8 kHz, 13 cepstra with lifter 22, the first one replaced by the window's log energy. Samples are on the int16 scale.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import SAMPLE_RATE

WINDOW_SAMPLES = 400
STEP_SAMPLES = 160
NUM_FILTERS = 26
NUM_CEPSTRA = 13

_FFT_SIZE = 512
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_INT16_SCALE = 32768.0
_EPS = np.finfo(np.float64).eps


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """Cepstra [T, 13] float64 of a mono 16 kHz waveform [S] in [-1, 1].

    T = 1 + ceil((S - 400) / 160), at least 1; the last window is completed with zeros. Raises ``BadInputError`` for
    an empty or not one-dimensional waveform.
    """
    filtered_TM, energy_T = filterbank(waveform)
    log_TM = np.log(np.where(filtered_TM == 0, _EPS, filtered_TM))
    cepstra_TC: np.ndarray = log_TM @ _cosines().T * _lifter()
    cepstra_TC[:, 0] = np.log(np.where(energy_T == 0, _EPS, energy_T))
    return cepstra_TC


def filterbank(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mel filter outputs [T, 26] and total power [T] (float64, int16 scale squared) of a waveform [S] in [-1, 1]."""
    if waveform.ndim != 1 or waveform.size == 0:
        raise BadInputError(
            f"a waveform must be one-dimensional and not empty, not of shape {waveform.shape}"
        )
    signal = waveform.astype(np.float64) * _INT16_SCALE
    emphasised = np.concatenate([signal[:1], signal[1:] - _PRE_EMPHASIS * signal[:-1]])
    num_windows = 1 + max(0, -(-(len(signal) - WINDOW_SAMPLES) // STEP_SAMPLES))
    padded = np.zeros((num_windows - 1) * STEP_SAMPLES + WINDOW_SAMPLES)
    padded[: len(emphasised)] = emphasised[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::STEP_SAMPLES]
    spectrum_TK = np.fft.rfft(windows, _FFT_SIZE)
    power_TK = (spectrum_TK.real**2 + spectrum_TK.imag**2) / _FFT_SIZE
    return power_TK @ mel_filters().T, power_TK.sum(axis=1)


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """The triangular filters [26, 257]; corners lie on whole FFT bins."""
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top_mel, NUM_FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT_SIZE + 1) * corners_hz / SAMPLE_RATE)
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    bins = np.arange(_FFT_SIZE // 2 + 1)
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.where(
        (bins >= low) & (bins < centre), rising, np.where((bins >= centre) & (bins < high), falling, 0.0)
    )


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """The first 13 rows of the orthonormal DCT-II of 26 values."""
    order, position = np.arange(NUM_CEPSTRA)[:, None], np.arange(NUM_FILTERS)
    rows: np.ndarray = np.sqrt(2 / NUM_FILTERS) * np.cos(
        np.pi * order * (2 * position + 1) / (2 * NUM_FILTERS)
    )
    rows[0] /= np.sqrt(2)
    return rows


def _lifter() -> np.ndarray:
    return 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / _LIFTER)
