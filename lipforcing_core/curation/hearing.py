"""The sound of a source: which of its tracks is taken, folded down to one channel, and cut for the pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipforcing_core.curation.results import SoundTaken
from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.soundtrack import SoundTrack
from lipforcing_core.sound.tracks import TrackFacts, choose_track

MAX_SHIFT_FRAMES = 15
"""A piece keeps so much of the sound before and after it, so that a shift brings in what really comes there."""
LISTEN_S = 120
"""So much of the middle of a track says whether somebody speaks on it."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The sound of a source: float32 [S] at 16 kHz, 0 samples if there is none, and where it comes from."""

    waveform_S: np.ndarray
    taken: SoundTaken | None = None


def hear(tracks: list[SoundTrack]) -> Heard:
    """Choose among the tracks of a source that has been read (``sound.tracks``)."""
    folded = {track.stream.index: track.folded for track in tracks if track.folded is not None}
    facts = [
        TrackFacts(
            index=track.stream.index,
            is_default=track.is_default,
            language=track.language or "",
            loudness_dbfs=loudness_dbfs(folded[track.stream.index].waveform_S),
            speech_share=_speech_share(folded[track.stream.index].waveform_S) if len(folded) > 1 else None,
        )
        for track in tracks
        if track.stream.index in folded
    ]
    if not facts:
        return Heard(waveform_S=np.zeros(0, dtype=np.float32))
    choice = choose_track(facts)
    sound = folded[choice.index]
    taken = SoundTaken(track=choice.index, why=choice.words, how=sound.how, notes=sound.notes)
    return Heard(waveform_S=sound.waveform_S, taken=taken)


def wide_sound(waveform_S: np.ndarray, segment: Segment) -> np.ndarray:
    """The sound of a segment with ``MAX_SHIFT_FRAMES`` before and after it; silence beyond the ends of the source."""
    start = (segment.start - MAX_SHIFT_FRAMES) * SAMPLES_PER_FRAME
    stop = (segment.stop + MAX_SHIFT_FRAMES) * SAMPLES_PER_FRAME
    found = waveform_S[max(start, 0) : max(stop, 0)]
    before = min(max(-start, 0), stop - start)
    return np.pad(found, (before, stop - start - before - len(found)))


def delayed(wide_S: np.ndarray, num_frames: int, delay_frames: int = 0) -> np.ndarray:
    """The sound of a segment out of its wide sound, delayed by whole frames: float32 [640 * frames]."""
    start = (MAX_SHIFT_FRAMES - delay_frames) * SAMPLES_PER_FRAME
    return wide_S[start : start + num_frames * SAMPLES_PER_FRAME]


def loudness_dbfs(waveform_S: np.ndarray) -> float:
    """RMS level in dB below full scale; at least -120."""
    if not len(waveform_S):
        return -120.0
    rms = float(np.sqrt(np.mean(np.square(waveform_S, dtype=np.float64))))
    return 20.0 * float(np.log10(max(rms, 1e-6)))


def _speech_share(waveform_S: np.ndarray) -> float:
    from lipforcing_core.sound.activity.catalogue import load_activity

    excess = max(len(waveform_S) - LISTEN_S * SAMPLE_RATE, 0)
    middle_S = waveform_S[excess // 2 : len(waveform_S) - (excess - excess // 2)]
    return load_activity().activity(middle_S).speech_share
