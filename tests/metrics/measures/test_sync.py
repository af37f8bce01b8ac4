from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.metrics.measures.sync import AV_OFFSET_FRAMES, SYNC_C, SYNC_C_GIVEN, SYNC_D
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture
from lipforcing_core.metrics.values import UndefinedMeasure

Score = namedtuple("Score", "confidence distance offset_frames")


class LoudnessExpert:
    """Finds how far the first bright frame lies behind the first loud one; counts how often it is asked."""

    backend_id = "loudness@test"

    def __init__(self) -> None:
        self.num_asked = 0

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> Score:
        self.num_asked += 1
        loud = np.abs(waveform.reshape(len(frames), 640)).max(axis=1)
        offset = int(np.argmax(frames.max(axis=(1, 2, 3)))) - int(np.argmax(loud))
        return Score(confidence=5.0 - offset, distance=np.float32(7.0), offset_frames=offset)


def loud_at(frame: int) -> np.ndarray:
    waveform = np.zeros(6400, np.float32)
    waveform[frame * 640] = 1.0
    return waveform


def scored_clip(expert: LoudnessExpert, unrelated: str | None = "unrelated.wav") -> ScoredClip:
    frames = np.zeros((10, 8, 8, 3), np.uint8)
    frames[6] = 255
    truth = ScoredPicture(frames, SimpleNamespace(sync=expert))
    truth.speech, truth.item = loud_at(4), SimpleNamespace(unrelated_audio=unrelated)
    truth.sound_of = lambda path: loud_at(5) if path == unrelated else None
    return ScoredClip(frames, truth)


def test_one_look_gives_confidence_distance_and_offset():
    expert = LoudnessExpert()
    clip = scored_clip(expert)
    measured = [measure.compute(clip) for measure in (SYNC_C, SYNC_D, AV_OFFSET_FRAMES)]
    assert measured == [3.0, 7.0, 2]
    assert expert.num_asked == 1


def test_the_speech_given_is_the_unrelated_one():
    assert SYNC_C_GIVEN.compute(scored_clip(LoudnessExpert())) == 4.0
    with pytest.raises(UndefinedMeasure, match="no unrelated audio"):
        SYNC_C_GIVEN.compute(scored_clip(LoudnessExpert(), unrelated=None))
