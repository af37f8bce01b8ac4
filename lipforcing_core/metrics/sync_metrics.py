"""Sync-C, Sync-D and the audio-visual offset of a clip, as one sync expert hears and sees it (method F.6)."""

from __future__ import annotations

from typing import Protocol

import numpy as np


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
    """The part of ``lipforcing_core.sync.experts.protocol.SyncExpert`` that metrics use."""

    @property
    def backend_id(self) -> str:
        """Which expert, in which version, with which weights."""
        ...

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncResult:
        """Score ``[F, S, S, 3] uint8 RGB`` aligned crops against ``[S] float32`` mono sound at 16 kHz."""
        ...


def sync_values(frames: np.ndarray, waveform: np.ndarray, expert: SyncScorer) -> dict[str, float]:
    """``sync_c``, ``sync_d`` and ``av_offset_frames`` of a clip against a sound that starts with it.

    Sync-C does not see a constant offset (the minimum is taken over all), so the offset always stands beside it.
    """
    score = expert.score(frames, waveform)
    return {
        "sync_c": float(score.confidence),
        "sync_d": float(score.distance),
        "av_offset_frames": float(score.offset_frames),
    }
