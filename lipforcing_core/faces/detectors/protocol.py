"""What a face detector is: faces with boxes and points, and which of them are usable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MIN_RELATIVE_HEIGHT = 0.5
"""A face of less than half the height of the largest stands in the background, or is a picture on the wall."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face in a frame, in pixels of that frame.

    ``points`` is [5, 2] float64 (x, y): the eye, then the other eye, nose tip, mouth corner, other mouth
    corner, the one further left in an upright picture first; None where the detector gives a box only.
    ``landmarks106`` is [106, 2] float64 (x, y) in InsightFace's order, from a detector that gives them besides.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    points: np.ndarray | None = None
    landmarks106: np.ndarray | None = None

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box_xyxy[2] - self.box_xyxy[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box_xyxy[3] - self.box_xyxy[1]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.width * self.height


class FaceDetector(Protocol):
    """Finds faces in a frame."""

    @property
    def backend_id(self) -> str:
        """Which detector, in which version, found the faces."""
        ...

    def detect(self, frame: np.ndarray) -> list[Face]:
        """Usable faces in a [H, W, 3] uint8 RGB frame, the largest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class FaceFilter:
    """Which detections are usable; the defaults are those of method F.2, step 1 (pixels, width / height).

    small_ones: where no face is usable, give the ones that only their size excludes, so that whoever asks can say how
    small they are. Of these, faces of less than half the height of the largest are left out: beside it they are people
    in the background or mistakes of the detector.
    """

    min_width: float = 50.0
    min_height: float = 80.0
    min_aspect: float = 0.2
    max_aspect: float = 1.5
    min_score: float = 0.5
    small_ones: bool = False

    def accepts(self, face: Face) -> bool:
        """Whether the face is large enough, of a plausible shape, and certain enough."""
        return self.is_large_enough(face) and self._is_plausible(face)

    def is_large_enough(self, face: Face) -> bool:
        """Whether neither the width nor the height is too small."""
        return face.width >= self.min_width and face.height >= self.min_height

    def usable(self, faces: Iterable[Face]) -> list[Face]:
        """The accepted faces, or with ``small_ones`` those that are left where none is, the largest first."""
        plausible = sorted(filter(self._is_plausible, faces), key=lambda face: face.area, reverse=True)
        accepted = list(filter(self.is_large_enough, plausible))
        if accepted or not self.small_ones:
            return accepted
        tallest = max((face.height for face in plausible), default=0.0)
        return [face for face in plausible if face.height >= MIN_RELATIVE_HEIGHT * tallest]

    def _is_plausible(self, face: Face) -> bool:
        """Whether the face is of a plausible shape, and certain enough."""
        return (
            min(face.width, face.height) > 0
            and self.min_aspect <= face.width / face.height <= self.max_aspect
            and face.score >= self.min_score
        )
