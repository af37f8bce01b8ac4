"""One face through a video: looks every few frames, the most persistent face, a state for every frame.

The detector looks at every ``stride``-th frame of a shot and at its last frame. Boxes of neighbouring looks that
overlap are linked into chains; the chain with the greatest total size is the face, so a spurious box that appears once
cannot win, however large it is. Frames between looks are interpolated linearly and smoothed.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.detectors.protocol import Face, FaceDetector
from lipforcing_core.faces.smooth import smooth_run

MIN_LINK_IOU = 0.3
MIN_CHAIN_LOOKS = 3
MIN_RELATIVE_SIDE = 0.5


class FaceState(StrEnum):
    """What is known of the face in one frame."""

    DETECTED = "detected"  # seen here, or by the look before and the look after
    INTERPOLATED = "interpolated"  # in a short gap where a look found nothing, or just outside all sightings
    ABSENT = "absent"  # no face, or a gap too long to bridge: pass the frame through


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """The face in every frame.

    ``anchors_F32`` float64: left brow, right brow, nose in frame pixels; ``boxes_F4`` float64: x0, y0, x1, y1. Rows of
    frames whose state is ABSENT hold NaN, so that using one by mistake shows; ``states`` decides.
    """

    anchors_F32: np.ndarray
    boxes_F4: np.ndarray
    states: list[FaceState]

    @property
    def usable(self) -> np.ndarray:
        """[F] bool: whether there is a face to work on."""
        return np.array([state is not FaceState.ABSENT for state in self.states], dtype=bool)

    @property
    def detected_fraction(self) -> float:
        """Share of the frames in state DETECTED."""
        return sum(state is FaceState.DETECTED for state in self.states) / len(self.states)


def track_face(
    frames: Iterable[np.ndarray],
    detector: FaceDetector,
    *,
    stride: int = 5,
    max_gap_frames: int = 25,
    shot_starts: Sequence[int] = (),
) -> FaceTrack:
    """Follow the main face of each shot through [H, W, 3] uint8 RGB frames, which are read once and not kept.

    Two sightings at most ``max_gap_frames`` apart are bridged although looks between them failed; at the
    ends of a shot a sighting holds for one stride. ``shot_starts`` are the frame indices where a new shot
    begins: nothing is linked, interpolated or smoothed across one. Raises ``BadInputError`` for a video
    without frames or a stride below 1.
    """
    if stride < 1 or max_gap_frames < 0:
        raise BadInputError(
            f"stride must be at least 1 and the gap not negative, not {stride}, {max_gap_frames}"
        )
    starts = sorted({0, *shot_starts})
    max_gap = max(max_gap_frames, stride)
    looks, num_frames = _looks(frames, detector, stride, starts)
    if num_frames == 0:
        raise BadInputError("there are no frames to look for a face in")

    anchors_F32 = np.full((num_frames, 3, 2), np.nan)
    boxes_F4 = np.full((num_frames, 4), np.nan)
    states = [FaceState.ABSENT] * num_frames
    edges = [start for start in starts if start < num_frames] + [num_frames]
    for start, stop in itertools.pairwise(edges):
        shot_looks = [look for look in looks if start <= look.frame < stop]
        runs = _bridged(_main_face(shot_looks, max_gap), max_gap)
        for run, held in zip(runs, _held_frames(runs, start, stop, stride), strict=True):
            seen = [frame for frame, _ in run]
            boxes_F4[held], anchors_F32[held] = smooth_run(run, held)
            missed = [look.frame for look in shot_looks if look.frame not in seen]
            for frame in held:
                states[frame] = _state(int(frame), seen, missed)
    return FaceTrack(anchors_F32=anchors_F32, boxes_F4=boxes_F4, states=states)


def intersection_over_union(a: Face, b: Face) -> float:
    """Overlap of two boxes, 0 to 1."""
    width = min(a.box_xyxy[2], b.box_xyxy[2]) - max(a.box_xyxy[0], b.box_xyxy[0])
    height = min(a.box_xyxy[3], b.box_xyxy[3]) - max(a.box_xyxy[1], b.box_xyxy[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.area + b.area - shared)


class _Look(NamedTuple):
    """What the detector found in one frame."""

    frame: int
    faces: list[Face]


class _Sighting(NamedTuple):
    """One face in one frame."""

    frame: int
    face: Face


def _looks(
    frames: Iterable[np.ndarray], detector: FaceDetector, stride: int, starts: list[int]
) -> tuple[list[_Look], int]:
    """Every look at the video, and its number of frames."""
    looks: list[_Look] = []
    boundaries = set(starts)
    shot_start, index, frame = 0, -1, None
    for index, frame in enumerate(frames):
        if index in boundaries:
            shot_start = index
        if (index - shot_start) % stride == 0 or index + 1 in boundaries:
            looks.append(_Look(index, detector.detect(frame)))
    if frame is not None and looks[-1].frame != index:
        looks.append(_Look(index, detector.detect(frame)))
    return looks, index + 1


def _main_face(looks: list[_Look], max_gap: int) -> list[_Sighting]:
    """The sightings of the main face of a shot, in order of time.

    The best chain is taken first; further chains fill the time it leaves (a face lost and found elsewhere) if
    they are long enough and of a similar size.
    """
    chains = sorted(_chains(looks, max_gap), key=_weight, reverse=True)
    if not chains:
        return []
    chosen, side = [chains[0]], _median_side(chains[0])
    for chain in chains[1:]:
        apart = all(chain[-1].frame < other[0].frame or chain[0].frame > other[-1].frame for other in chosen)
        similar = MIN_RELATIVE_SIDE <= _median_side(chain) / side <= 1 / MIN_RELATIVE_SIDE
        if apart and similar and len(chain) >= MIN_CHAIN_LOOKS:
            chosen.append(chain)
    return sorted(itertools.chain(*chosen), key=lambda sighting: sighting.frame)


def _chains(looks: list[_Look], max_gap: int) -> list[list[_Sighting]]:
    """Sightings linked from look to look.

    The heaviest chain so far chooses first, so a second box on the same face cannot take over its chain.
    """
    chains: list[list[_Sighting]] = []
    for look in looks:
        left = list(look.faces)
        open_chains = [chain for chain in chains if look.frame - chain[-1].frame <= max_gap]
        for chain in sorted(open_chains, key=_weight, reverse=True):
            overlaps = [intersection_over_union(chain[-1].face, face) for face in left]
            if overlaps and max(overlaps) >= MIN_LINK_IOU:
                chain.append(_Sighting(look.frame, left.pop(overlaps.index(max(overlaps)))))
        chains += [[_Sighting(look.frame, face)] for face in left]
    return chains


def _bridged(sightings: list[_Sighting], max_gap: int) -> list[list[_Sighting]]:
    """Sightings cut into runs wherever looks failed for too long, or two neighbours do not overlap at all."""
    runs: list[list[_Sighting]] = []
    for sighting in sightings:
        if runs:
            before = runs[-1][-1]
            near = sighting.frame - before.frame <= max_gap
            if near and intersection_over_union(before.face, sighting.face) > 0:
                runs[-1].append(sighting)
                continue
        runs.append([sighting])
    return runs


def _held_frames(runs: list[list[_Sighting]], start: int, stop: int, stride: int) -> list[np.ndarray]:
    """The frames of every run, with up to one stride at both ends; between two runs the nearer one holds."""
    edges = [start - 1, *itertools.chain(*((run[0].frame, run[-1].frame) for run in runs)), stop]
    held = []
    for number, run in enumerate(runs):
        before, after = edges[2 * number], edges[2 * number + 3]
        low = run[0].frame - min(stride, _share(run[0].frame - before - 1, alone=number == 0))
        high = run[-1].frame + min(stride, _share(after - run[-1].frame - 1, alone=number + 1 == len(runs)))
        held.append(np.arange(low, high + 1))
    return held


def _share(gap: int, *, alone: bool) -> int:
    """How much of a gap one run may take: all of it at the edge of the shot, half of it between two runs."""
    return gap if alone else gap // 2


def _weight(chain: list[_Sighting]) -> float:
    weight: float = sum(sighting.face.score * sighting.face.area**0.5 for sighting in chain)
    return weight


def _median_side(chain: list[_Sighting]) -> float:
    return float(np.median([sighting.face.area**0.5 for sighting in chain]))


def _state(frame: int, seen: list[int], missed: list[int]) -> FaceState:
    """DETECTED where no look failed between the sightings on either side of the frame."""
    position = bisect_left(seen, frame)
    if position < len(seen) and seen[position] == frame:
        return FaceState.DETECTED
    if position in (0, len(seen)):
        return FaceState.INTERPOLATED
    failed = any(seen[position - 1] < look < seen[position] for look in missed)
    return FaceState.INTERPOLATED if failed else FaceState.DETECTED
