"""The fingerprint of sound by Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002).

A code of 32 bits describes every frame of sound. Bit m says whether the difference of the energies of the bands m and
m + 1 has grown since the frame before: a sign that volume, coding and resampling hardly change. 33 bands, spaced
logarithmically, cover 300 to 2000 Hz as in the paper; frames are 0.256 s long instead of 0.37 s and 20 ms apart
instead of 11.6 ms, so that half a second of shift keeps the grid of a source at 25 frames per second.
"""

from __future__ import annotations

import numpy as np

from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME

WINDOW = 4096
HOP = SAMPLES_PER_FRAME // 2
CODES_PER_S = SAMPLE_RATE // HOP
NUM_BITS = 32
LOWEST_HZ, HIGHEST_HZ = 300.0, 2000.0
QUIET_RMS = 1e-3
"""Frames below -60 dBFS have the code 0: noise below speech says nothing."""


def sound_codes(waveform_S: np.ndarray) -> np.ndarray:
    """The codes of sound at 16 kHz: uint32 [N], one every 20 ms; code n is of the samples from 320 n on."""
    waveform_S = np.asarray(waveform_S, dtype=np.float32)
    num_frames = 1 + (len(waveform_S) - WINDOW) // HOP
    if num_frames < 2:
        return np.zeros(0, dtype=np.uint32)
    frames_NW = np.lib.stride_tricks.sliding_window_view(waveform_S, WINDOW)[::HOP]
    spectra_NK = _power(frames_NW * np.hanning(WINDOW).astype(np.float32))
    energies_NM = np.add.reduceat(spectra_NK[:, : _edges()[-1]], _edges()[:-1], axis=1)
    rise_NM = np.diff(energies_NM[:, :-1] - energies_NM[:, 1:], axis=0) > 0
    weights_M = np.left_shift(np.uint32(1), np.arange(NUM_BITS, dtype=np.uint32))
    codes_N = (rise_NM * weights_M).sum(axis=1, dtype=np.uint32)
    quiet_N = np.square(frames_NW).mean(axis=1) < QUIET_RMS**2
    codes_N[quiet_N[1:] | quiet_N[:-1]] = 0
    return np.asarray(codes_N)


def code_signs(codes_N: np.ndarray) -> np.ndarray:
    """The bits of codes as +1 and -1: float32 [N, 32]; rows of quiet frames are 0."""
    bits_NM = (codes_N[:, None] >> np.arange(NUM_BITS, dtype=np.uint32)) & np.uint32(1)
    signs_NM = bits_NM.astype(np.float32) * 2 - 1
    signs_NM[codes_N == 0] = 0
    return signs_NM


def _power(frames_NW: np.ndarray) -> np.ndarray:
    from scipy.fft import rfft

    spectra = rfft(frames_NW, axis=1)
    power: np.ndarray = spectra.real**2 + spectra.imag**2
    return power


def _edges() -> np.ndarray:
    """The 34 bins between which the 33 bands lie."""
    edges_hz = np.geomspace(LOWEST_HZ, HIGHEST_HZ, NUM_BITS + 2)
    return np.round(edges_hz * WINDOW / SAMPLE_RATE).astype(np.intp)
