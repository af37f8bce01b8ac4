"""What is scored: the truth of an item and a prediction beside it, cut, with what was worked out from them so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from lipforcing_core.media.clock import SAMPLES_PER_FRAME, frames_for_samples
from lipforcing_core.media.decode import read_audio
from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.crops import UnscorableClip, cut_truth, find_window
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.metrics.protocol import MIN_SCORED_FRAMES, Protocol
from lipforcing_core.metrics.values import UndefinedMeasure

T = TypeVar("T")


class ScoredPicture:
    """Aligned crops ``frames``, ``[F, S, S, 3] uint8 RGB``, and the networks that look at them."""

    def __init__(self, frames: np.ndarray, backends: Backends) -> None:
        self.frames, self.backends = frames, backends
        self._known: dict[Callable[..., Any], Any] = {}

    def once(self, work: Callable[[Self], T]) -> T:
        """What ``work`` makes of this picture, worked out once however many measures ask."""
        if work not in self._known:
            self._known[work] = work(self)
        result: T = self._known[work]
        return result


class ScoredTruth(ScoredPicture):
    """The truth of an item over the scored window: its crops, and ``speech``, the driving sound under them.

    speech: ``[F * 640] float32`` mono at 16 kHz. Raises ``UnscorableClip`` where the truth or its sound cannot be used
    and ``MediaError`` where a file cannot be read.
    """

    def __init__(self, item: EvalItem, protocol: Protocol, backends: Backends) -> None:
        self.item, self._size = item, protocol.size
        self.window = find_window(item.truth_video, protocol, backends.detector)
        if protocol.num_frames is None:  # files often end with a fraction of a frame less sound than picture
            covered = frames_for_samples(len(read_audio(item.driving_audio)))
            if covered >= self.window.start + MIN_SCORED_FRAMES:
                self.window = self.window.until(covered)
        super().__init__(cut_truth(item.truth_video, self.window, protocol.size), backends)
        self.speech = self._cut_sound(item.driving_audio)

    def sound_of(self, path: Path) -> np.ndarray:
        """Another sound under the scored frames; raises ``UndefinedMeasure`` where it is shorter."""
        try:
            return self._cut_sound(path)
        except UnscorableClip as problem:
            raise UndefinedMeasure(str(problem)) from problem

    def source_frames(self) -> np.ndarray:
        """The source video cut as the truth is; raises ``UndefinedMeasure`` where there is none or it is shorter."""
        if self.item.source_video is None:
            raise UndefinedMeasure("the item has no source video")
        try:
            return cut_truth(self.item.source_video, self.window, self._size)
        except UnscorableClip as problem:
            raise UndefinedMeasure(f"the source cannot be scored: {problem}") from problem

    def _cut_sound(self, path: Path) -> np.ndarray:
        samples = slice(self.window.start * SAMPLES_PER_FRAME, self.window.stop * SAMPLES_PER_FRAME)
        waveform = read_audio(path)[samples]
        if len(waveform) < self.window.num_frames * SAMPLES_PER_FRAME:
            covered = len(waveform) // SAMPLES_PER_FRAME
            raise UnscorableClip(
                f"the sound of {path.name} covers {covered} of {self.window.num_frames} scored frames"
            )
        return waveform


class ScoredClip(ScoredPicture):
    """One prediction beside its truth; both have as many frames of the same size."""

    def __init__(self, frames: np.ndarray, truth: ScoredTruth) -> None:
        super().__init__(frames, truth.backends)
        self.truth = truth
