"""What a voice activity detector is: speech probability in every hop, and where it says that nobody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from lipforcing_core.sound.rate import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """How probabilities become stretches of speech; all values are the defaults of silero-vad's own front end.

    Speech begins where the probability reaches ``enter`` and goes on until it falls below ``leave`` (hysteresis). A
    silence between speech that is shorter than ``min_silence_s`` is no silence, and then a stretch of speech between
    silences that is not longer than ``min_speech_s`` is no speech. What touches an end of the sound may go on beyond
    it, so its length says nothing and it stays what it is.
    """

    enter: float = 0.5
    leave: float = 0.35
    min_silence_s: float = 0.1
    min_speech_s: float = 0.25


@dataclass(frozen=True, kw_only=True)
class SpeechActivity:
    """Where speech is in a sound of ``num_samples`` at 16 kHz.

    probability_N: float32 [N] in [0, 1], one value for every ``hop`` samples; the last hop may reach beyond the end.
    rule: how the stretches are found; ``dataclasses.replace`` with another rule decides anew from the same values.
    """

    probability_N: np.ndarray
    hop: int
    num_samples: int
    rule: ActivityRule = ActivityRule()

    @cached_property
    def speech(self) -> list[tuple[int, int]]:
        """Stretches of speech as (start, stop) in samples, in order."""
        return _stretches(self.probability_N, self.hop, self.num_samples, self.rule)

    @cached_property
    def silences(self) -> list[tuple[int, int]]:
        """What lies before, between and after the stretches of speech, as (start, stop) in samples."""
        edges = [0, *(edge for stretch in self.speech for edge in stretch), self.num_samples]
        between = zip(edges[::2], edges[1::2], strict=True)
        return [(start, stop) for start, stop in between if stop > start]

    @property
    def speech_share(self) -> float:
        """Share of the samples that are speech, 0 to 1; 0 for a sound without samples."""
        return sum(stop - start for start, stop in self.speech) / max(self.num_samples, 1)

    def speaks_S(self) -> np.ndarray:
        """Whether each sample belongs to speech, bool [S]."""
        speaks_S = np.zeros(self.num_samples, dtype=bool)
        for start, stop in self.speech:
            speaks_S[start:stop] = True
        return speaks_S


class VoiceActivityDetector(Protocol):
    """Says where speech is. A call depends on nothing but its argument: the same sound gives the same bits."""

    @property
    def backend_id(self) -> str:
        """Which detector, in which version, gave the probabilities."""
        ...

    def activity(self, waveform_S: np.ndarray) -> SpeechActivity:
        """Speech in a float32 [S] mono waveform at 16 kHz in [-1, 1]; raises ``BadInputError`` for another shape."""
        ...


def speaks_N(probability_N: np.ndarray, rule: ActivityRule) -> np.ndarray:
    """Whether each hop is speech by the hysteresis of the rule alone, bool [N]; at the start nobody speaks."""
    decides_N = (probability_N >= rule.enter) | (probability_N < rule.leave)
    last_N = np.maximum.accumulate(np.where(decides_N, np.arange(len(probability_N)), -1))
    speaks: np.ndarray = (last_N >= 0) & (probability_N[last_N] >= rule.enter)
    return speaks


def _stretches(
    probability_N: np.ndarray, hop: int, num_samples: int, rule: ActivityRule
) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(speaks_N(probability_N, rule).astype(np.int8), prepend=0, append=0)) * hop
    runs = [(int(start), min(int(stop), num_samples)) for start, stop in edges.reshape(-1, 2)]
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and start - joined[-1][1] < rule.min_silence_s * SAMPLE_RATE:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return [
        (start, stop)
        for start, stop in joined
        if stop - start > rule.min_speech_s * SAMPLE_RATE or start == 0 or stop == num_samples
    ]
