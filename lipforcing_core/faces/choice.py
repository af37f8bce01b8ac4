"""Which face is redrawn where a source shows several: the largest, or the one that somebody names.

Faces are counted in every shot anew, the largest first, since nothing tells who is who across a cut. A shot that has
no face of the wanted number, or none at the wanted point, is passed through rather than given another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.value_words import shown_value

if TYPE_CHECKING:
    from lipforcing_core.faces.sightings import Sighting

FACE_HELP = (
    "Which face, where there are several: its number, 1 for the largest, or a point of it as X,Y in pixels."
)

_NUMBER = re.compile(r"\d{1,6}")
_POINT = re.compile(r"(\d{1,6}(?:\.\d*)?),\s*(\d{1,6}(?:\.\d*)?)")
_SHOTS_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class FaceChoice:
    """A face by its number in its shot, from 1, the largest first; or by a point (x, y) in pixels of the picture."""

    number: int | None = None
    point_xy: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> FaceChoice:
        """Read ``N`` or ``X,Y``; raises ``BadInputError`` for anything else."""
        text = text.strip()
        if _NUMBER.fullmatch(text) and int(text) > 0:
            return cls(number=int(text))
        if point := _POINT.fullmatch(text):
            return cls(point_xy=(float(point[1]), float(point[2])))
        raise BadInputError(
            f"{shown_value(text)} is neither a number, 1 for the largest, nor a point as X,Y in pixels"
        )

    def __str__(self) -> str:
        if self.point_xy is not None:
            return f"{self.point_xy[0]:g},{self.point_xy[1]:g}"
        return str(self.number)

    def index(self, faces: Sequence[Sequence[Sighting]]) -> int | None:
        """The place of the chosen face among those of a shot, or None where it has no such face.

        A point means the face whose box holds it in most looks; of several the smallest, which stands in front.
        """
        if self.point_xy is None:
            return None if self.number is None or self.number > len(faces) else self.number - 1
        x, y = self.point_xy
        held = [sum(_holds(sighting, x, y) for sighting in face) for face in faces]
        if not any(held):
            return None
        areas = [median(sighting.face.area for sighting in face) for face in faces]
        return max(range(len(faces)), key=lambda i: (held[i], -areas[i]))


@dataclass(frozen=True, kw_only=True)
class ShotFaces:
    """The faces of one shot, the largest first, and which one was taken.

    boxes_xyxy: the median box of each, in whole pixels of the picture. taken: its number, from 1; None where the shot
    has no face, or not the wanted one.
    """

    start: int
    stop: int
    boxes_xyxy: tuple[tuple[int, int, int, int], ...]
    taken: int | None

    @classmethod
    def of(cls, start: int, stop: int, faces: Sequence[Sequence[Sighting]], taken: int | None) -> ShotFaces:
        """The faces of frames ``start`` to ``stop``; ``taken`` is a place among them."""
        return cls(
            start=start,
            stop=stop,
            boxes_xyxy=tuple(_median_box(face) for face in faces),
            taken=None if taken is None else taken + 1,
        )

    @property
    def words(self) -> str:
        """``1 at 100,80-300,340 (taken), 2 at 700,90-840,260``."""
        return ", ".join(
            f"{number} at {x0},{y0}-{x1},{y1}{' (taken)' if number == self.taken else ''}"
            for number, (x0, y0, x1, y1) in enumerate(self.boxes_xyxy, start=1)
        )


def several_faces_words(shots: Sequence[ShotFaces]) -> str:
    """A line that tells the faces, which were taken and how to choose another; empty where no shot has several."""
    several = [shot for shot in shots if len(shot.boxes_xyxy) > 1]
    if not several:
        return ""
    most = max(len(shot.boxes_xyxy) for shot in several)
    return (
        f"{'up to ' * (len(shots) > 1)}{most} faces in the picture: {faces_words(several, of=len(shots))}; "
        "--face N or --face X,Y (a point in pixels) takes another one"
    )


def faces_words(shots: Sequence[ShotFaces], *, of: int) -> str:
    """The faces of some of the ``of`` shots of a source with their boxes."""
    if of == 1:
        return shots[0].words
    told = [f"from frame {shot.start} on {shot.words}" for shot in shots[:_SHOTS_SHOWN]]
    more = len(shots) - _SHOTS_SHOWN
    return "; ".join(told) + (f"; and so on in {more} more shots" if more > 0 else "")


def _holds(sighting: Sighting, x: float, y: float) -> bool:
    x0, y0, x1, y1 = sighting.face.box_xyxy
    return x0 <= x <= x1 and y0 <= y <= y1


def _median_box(face: Sequence[Sighting]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(median(edges)) for edges in zip(*(s.face.box_xyxy for s in face), strict=True))
    return x0, y0, x1, y1
