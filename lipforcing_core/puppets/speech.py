"""Formant speech synthesis in numpy, with the lip movement that goes with it.

A seeded sequence of phonemes, grouped in words and phrases, sets curves at a control rate of 200 Hz: levels
of a pulse and a noise source, formants, lip aperture and lip width. The sound is source-filter synthesis:
short-time spectra of the sources times the response of a cascade of resonators (Klatt, 1980, section I).
Lips and sound come from the same curves but not by the same rule, so they agree without being copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lipforcing_core.media.clock import FPS, SAMPLE_RATE
from lipforcing_core.puppets.phonemes import CONSONANTS, PHONEMES, SILENCE, VOWELS, Phoneme

FRAME_RATE = int(FPS)
CONTROL_RATE = 200
REST_WIDTH = 1.0

_SAMPLES_PER_STEP = SAMPLE_RATE // CONTROL_RATE
_WINDOW = 320
_HOP = 160
_FFT = 1024
_PEAK = 0.7
_NOISE_FLOOR = 4e-4
_CLOSED_DB = -80.0
_PHRASE_S = (0.6, 1.8)
_PAUSE_S = (0.15, 0.5)

TimedPhoneme = tuple[str, float, float]
"""``(symbol, start_s, stop_s)``; silence has the symbol ``sil``."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What makes one speaker sound different from another."""

    f0_hz: float
    """Mean pitch."""
    formant_scale: float
    """Inverse length of the vocal tract relative to an adult man's."""
    tilt: float
    """Exponent of the voice source's spectrum, amplitude ~ f**-tilt."""
    tempo: float
    """Speaking rate; 1 gives vowels of about 0.15 s."""
    articulation: float
    """How far the lips open, relative to the phoneme table."""

    @classmethod
    def from_seed(cls, seed: int) -> Voice:
        """A random but repeatable speaker."""
        rng = np.random.default_rng([seed, 0x701CE])
        f0_hz = float(rng.uniform(105.0, 230.0))
        return cls(
            f0_hz=f0_hz,
            formant_scale=float(1.0 + 0.15 * (f0_hz - 105.0) / 125.0 + rng.uniform(-0.03, 0.03)),
            tilt=float(rng.uniform(0.85, 1.15)),
            tempo=float(rng.uniform(0.92, 1.08)),
            articulation=float(rng.uniform(0.9, 1.0)),
        )


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Speech and the lips that make it.

    ``waveform`` is float32 mono at 16 kHz in [-1, 1]. The curves have one value per 1/200 s: aperture in
    [0, 1] (0 = lips closed), width relative to the mouth at rest (about 0.75 to 1.12).
    """

    waveform: np.ndarray
    phonemes: tuple[TimedPhoneme, ...]
    aperture_curve: np.ndarray
    width_curve: np.ndarray
    voice: Voice

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return len(self.waveform) / SAMPLE_RATE

    @property
    def num_frames(self) -> int:
        """Whole video frames at 25 fps that the sound covers."""
        return len(self.waveform) * FRAME_RATE // SAMPLE_RATE

    @cached_property
    def aperture_F(self) -> np.ndarray:
        """Aperture in the middle of every 25 fps frame, float32 [F]."""
        return self.aperture_at((np.arange(self.num_frames) + 0.5) / FRAME_RATE)

    @cached_property
    def width_F(self) -> np.ndarray:
        """Relative width in the middle of every 25 fps frame, float32 [F]."""
        return self.width_at((np.arange(self.num_frames) + 0.5) / FRAME_RATE)

    def aperture_at(self, times_s: np.ndarray) -> np.ndarray:
        """Aperture at any times, float32; beyond the ends the first or last value holds."""
        return self._sample(self.aperture_curve, times_s)

    def width_at(self, times_s: np.ndarray) -> np.ndarray:
        """Relative width at any times, float32; beyond the ends the first or last value holds."""
        return self._sample(self.width_curve, times_s)

    def loudness_F(self) -> np.ndarray:
        """Root mean square of the samples of every 25 fps frame, float32 [F]."""
        per_frame = SAMPLE_RATE // FRAME_RATE
        frames = self.waveform[: self.num_frames * per_frame].reshape(self.num_frames, per_frame)
        rms_F: np.ndarray = np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1)).astype(np.float32)
        return rms_F

    @staticmethod
    def _sample(curve: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        sampled: np.ndarray = np.interp(
            np.asarray(times_s) * CONTROL_RATE, np.arange(len(curve)), curve
        ).astype(np.float32)
        return sampled


def synthesise(seed: int, duration_s: float, *, voice: Voice | None = None) -> Utterance:
    """Speech of ``round(duration_s * 16000)`` samples, the same for the same seed, duration and voice.

    Without a ``voice`` the seed picks one. Phrases last about 0.6 to 1.8 s with pauses of 0.15 to 0.5 s.
    Raises ValueError for a duration under one video frame.
    """
    num_samples = round(duration_s * SAMPLE_RATE)
    if num_samples * FRAME_RATE < SAMPLE_RATE:
        raise ValueError(f"duration_s is {duration_s}; at least one video frame (0.04 s) is needed")
    voice = voice or Voice.from_seed(seed)
    rng = np.random.default_rng([seed, 0x5EEC])
    phonemes, stresses = _plan(rng, num_samples / SAMPLE_RATE, voice.tempo)
    num_steps = math.ceil(num_samples / _SAMPLES_PER_STEP) + 1
    controls = _controls(phonemes, stresses, num_steps, voice, rng)
    waveform = _synthesise_sound(controls, num_samples, voice, rng)
    return Utterance(
        waveform=waveform,
        phonemes=tuple(phonemes),
        aperture_curve=controls.aperture,
        width_curve=controls.width,
        voice=voice,
    )


@dataclass(frozen=True, kw_only=True)
class _Controls:
    """Curves at the control rate: levels are linear amplitudes, formants [N, 3] and noise [N, 2] in hertz."""

    voice: np.ndarray
    noise: np.ndarray
    formants: np.ndarray
    noise_band: np.ndarray
    f0: np.ndarray
    aperture: np.ndarray
    width: np.ndarray


def _plan(rng: np.random.Generator, length_s: float, tempo: float) -> tuple[list[TimedPhoneme], list[float]]:
    """Phonemes until ``length_s``, and the stress of each (decibels; silence has 0)."""
    planned: list[tuple[str, float, float]] = [(SILENCE, float(rng.uniform(0.06, 0.25)), 0.0)]
    total_s = planned[0][1]
    while total_s < length_s:
        phrase_s, budget_s = 0.0, float(rng.uniform(*_PHRASE_S))
        while phrase_s < budget_s:
            word = _word(rng, tempo)
            word_s = sum(seconds for _, seconds, _ in word)
            if phrase_s >= _PHRASE_S[0] and phrase_s + word_s > _PHRASE_S[1]:
                break
            planned += word
            phrase_s += word_s
        pause_s = float(rng.uniform(*_PAUSE_S))
        planned.append((SILENCE, pause_s, 0.0))
        total_s += phrase_s + pause_s
    timed: list[TimedPhoneme] = []
    stresses: list[float] = []
    start_s = 0.0
    for symbol, seconds, stress in planned:
        if start_s >= length_s:
            break
        stop_s = min(start_s + seconds, length_s)
        timed.append((symbol, round(start_s, 4), round(stop_s, 4)))
        stresses.append(stress)
        start_s += seconds
    return timed, stresses


def _word(rng: np.random.Generator, tempo: float) -> list[tuple[str, float, float]]:
    """One to three syllables; the first is stressed."""
    word: list[tuple[str, float, float]] = []
    for syllable in range(int(rng.integers(1, 4))):
        stress = float(rng.normal(1.0 if syllable == 0 else -1.0, 0.8))
        sounds: list[Phoneme] = []
        if rng.random() < 0.9:
            sounds.append(CONSONANTS[rng.integers(len(CONSONANTS))])
        sounds.append(VOWELS[rng.integers(len(VOWELS))])
        if rng.random() < 0.3:
            sounds.append(CONSONANTS[rng.integers(len(CONSONANTS))])
        for sound in sounds:
            seconds = sound.duration_s / tempo * float(rng.uniform(0.8, 1.25))
            word.append((sound.symbol, seconds * (1.0 + 0.05 * stress), stress))
    return word


def _controls(
    phonemes: list[TimedPhoneme],
    stresses: list[float],
    num_steps: int,
    voice: Voice,
    rng: np.random.Generator,
) -> _Controls:
    """Piecewise constant targets, then smoothing: fast for levels, slower for tongue and lips."""
    voice_db = np.full(num_steps, _CLOSED_DB)
    noise_db = np.full(num_steps, _CLOSED_DB)
    formants = np.full((num_steps, 3), np.nan)
    band = np.full((num_steps, 2), np.nan)
    aperture = np.zeros(num_steps)
    width = np.full(num_steps, REST_WIDTH)
    sealed = np.zeros(num_steps)
    pitch = np.ones(num_steps)
    for (symbol, start_s, stop_s), stress in zip(phonemes, stresses, strict=True):
        if symbol == SILENCE:
            continue
        sound = PHONEMES[symbol]
        start, stop = round(start_s * CONTROL_RATE), round(stop_s * CONTROL_RATE)
        release = start + round(0.7 * (stop - start)) if sound.kind == "stop" else start
        if sound.voice_db is not None:
            voice_db[start:stop] = sound.voice_db + stress + rng.normal(0.0, 0.7)
        if sound.noise_db is not None:
            noise_db[release:stop] = sound.noise_db + stress + rng.normal(0.0, 0.7)
        formants[start:stop] = sound.formants_hz
        band[start:stop] = sound.noise_hz
        scale = voice.articulation * (1.0 + 0.05 * stress + rng.normal(0.0, 0.06))
        aperture[start:stop] = min(1.0, sound.aperture * scale)
        width[start:stop] = REST_WIDTH + (sound.width - REST_WIDTH) * (1.0 + rng.normal(0.0, 0.12))
        pitch[start:stop] = 1.0 + 0.035 * stress
        if sound.seals_lips:
            sealed[start : max(release, stop - 2)] = 1.0
    aperture = _smooth(aperture, 0.026) * (1.0 - np.clip(1.3 * _smooth(sealed, 0.012), 0.0, 1.0))
    return _Controls(
        voice=_smooth(_amplitude(voice_db), 0.007),
        noise=_smooth(_amplitude(noise_db), 0.005),
        formants=_smooth(_hold(formants, (500.0, 1500.0, 2500.0)), 0.018) * voice.formant_scale,
        noise_band=_smooth(_hold(band, (3000.0, 2000.0)), 0.006),
        f0=voice.f0_hz * _intonation(phonemes, num_steps, rng) * _smooth(pitch, 0.05),
        aperture=np.clip(aperture, 0.0, 1.0).astype(np.float32),
        width=_smooth(width, 0.032).astype(np.float32),
    )


def _intonation(phonemes: list[TimedPhoneme], num_steps: int, rng: np.random.Generator) -> np.ndarray:
    """Pitch factor: falls through every phrase, with a slow random wander."""
    factor = np.ones(num_steps)
    pauses = [round(start * CONTROL_RATE) for symbol, start, _ in phonemes if symbol == SILENCE]
    for start, stop in zip(pauses, [*pauses[1:], num_steps], strict=True):
        factor[start:stop] = np.linspace(1.14, 0.88, stop - start)
    knots = rng.normal(0.0, 0.03, size=num_steps // 40 + 2)
    return factor * (1.0 + np.interp(np.arange(num_steps) / 40.0, np.arange(len(knots)), knots))


def _synthesise_sound(
    controls: _Controls, num_samples: int, voice: Voice, rng: np.random.Generator
) -> np.ndarray:
    frequencies = np.fft.rfftfreq(_FFT, 1.0 / SAMPLE_RATE).astype(np.float32)
    steps = np.arange(num_samples, dtype=np.float32) / _SAMPLES_PER_STEP

    def per_sample(curve: np.ndarray) -> np.ndarray:
        sampled: np.ndarray = np.interp(steps, np.arange(len(curve)), curve).astype(np.float32)
        return sampled

    pulses = _pulses(per_sample(controls.f0), rng)
    voiced = _filter(pulses, _voice_response(controls.formants[::2], frequencies, voice.tilt))
    hiss = rng.standard_normal(num_samples, dtype=np.float32)
    unvoiced = _filter(hiss, _noise_response(controls.noise_band[::2], frequencies))
    sound = voiced * per_sample(controls.voice) + unvoiced * per_sample(controls.noise)
    sound *= _PEAK / max(float(np.max(np.abs(sound))), 1e-6)
    sound += _NOISE_FLOOR * rng.standard_normal(num_samples, dtype=np.float32)
    waveform: np.ndarray = np.clip(sound, -1.0, 1.0).astype(np.float32)
    return waveform


def _pulses(f0: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Glottal impulses of unit mean power, each split between its two nearest samples; 1 % jitter."""
    phase = np.cumsum(f0.astype(np.float64) / SAMPLE_RATE)
    marks = np.arange(1.0, phase[-1])
    marks = np.sort(marks + rng.normal(0.0, 0.01, size=len(marks)))
    at = np.interp(marks, phase, np.arange(len(phase)))
    at = at[(at >= 0) & (at < len(f0) - 1)]
    index = at.astype(np.int64)
    fraction = at - index
    height = np.sqrt(SAMPLE_RATE / f0[index])
    train = np.zeros(len(f0))
    np.add.at(train, index, height * (1.0 - fraction))
    np.add.at(train, index + 1, height * fraction)
    return train.astype(np.float32)


def _voice_response(formants: np.ndarray, frequencies: np.ndarray, tilt: float) -> np.ndarray:
    """Complex response [N, bins] of a resonator cascade under the source's tilt, unit mean power."""
    f = frequencies[None, :]
    response = np.ones((len(formants), len(frequencies)), dtype=np.complex64)
    fixed = [np.full(len(formants), hertz) for hertz in (3600.0, 4500.0, 5500.0)]
    for centre, bandwidth in zip(
        [*formants.T, *fixed], (70.0, 90.0, 130.0, 200.0, 250.0, 300.0), strict=True
    ):
        square = (centre.astype(np.float32) ** 2)[:, None]
        response *= square / (square - f**2 + 1j * np.float32(bandwidth) * f)
    low_cut = f / np.sqrt(f**2 + 90.0**2)
    response *= low_cut * (1.0 + (f / 200.0) ** 2) ** (-0.5 * (tilt - 0.5))
    return _unit_power(response)


def _noise_response(band: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Response [N, bins] of one resonator, unit mean power."""
    f = frequencies[None, :]
    centre, bandwidth = (band.astype(np.float32)[:, k, None] for k in (0, 1))
    return _unit_power((bandwidth * f / (centre**2 - f**2 + 1j * bandwidth * f)).astype(np.complex64))


def _unit_power(response: np.ndarray) -> np.ndarray:
    power = np.mean(response.real**2 + response.imag**2, axis=1, keepdims=True)
    normalised: np.ndarray = response / np.sqrt(power)
    return normalised


def _filter(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filter with one response per hop: windowed frames, product of spectra, overlap-add."""
    num_frames = len(source) // _HOP + 2
    padded = np.zeros((num_frames + 1) * _HOP, dtype=np.float32)
    padded[_HOP : _HOP + len(source)] = source
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * window
    index = np.minimum(np.arange(len(frames)), len(response) - 1)
    filtered = np.fft.irfft(np.fft.rfft(frames, _FFT, axis=1) * response[index], _FFT, axis=1)
    out = np.zeros(len(padded) + _FFT, dtype=np.float32)
    for k, frame in enumerate(filtered):
        out[k * _HOP : k * _HOP + _FFT] += frame
    return out[_HOP : _HOP + len(source)]


def _smooth(curve: np.ndarray, sigma_s: float) -> np.ndarray:
    """Gaussian smoothing along the first axis, edges held."""
    sigma = sigma_s * CONTROL_RATE
    reach = max(1, math.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    columns = curve.reshape(len(curve), -1)
    padded = np.pad(columns, ((reach, reach), (0, 0)), mode="edge")
    smoothed = np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)
    return smoothed.reshape(curve.shape)


def _hold(curve: np.ndarray, initial: tuple[float, ...]) -> np.ndarray:
    """Fill rows of NaN with the last row before them."""
    known = ~np.isnan(curve[:, 0])
    last = np.maximum.accumulate(np.where(known, np.arange(len(curve)), -1))
    return np.where((last >= 0)[:, None], curve[np.maximum(last, 0)], np.asarray(initial))


def _amplitude(db: np.ndarray) -> np.ndarray:
    return np.where(db > _CLOSED_DB, 10.0 ** (db / 20.0), 0.0)
