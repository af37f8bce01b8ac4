"""One face through a video: looks every few frames, the most persistent face, a state for every frame.

The detector looks at every ``stride``-th frame of a shot and at its last frame. Boxes of neighbouring looks that
overlap are linked into chains; the chain with the greatest total size is the face unless another one is named, so a
spurious box that appears once cannot win, however large it is. Frames between looks are interpolated linearly and
smoothed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.choice import FaceChoice, ShotFaces
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.faces.sightings import (
    MIN_CHAIN_LOOKS,
    FaceState,
    Look,
    Sighting,
    bridged,
    held_frames,
    link,
    similar_size,
    state_of,
    weight,
)
from lipforcing_core.faces.smooth import smooth_run


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """The face in every frame.

    ``anchors_F32`` float64: left brow, right brow, nose in frame pixels; ``boxes_F4`` float64: x0, y0, x1, y1. Rows of
    frames whose state is ABSENT hold NaN, so that using one by mistake shows; ``states`` decides. ``shots`` tells which
    faces each shot shows.
    """

    anchors_F32: np.ndarray
    boxes_F4: np.ndarray
    states: list[FaceState]
    shots: tuple[ShotFaces, ...] = ()

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
    choice: FaceChoice | None = None,
) -> FaceTrack:
    """Follow the largest or the chosen face of each shot through [H, W, 3] uint8 RGB frames.

    They are read once and not kept.
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
    shots = []
    for start, stop in itertools.pairwise(edges):
        shot_looks = [look for look in looks if start <= look.frame < stop]
        faces = _faces(shot_looks, max_gap)
        taken = (0 if faces else None) if choice is None else choice.index(faces)
        shots.append(ShotFaces.of(start, stop, faces, taken))
        runs = bridged([] if taken is None else faces[taken], max_gap)
        for run, held in zip(runs, held_frames(runs, start, stop, stride), strict=True):
            seen = [frame for frame, _ in run]
            boxes_F4[held], anchors_F32[held] = smooth_run(run, held)
            missed = [look.frame for look in shot_looks if look.frame not in seen]
            for frame in held:
                states[frame] = state_of(int(frame), seen, missed)
    return FaceTrack(anchors_F32=anchors_F32, boxes_F4=boxes_F4, states=states, shots=tuple(shots))


def _looks(
    frames: Iterable[np.ndarray], detector: FaceDetector, stride: int, starts: list[int]
) -> tuple[list[Look], int]:
    """Every look at the video, and its number of frames."""
    looks: list[Look] = []
    boundaries = set(starts)
    shot_start, index, frame = 0, -1, None
    for index, frame in enumerate(frames):
        if index in boundaries:
            shot_start = index
        if (index - shot_start) % stride == 0 or index + 1 in boundaries:
            looks.append(Look(index, detector.detect(frame)))
    if frame is not None and looks[-1].frame != index:
        looks.append(Look(index, detector.detect(frame)))
    return looks, index + 1


def _faces(looks: list[Look], max_gap: int) -> list[list[Sighting]]:
    """The faces of a shot, the one with the greatest total size first: the sightings of each in order of time.

    Of each the best chain that is left is taken first; further chains fill the time it leaves (a face lost and found
    elsewhere) if they are long enough and of a similar size. All but the first face must be seen in three looks.
    """
    left = sorted(_chains(looks, max_gap), key=weight, reverse=True)
    enough = min(MIN_CHAIN_LOOKS, len(looks))
    faces: list[list[Sighting]] = []
    while left:
        chosen: list[list[Sighting]] = [left[0]]
        rest: list[list[Sighting]] = []
        for chain in left[1:]:
            apart = all(chain[-1].frame < c[0].frame or chain[0].frame > c[-1].frame for c in chosen)
            fills = apart and similar_size(chain, left[0]) and len(chain) >= MIN_CHAIN_LOOKS
            (chosen if fills else rest).append(chain)
        if not faces or len(left[0]) >= enough:
            faces.append(sorted(itertools.chain(*chosen), key=lambda sighting: sighting.frame))
        left = rest
    return faces


def _chains(looks: list[Look], max_gap: int) -> list[list[Sighting]]:
    chains: list[list[Sighting]] = []
    for look in looks:
        chains += link(chains, look, max_gap)
    return chains
