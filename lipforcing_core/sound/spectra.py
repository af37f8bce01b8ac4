"""Short-time spectra of a sound of any length, a block at a time, and the two hints that are read from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lipforcing_core.sound.rate import SAMPLE_RATE

WINDOW = 512
HOP = 160
FRAMES_PER_BLOCK = 1000
ROUNDING_POWER = WINDOW * (3 / 8) / 12 / 32768**2
"""What rounding to 16 bits leaves in every bin: frames without more than that are digital silence."""

BAND_EDGES_HZ = 700.0 * (10.0 ** (np.linspace(150.5, 2788.0, 21) / 2595.0) - 1.0)
"""Twenty bands of equal width in mel (O'Shaughnessy's formula), from 100 Hz to 7.6 kHz."""


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Statistics of the short-time spectra of a sound at 16 kHz: Hann windows of 32 ms, every 10 ms.

    power_B: float64 [257], mean power of every bin over the frames that are not digital silence.
    envelopes_NE: float64 [N, 20], amplitude in every mel band and frame, silence included.
    """

    power_B: np.ndarray
    envelopes_NE: np.ndarray


def spectra(waveform_S: np.ndarray) -> Spectra:
    """The statistics of a float32 [S] waveform at 16 kHz; a sound under one window has no frames."""
    hertz_B = np.fft.rfftfreq(WINDOW, 1.0 / SAMPLE_RATE)
    *starts, stop = np.searchsorted(hertz_B, BAND_EDGES_HZ)
    power_B, num_audible = np.zeros(len(hertz_B)), 0
    envelopes = [np.zeros((0, len(starts)))]
    for power_NB in _powers(waveform_S):
        audible_NB = power_NB[power_NB.mean(axis=1) > ROUNDING_POWER]
        power_B += audible_NB.sum(axis=0)
        num_audible += len(audible_NB)
        envelopes.append(np.sqrt(np.add.reduceat(power_NB[:, :stop], starts, axis=1)))
    return Spectra(
        power_B=power_B / max(num_audible, 1),
        envelopes_NE=np.concatenate(envelopes),
    )


def bandwidth_hz(power_B: np.ndarray, *, drop_db: float) -> float | None:
    """The highest frequency whose power is within ``drop_db`` of the strongest; None for silence.

    The power is averaged over three bins first (94 Hz), so that a single bin decides nothing. A sharp end of the
    spectrum is found up to 0.2 kHz too high for that and for the window.
    """
    smooth_B = np.convolve(power_B, np.full(3, 1 / 3), mode="same")
    if smooth_B.max(initial=0.0) <= 0.0:
        return None
    above = np.flatnonzero(smooth_B > smooth_B.max() * 10.0 ** (-drop_db / 10.0))
    return float(above[-1]) * SAMPLE_RATE / WINDOW


def modulation_share(
    envelopes_NE: np.ndarray, *, band_hz: tuple[float, float], all_hz: tuple[float, float], min_s: float
) -> float | None:
    """Which share of the envelopes' modulation between ``all_hz`` lies between ``band_hz``, 0 to 1.

    None for a sound shorter than ``min_s``, and where the envelopes move by less than a thousandth of their mean.
    """
    rate = SAMPLE_RATE / HOP
    if len(envelopes_NE) < min_s * rate:
        return None
    window_N = np.hanning(len(envelopes_NE) + 2)[1:-1]
    mean_E = window_N @ envelopes_NE / window_N.sum()
    spectrum_ME = np.fft.rfft(window_N[:, None] * (envelopes_NE - mean_E), axis=0)
    energy_M = np.sum(np.abs(spectrum_ME) ** 2, axis=1)
    hertz_M = np.fft.rfftfreq(len(envelopes_NE), 1.0 / rate)
    whole = float(energy_M[(hertz_M >= all_hz[0]) & (hertz_M <= all_hz[1])].sum())
    if whole <= 1e-6 * window_N.sum() ** 2 * float(np.sum(mean_E**2)):
        return None
    return float(energy_M[(hertz_M >= band_hz[0]) & (hertz_M <= band_hz[1])].sum()) / whole


def _powers(waveform_S: np.ndarray) -> Iterator[np.ndarray]:
    """Power spectra [N, 257] of the frames, block by block."""
    if len(waveform_S) < WINDOW:
        return
    frames_NS = np.lib.stride_tricks.sliding_window_view(waveform_S, WINDOW)[::HOP]
    hann_S = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    for start in range(0, len(frames_NS), FRAMES_PER_BLOCK):
        spectrum_NB = np.fft.rfft(frames_NS[start : start + FRAMES_PER_BLOCK] * hann_S, axis=1)
        yield spectrum_NB.real**2 + spectrum_NB.imag**2
