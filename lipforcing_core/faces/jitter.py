"""How much the points of a face shake, before and after smoothing, in pixels of the aligned crop.

What is not a steady motion shows in the second difference over time, p(t + 1) - 2 p(t) + p(t - 1). Independent noise of
standard deviation s has a second difference of s times the root of 6; a face that moves evenly has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import align_track, square_matrix
from lipforcing_core.faces.anchors import anchors_of
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.sightings import intersection_over_union
from lipforcing_core.faces.track import track_face


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Root mean square of the second difference of brows and nose, per coordinate, in pixels of the 512 crop.

    every_frame: as the detector gives them, frame by frame. raw: of looks every few frames, with straight lines between
    them. smoothed: as the track has them.
    """

    every_frame: float
    raw: float
    smoothed: float


def jitter_of(found: Sequence[Sequence[Face]], *, stride: int) -> Jitter:
    """The jitter of the largest face of a shot, from what a detector finds in every single frame.

    Raises ``BadInputError`` where it is not found in every frame, or where there are fewer than three.
    """
    if len(found) < 3:
        raise BadInputError(f"{len(found)} frames have no second difference; three are needed")
    frames = (np.full((1, 1, 3), index, dtype=np.int64) for index in range(len(found)))
    track = track_face(frames, _Replayed(found), stride=stride)
    if not track.usable.all():
        raise BadInputError(f"the face is missing in {int((~track.usable).sum())} of {len(found)} frames")
    linear_22 = square_matrix(np.median(align_track(track).matrices_F23, axis=0))[:, :2]
    seen_F32 = np.stack([_anchors_at(faces, box) for faces, box in zip(found, track.boxes_F4, strict=True)])
    looks = np.unique([*range(0, len(found), stride), len(found) - 1])
    return Jitter(
        every_frame=second_difference(seen_F32 @ linear_22.T),
        raw=second_difference(_between(looks, seen_F32[looks], len(found)) @ linear_22.T),
        smoothed=second_difference(track.anchors_F32 @ linear_22.T),
    )


def second_difference(points_FN2: np.ndarray) -> float:
    """Root mean square of the second difference over time, over all points and both coordinates."""
    return float(np.sqrt((np.diff(points_FN2, n=2, axis=0) ** 2).mean()))


class _Replayed:
    """A detector that is shown the number of a frame."""

    backend_id = "replayed"

    def __init__(self, found: Sequence[Sequence[Face]]) -> None:
        self._found = found

    def detect(self, frame: np.ndarray) -> list[Face]:
        return list(self._found[int(frame[0, 0, 0])])


def _anchors_at(faces: Sequence[Face], box_4: np.ndarray) -> np.ndarray:
    """The anchors of the face that overlaps a box most."""
    if not faces:
        raise BadInputError("the detector finds no face in some of the frames")
    x0, y0, x1, y1 = (float(edge) for edge in box_4)
    there = Face(box_xyxy=(x0, y0, x1, y1), score=1.0)
    return anchors_of(max(faces, key=lambda face: intersection_over_union(face, there)))


def _between(looks: np.ndarray, values_L32: np.ndarray, num_frames: int) -> np.ndarray:
    """Straight lines from look to look: [F, 3, 2]."""
    columns = values_L32.reshape(len(looks), -1).T
    lines = [np.interp(np.arange(num_frames), looks, column) for column in columns]
    return np.stack(lines, axis=1).reshape(num_frames, 3, 2)
