"""The embedded audio encoder: log-mel energies of the ten-millisecond hops in and around each video frame.

Their normalisation is fixed, so that a stream gives the same features as the whole clip.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME

HOP = 160
FFT_SIZE = 512
WINDOW = 400
NUM_MELS = 40
HOPS_PER_FRAME = SAMPLES_PER_FRAME // HOP
CONTEXT_HOPS = 2  # hops before and after those that lie inside the frame
_LOG_FLOOR = 1e-6
_LOG_CENTRE = -7.0  # fixed normalisation: speech at usual levels spans about -13.8 (silence) to 1
_LOG_SPREAD = 4.0


class LogMelEncoder:
    """40 log-mel energies x 8 hops per video frame (4 inside it, 2 before, 2 after): 320 values of about unit size.

    The window of a hop is 25 ms and centred on the hop, so a frame's features listen 27.5 ms past its end
    and as far back before its start (``lookahead_s``). Nothing depends on the rest of the clip.
    """

    backend_id = "log-mel-v1"
    feature_dim = NUM_MELS * (HOPS_PER_FRAME + 2 * CONTEXT_HOPS)
    lookahead_s = (CONTEXT_HOPS * HOP - HOP // 2 + WINDOW // 2) / SAMPLE_RATE

    def encode(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """Features ``[num_frames, 320]`` of a mono waveform ``[S]`` in [-1, 1] at 16 kHz."""
        return self.encode_range(waveform, 0, num_frames)

    def encode_range(self, waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Features ``[stop - start, 320]`` of the frames ``[start, stop)``; ``BadInputError`` if not mono."""
        if waveform.ndim != 1:
            raise BadInputError(f"the audio encoder takes a mono waveform [S]; got shape {waveform.shape}")
        num_frames = stop - start
        num_hops = num_frames * HOPS_PER_FRAME + 2 * CONTEXT_HOPS
        first = start * SAMPLES_PER_FRAME - CONTEXT_HOPS * HOP + HOP // 2 - WINDOW // 2
        samples = _slice_padded(waveform, first, first + (num_hops - 1) * HOP + WINDOW)
        windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        spectrum = np.fft.rfft(windows * np.hanning(WINDOW), FFT_SIZE, axis=1)
        energy = np.abs(spectrum) ** 2 @ _mel_filters().T
        mel = (np.log(energy + _LOG_FLOOR) - _LOG_CENTRE) / _LOG_SPREAD
        index = np.arange(num_frames)[:, None] * HOPS_PER_FRAME + np.arange(HOPS_PER_FRAME + 2 * CONTEXT_HOPS)
        features_FD: np.ndarray = mel[index].reshape(num_frames, self.feature_dim).astype(np.float32)
        return features_FD


def _slice_padded(waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
    """``waveform[start:stop]`` as float64 with zeros where the waveform has ended or not begun."""
    out = np.zeros(stop - start)
    low, high = max(start, 0), min(stop, len(waveform))
    if low < high:
        out[low - start : high - start] = waveform[low:high]
    return out


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """Triangular filters ``[40, 257]``, evenly spaced on the mel scale 2595 log10(1 + f/700), 0 to 8 kHz."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, NUM_MELS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)
    rise = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rise, fall))
