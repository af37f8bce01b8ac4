"""What networks that measures stand on can do: feature networks, perceptual distances, and the sync expert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

WINDOW_FRAMES = 16
"""Frames that one vector of a video network sees."""

WINDOW_STRIDE = 8
"""Frames from one such window to the next."""


class FeatureExtractor(Protocol):
    """Turns a clip into feature vectors; the backend id goes on every score made from them."""

    @property
    def backend_id(self) -> str:
        """Which network, in which version, with which weights."""
        ...

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[n, d] float32``: a vector per frame, or per window for video.

        n is 0 where a clip is too short for one window.
        """
        ...


class PerceptualDistance(Protocol):
    """A distance between frames that tracks what people see better than squared error."""

    @property
    def backend_id(self) -> str:
        """Which network, in which version, with which weights."""
        ...

    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """``[F] float64``, 0 for equal frames; both clips ``[F, H, W, 3] uint8 RGB``."""
        ...


class SyncResult(Protocol):
    """What a sync expert finds; ``lipforcing_core.sync.offset.SyncScore`` has this shape."""

    @property
    def confidence(self) -> float:
        """Sync-C: median minus minimum distance over offsets; higher is better."""
        ...

    @property
    def distance(self) -> float:
        """Sync-D: minimum distance over offsets; lower is better."""
        ...

    @property
    def offset_frames(self) -> int:
        """Positive where the matching sound lies earlier than the picture."""
        ...


class SyncScorer(Protocol):
    """The part of ``lipforcing_core.sync.experts.protocol.SyncExpert`` that measures use."""

    @property
    def backend_id(self) -> str:
        """Which expert, in which version, with which weights."""
        ...

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncResult:
        """Score ``[F, S, S, 3] uint8 RGB`` aligned crops against ``[S] float32`` mono sound at 16 kHz."""
        ...
