"""Facts about the sound of a clip: they judge nothing, and None says that a fact is undefined.

Thresholds stand beside the measurements that they rest on. On 17 sounds of real talking heads the bandwidth is 7.8 to
8 kHz, with two clips at 6.5 kHz whose encoder ends there; the same sounds stored at 8 kHz and brought back to 16 kHz
give 3.7 to 4.6 kHz, and those stored at 11.025 kHz 5.4 to 6.2 kHz. ``modulation_4hz`` is 0.21 to 0.41 for them, 0.14
for white noise, which is close to what an even spectrum gives, 0.14 for a melody of two notes a second, and 0 for a
steady tone that beats at another rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lipforcing_core.sound.activity.protocol import SpeechActivity
from lipforcing_core.sound.rate import SAMPLE_RATE
from lipforcing_core.sound.spectra import bandwidth_hz, modulation_share, spectra

FULL_SCALE = 0.9999
CLIPPED_RUN = 3
"""Fewer samples in a row at full scale are the crest of a loud wave: a sine of full scale has no three above 30 Hz."""

BANDWIDTH_DROP_DB = 60.0
MODULATION_BAND_HZ = (4.0 / math.sqrt(2.0), 4.0 * math.sqrt(2.0))
MODULATION_ALL_HZ = (0.5, 25.0)
MODULATION_MIN_S = 1.0

GUARD_S = 0.064
"""Next to speech this much of a silence is left out of the noise.

On real clips the last 32 ms of a silence can be 20 dB louder than the rest of it, and the 32 ms before those are not.
"""

NOISE_MIN_S = 0.09
ROUNDING_POWER = 1.0 / 12.0 / 32768.0**2
"""Mean square of what rounding to 16 bits leaves, -101 dBFS: no pause is taken for quieter than that."""

SNR_FLOOR_DB = -20.0


@dataclass(frozen=True, kw_only=True)
class SoundFacts:
    """What can be said of a mono sound at 16 kHz.

    speech_share: share of the time in which somebody speaks, 0 to 1.
    longest_silence_s: the longest stretch without speech.
    snr_db: speech, less the noise in the pauses, by that noise, -20 to about 100 dB; None without speech or without
    0.09 s of pauses that are not next to speech. A second voice or music in the pauses counts as noise.
    clipping_share: share of samples at full scale in runs of at least three, 0 to 1.
    bandwidth_hz: up to where there is energy: the highest frequency within 60 dB of the strongest.
    modulation_4hz: share of the modulation of the mel-band envelopes between 0.5 and 25 Hz that lies in the octave
    around 4 Hz, the rate of syllables, 0 to 1 (after Scheirer and Slaney, 1997); None under a second.

    The three facts of activity are None where no detector was asked, and all but those are None for an empty sound.
    """

    speech_share: float | None = None
    longest_silence_s: float | None = None
    snr_db: float | None = None
    clipping_share: float | None = None
    bandwidth_hz: float | None = None
    modulation_4hz: float | None = None


def sound_facts(waveform_S: np.ndarray, activity: SpeechActivity | None = None) -> SoundFacts:
    """The facts of a float32 [S] mono waveform at 16 kHz in [-1, 1]; ``activity`` says where its speech is.

    Raises ValueError for an activity of another length.
    """
    num_samples = len(waveform_S)
    if activity is not None and activity.num_samples != num_samples:
        raise ValueError(f"the activity is of {activity.num_samples} samples, the waveform has {num_samples}")
    if num_samples == 0:
        return SoundFacts()
    found = spectra(waveform_S)
    silences = activity.silences if activity is not None else []
    longest = max((stop - start for start, stop in silences), default=0)
    return SoundFacts(
        speech_share=None if activity is None else activity.speech_share,
        longest_silence_s=None if activity is None else longest / SAMPLE_RATE,
        snr_db=None if activity is None else snr_db(waveform_S, activity),
        clipping_share=clipping_share(waveform_S),
        bandwidth_hz=bandwidth_hz(found.power_B, drop_db=BANDWIDTH_DROP_DB),
        modulation_4hz=modulation_share(
            found.envelopes_NE, band_hz=MODULATION_BAND_HZ, all_hz=MODULATION_ALL_HZ, min_s=MODULATION_MIN_S
        ),
    )


def clipping_share(waveform_S: np.ndarray) -> float:
    """Share of the samples at full scale in runs of at least ``CLIPPED_RUN`` of one sign; 0 for an empty sound."""
    clipped = 0
    for side_S in (waveform_S >= FULL_SCALE, waveform_S <= -FULL_SCALE):
        edges = np.flatnonzero(np.diff(side_S.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        lengths = edges[:, 1] - edges[:, 0]
        clipped += int(lengths[lengths >= CLIPPED_RUN].sum())
    return clipped / max(len(waveform_S), 1)


def snr_db(waveform_S: np.ndarray, activity: SpeechActivity) -> float | None:
    """Power of speech, less that of the noise, by that of the noise, in decibels; None as ``SoundFacts`` says.

    The noise is the median over whole hops of the pauses, so that speech which the detector overlooked decides nothing.
    """
    speaks_S = activity.speaks_S()
    guard = round(GUARD_S * SAMPLE_RATE)
    pauses = [np.zeros(0)]
    for start, stop in activity.silences:
        first = start + guard if start > 0 else 0
        last = stop - guard if stop < len(waveform_S) else stop
        whole = max(0, last - first) // activity.hop
        hops_NS = waveform_S[first : first + whole * activity.hop].reshape(whole, activity.hop)
        pauses.append(np.mean(np.square(hops_NS, dtype=np.float64), axis=1))
    noise_N = np.concatenate(pauses)
    if not speaks_S.any() or len(noise_N) * activity.hop < NOISE_MIN_S * SAMPLE_RATE:
        return None
    noise = max(float(np.median(noise_N)), ROUNDING_POWER)
    speech = float(np.mean(np.square(waveform_S[speaks_S], dtype=np.float64))) - noise
    return max(SNR_FLOOR_DB, 10.0 * math.log10(speech / noise)) if speech > 0 else SNR_FLOOR_DB
