"""Sync-C, Sync-D and the audio-visual offset from two sequences of embeddings (method F.6).

Both sequences have one embedding per video frame. For every shift the mean distance between lips and sound is taken;
the best shift gives the offset, its distance is Sync-D, and how far it lies below the median of all shifts is Sync-C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lipforcing_core.base.errors import BadInputError

MAX_OFFSET = 15
_DISTANCE_EPS = 1e-6  # torch's pairwise_distance adds it to every difference


class Edges(StrEnum):
    """What a lip window is compared with where the shifted sound has ended."""

    ZERO_PADDED = "zero_padded"  # a zero embedding: SyncNet's evaluation
    OVERLAP = "overlap"  # nothing, the mean is over the rest: the reward scorer (method D.5)


@dataclass(frozen=True, kw_only=True)
class SyncScore:
    """The outcome of an offset search.

    ``confidence`` is Sync-C (higher is better, at least 0), ``distance`` Sync-D (lower is better). ``offset_frames``
    is positive where the matching sound lies earlier than the picture; delaying the sound by it repairs the clip.
    ``distances`` holds the mean distance of every shift, the sound from ``max_offset`` frames earlier to as much later.
    """

    confidence: float
    distance: float
    offset_frames: int
    num_windows: int
    backend: str
    distances: tuple[float, ...]


def offset_search(
    video_ND: np.ndarray,
    audio_ND: np.ndarray,
    max_offset: int = MAX_OFFSET,
    *,
    backend: str,
    edges: Edges = Edges.ZERO_PADDED,
) -> SyncScore:
    """Search all shifts of up to ``max_offset`` frames either way.

    The longer sequence is cut to the shorter. With ``Edges.OVERLAP`` shifts that leave no overlap are not searched.
    The median of an even number of shifts is the lower middle one, as torch's. Raises ``BadInputError`` for an empty
    sequence or different widths.
    """
    means = mean_distances(video_ND, audio_ND, max_offset, edges=edges)
    best = int(means.argmin())
    return SyncScore(
        confidence=float(_lower_median(means) - means[best]),
        distance=float(means[best]),
        offset_frames=(len(means) - 1) // 2 - best,
        num_windows=min(len(video_ND), len(audio_ND)),
        backend=backend,
        distances=tuple(float(value) for value in means),
    )


def mean_distances(
    video_ND: np.ndarray, audio_ND: np.ndarray, max_offset: int = MAX_OFFSET, *, edges: Edges
) -> np.ndarray:
    """Mean distance per shift, [2 max_offset + 1] float64 (fewer where ``Edges.OVERLAP`` leaves no overlap)."""
    distances_NK = shift_distances(video_ND, audio_ND, max_offset)
    if edges is Edges.ZERO_PADDED:
        means_K: np.ndarray = distances_NK.mean(axis=0)
        return means_K
    num = len(distances_NK)
    reach = min(max_offset, num - 1)
    distances_NK = distances_NK[:, max_offset - reach : max_offset + reach + 1]
    sound_index = np.arange(num)[:, None] + np.arange(-reach, reach + 1)
    inside = (sound_index >= 0) & (sound_index < num)
    overlap_means_K: np.ndarray = (distances_NK * inside).sum(axis=0) / inside.sum(axis=0)
    return overlap_means_K


def shift_distances(video_ND: np.ndarray, audio_ND: np.ndarray, max_offset: int = MAX_OFFSET) -> np.ndarray:
    """Distances [N, 2 max_offset + 1] float64 of lip window i and sound window i - max_offset + k, zero outside."""
    if video_ND.ndim != 2 or audio_ND.ndim != 2 or video_ND.shape[1] != audio_ND.shape[1]:
        raise BadInputError(f"embeddings of shapes {video_ND.shape} and {audio_ND.shape} cannot be compared")
    num = min(len(video_ND), len(audio_ND))
    if num == 0:
        raise BadInputError(
            "no window of five frames with their sound: the clip is too short for a sync score"
        )
    video = video_ND[:num].astype(np.float64) + _DISTANCE_EPS
    padded = np.pad(audio_ND[:num].astype(np.float64), ((max_offset, max_offset), (0, 0)))
    columns = [np.linalg.norm(video - padded[k : k + num], axis=1) for k in range(2 * max_offset + 1)]
    return np.stack(columns, axis=1)


def framewise_confidence(distances_NK: np.ndarray, *, kernel_size: int = 9) -> np.ndarray:
    """How much nearer than the median shift each window is at the best shift, median-filtered: [N] float64.

    ``distances_NK`` comes from ``shift_distances``. The filter treats values outside the clip as zero.
    """
    means = distances_NK.mean(axis=0)
    confidence = _lower_median(means) - distances_NK[:, means.argmin()]
    padded = np.pad(confidence, kernel_size // 2)
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, kernel_size), axis=1)


def _lower_median(values: np.ndarray) -> float:
    return float(np.sort(values)[(len(values) - 1) // 2])
