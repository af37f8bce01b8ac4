"""One sound track of a source: decoded blocks put in their places on the time line, as one channel at 16 kHz."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from lipforcing_core.media.clock import SAMPLE_RATE
from lipforcing_core.media.timeline import StreamClock
from lipforcing_core.sound.fold import FoldDown, Folded

LEAST_RATE, LARGEST_RATE = 2000, 768_000
"""Samples a second of sound that is meant: telephones have 8000, studios 192 000. One changed byte can make a second of
16 000 samples into hours."""
MAX_DRIFT_S = Fraction(1, 10)
"""Time stamps of sound are rounded and wander; only what is off by more is filled with silence or cut."""


class SoundTrack:
    """Collects one stream of sound; ``finish`` folds its channels down."""

    def __init__(self, stream: Any, clock: StreamClock) -> None:
        self.stream = stream
        self.folded: Folded | None = None
        self._clock = clock
        self._fold: FoldDown | None = None
        self._resampler: Any = None
        self._layout = ""
        self._input: tuple[Any, ...] = ()
        self._expected_s: Fraction | None = None
        self._excess = 0
        self._num_samples = 0
        self._is_heard = False

    @property
    def is_default(self) -> bool:
        """Whether the container says that a player should take this track."""
        return bool(self.stream.disposition & av.stream.Disposition.default)

    @property
    def language(self) -> str | None:
        """The language that the container declares."""
        language: str | None = self.stream.metadata.get("language")
        return language

    def add(self, frame: Any) -> None:
        """Put one decoded block of samples in its place.

        Raises ValueError or an error of libav for a block that cannot be resampled; the next one may be tried.
        """
        try:
            self._add(frame)
        except Exception:
            self._resampler, self._input = None, ()
            raise

    def _add(self, frame: Any) -> None:
        if not LEAST_RATE <= frame.sample_rate <= LARGEST_RATE:
            raise ValueError(f"sound of {frame.sample_rate} samples a second")
        length_s = Fraction(frame.samples, frame.sample_rate)
        if frame.pts is None:
            placed_s = self._expected_s or Fraction(0)
        else:
            placed_s, _ = self._clock.place(frame.pts * Fraction(frame.time_base), length_s)
        self._match(frame)
        if self._expected_s is None or abs(placed_s - self._expected_s) > MAX_DRIFT_S:
            self._flush()
            self._move_to(round(placed_s * SAMPLE_RATE))
            self._expected_s = placed_s
        self._expected_s += length_s
        frame.pts = None
        self._resample(frame)

    def finish(self) -> Folded | None:
        """The whole track; None if no sample could be decoded."""
        self._flush()
        if self._fold is not None and self._is_heard:
            self.folded = self._fold.finish()
        self._fold = None
        return self.folded

    def _match(self, frame: Any) -> None:
        """A resampler for blocks of this form; the channels stay those of the first block."""
        form = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        if form == self._input:
            return
        self._flush()
        if self._fold is None:
            self._layout = frame.layout.name
            self._fold = FoldDown(frame.layout.nb_channels, frame.layout.name)
        self._resampler = self._new_resampler()
        self._input = form

    def _flush(self) -> None:
        if self._resampler is None:
            return
        self._resample(None)
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> Any:
        """One that gives interleaved samples: PyAV reads beyond the planes of a planar block of 8 channels or more."""
        return av.AudioResampler(format="flt", layout=self._layout, rate=SAMPLE_RATE)

    def _resample(self, frame: Any) -> None:
        for block in self._resampler.resample(frame):
            self._take(block.to_ndarray().reshape(-1, self._channels).T)

    def _move_to(self, position: int) -> None:
        """Go on at a sample of the time line: over silence, or by leaving out what overlaps what is there."""
        assert self._fold is not None
        self._excess = max(self._num_samples - position, 0)
        silence = max(position - self._num_samples, 0)
        while silence:
            length = min(silence, SAMPLE_RATE)
            self._fold.add(np.zeros((self._channels, length), dtype=np.float32))
            self._num_samples += length
            silence -= length

    @property
    def _channels(self) -> int:
        return int(av.AudioLayout(self._layout).nb_channels)

    def _take(self, block_CS: np.ndarray) -> None:
        assert self._fold is not None
        self._is_heard = True
        left_out = min(self._excess, block_CS.shape[1])
        self._excess -= left_out
        self._fold.add(block_CS[:, left_out:])
        self._num_samples += block_CS.shape[1] - left_out
