"""Log-mel features: tones land in their band, time is exact, and a stream gives what the whole clip gives."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME
from lipforcing_core.models.audio_encoders.log_mel import (
    CONTEXT_HOPS,
    HOPS_PER_FRAME,
    NUM_MELS,
    LogMelEncoder,
)

HOPS = HOPS_PER_FRAME + 2 * CONTEXT_HOPS


def _tone(frequency: float, num_frames: int) -> np.ndarray:
    time = np.arange(num_frames * SAMPLES_PER_FRAME) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def _mel_of(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)


def test_shape_and_size() -> None:
    features = LogMelEncoder().encode(_tone(300, 10), 10)
    assert features.shape == (10, LogMelEncoder.feature_dim) == (10, 320)
    assert features.dtype == np.float32
    assert np.abs(features).max() < 4


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 3000.0])
def test_a_tone_lands_in_its_band(frequency: float) -> None:
    features = LogMelEncoder().encode(_tone(frequency, 10), 10).reshape(10, HOPS, NUM_MELS)
    band = features[5, HOPS // 2].argmax()
    expected = _mel_of(frequency) / (_mel_of(SAMPLE_RATE / 2) / (NUM_MELS + 1)) - 1
    assert abs(band - expected) <= 1


def test_neighbouring_frames_share_their_hops() -> None:
    rng = np.random.default_rng(0)
    features = LogMelEncoder().encode(rng.normal(0, 0.1, 6400).astype(np.float32), 10)
    hops = features.reshape(10, HOPS, NUM_MELS)
    np.testing.assert_array_equal(hops[4, HOPS_PER_FRAME:], hops[5, :-HOPS_PER_FRAME])


def test_lookahead_is_what_it_says() -> None:
    encoder = LogMelEncoder()
    rng = np.random.default_rng(1)
    waveform = rng.normal(0, 0.1, 20 * SAMPLES_PER_FRAME).astype(np.float32)
    reach = 10 * SAMPLES_PER_FRAME + round(encoder.lookahead_s * SAMPLE_RATE)
    changed = waveform.copy()
    changed[reach:] = 0
    np.testing.assert_array_equal(encoder.encode(changed, 20)[:10], encoder.encode(waveform, 20)[:10])
    changed[reach - 40 : reach] = 0.5
    assert not np.array_equal(encoder.encode(changed, 20)[9], encoder.encode(waveform, 20)[9])


def test_a_stream_equals_the_whole() -> None:
    encoder = LogMelEncoder()
    waveform = np.random.default_rng(2).normal(0, 0.1, 12_345).astype(np.float32)
    whole = encoder.encode(waveform, 25)  # longer than the sound: silence follows
    parts = [encoder.encode_range(waveform, a, b) for a, b in ((0, 9), (9, 21), (21, 25))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)


def test_silence_is_constant_and_not_zero() -> None:
    features = LogMelEncoder().encode(np.zeros(640, np.float32), 5)
    assert np.unique(features).size == 1
    assert features[0, 0] < -1  # zeros stand for "no audio" under guidance and must differ from silence


def test_refuses_stereo() -> None:
    with pytest.raises(BadInputError, match="mono"):
        LogMelEncoder().encode(np.zeros((2, 640), np.float32), 1)
