from collections import namedtuple

import numpy as np

from lipforcing_core.metrics.sync_metrics import sync_values

Score = namedtuple("Score", "confidence distance offset_frames")


class LoudnessExpert:
    """Finds how far the first bright frame lies behind the first loud one."""

    backend_id = "loudness@test"

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> Score:
        loud = np.abs(waveform.reshape(len(frames), 640)).max(axis=1)
        offset = int(np.argmax(frames.max(axis=(1, 2, 3)))) - int(np.argmax(loud))
        return Score(confidence=5.0, distance=np.float32(7.0), offset_frames=offset)


def test_values_are_plain_numbers_with_the_offset_beside_them():
    frames = np.zeros((10, 8, 8, 3), np.uint8)
    frames[6] = 255
    waveform = np.zeros(6400, np.float32)
    waveform[4 * 640] = 1.0
    values = sync_values(frames, waveform, LoudnessExpert())
    assert values == {"sync_c": 5.0, "sync_d": 7.0, "av_offset_frames": 2.0}
    assert all(type(value) is float for value in values.values())
