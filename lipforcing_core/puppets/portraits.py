"""The two portraits that puppets are made of, with hand-placed landmarks.

Both pictures ship inside installed packages and are works of the US government in the public domain: NASA's
portrait of Eileen Collins (``skimage.data.astronaut``) and the US Navy's of Grace Hopper (matplotlib's
sample data). All positions are pixels of the original picture, x to the right and y down; left and right
are those of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown

Point = tuple[float, float]
LANDMARK_NAMES = (
    "left_brow",
    "right_brow",
    "left_eye",
    "right_eye",
    "nose",
    "mouth_left",
    "mouth_right",
    "upper_lip",
    "lower_lip",
    "chin",
)
"""Names of the points in every truth; the lips' points are the inner edges at the middle of the mouth."""


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A head-and-shoulders picture and where its parts are."""

    name: str
    image: np.ndarray
    """uint8 [H, W, 3] RGB."""
    credit: str
    landmarks: dict[str, Point]
    """Brows, eyes, nose and chin; the mouth's points follow from the two lip edges."""
    face_box: tuple[float, float, float, float]
    """x0, y0, x1, y1 of the face, square, as the LBP cascade frames it."""
    upper_edge: tuple[Point, ...]
    """Lower edge of the upper lip from corner to corner, as photographed."""
    lower_edge: tuple[Point, ...]
    """Upper edge of the lower lip; equal to ``upper_edge`` where the mouth is closed in the picture."""
    outline: tuple[Point, ...]
    """Polygon around hair, face and shoulders; outside is background."""
    sharpen: float
    """Strength of the unsharp mask that makes up for enlarging a small face."""

    @property
    def corners(self) -> tuple[Point, Point]:
        """Left and right corner of the mouth."""
        return self.upper_edge[0], self.upper_edge[-1]


def portrait_names() -> tuple[str, ...]:
    """Names that ``load_portrait`` knows."""
    return tuple(_LOADERS)


@cache
def load_portrait(name: str) -> Portrait:
    """The portrait of that name; raises BadInputError for an unknown one."""
    if name not in _LOADERS:
        raise BadInputError(unknown("portrait", name, _LOADERS))
    return _LOADERS[name]()


def _astronaut() -> Portrait:
    from skimage import data

    return Portrait(
        name="astronaut",
        image=np.ascontiguousarray(data.astronaut()),  # type: ignore[no-untyped-call]
        credit="NASA, portrait of Eileen Collins, public domain (skimage.data.astronaut)",
        landmarks={
            "left_brow": (201.1, 89.1),
            "right_brow": (251.1, 92.4),
            "left_eye": (203.3, 101.1),
            "right_eye": (246.3, 103.6),
            "nose": (223.9, 127.0),
            "chin": (223.3, 178.1),
        },
        face_box=(176.0, 68.0, 272.0, 164.0),
        upper_edge=(
            (202.6, 139.3),
            (207.8, 142.2),
            (213.3, 142.8),
            (221.1, 143.3),
            (230.0, 143.9),
            (237.8, 142.8),
            (243.3, 141.7),
            (246.8, 139.7),
        ),
        lower_edge=(
            (202.6, 139.3),
            (206.7, 143.9),
            (210.6, 147.8),
            (215.6, 149.6),
            (222.2, 150.0),
            (228.9, 149.8),
            (234.4, 147.8),
            (240.0, 145.0),
            (243.9, 142.5),
            (246.8, 139.7),
        ),
        outline=_ASTRONAUT_OUTLINE,
        sharpen=0.9,
    )


def _grace_hopper() -> Portrait:
    from matplotlib import cbook

    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadInputError(f"{path}: matplotlib's sample picture cannot be read; reinstall matplotlib")
    lips = (
        (229.2, 280.8),
        (237.0, 279.6),
        (250.0, 278.3),
        (258.0, 279.2),
        (268.3, 279.9),
        (280.0, 278.0),
        (290.0, 276.6),
        (303.0, 276.5),
        (309.2, 279.0),
    )
    return Portrait(
        name="grace_hopper",
        image=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB),
        credit="US Navy, portrait of Grace Hopper, public domain (matplotlib sample data)",
        landmarks={
            "left_brow": (220.0, 165.8),
            "right_brow": (306.7, 163.3),
            "left_eye": (221.7, 189.2),
            "right_eye": (304.7, 187.5),
            "nose": (270.0, 241.7),
            "chin": (264.0, 329.5),
        },
        face_box=(166.0, 120.0, 370.0, 324.0),
        upper_edge=lips,
        lower_edge=lips,
        outline=_GRACE_HOPPER_OUTLINE,
        sharpen=0.0,
    )


_ASTRONAUT_OUTLINE: tuple[Point, ...] = (
    *((248, 18), (276, 31), (286, 40), (296, 58), (299, 72), (300, 92), (294, 111), (279, 127)),
    *((275, 133), (269, 136), (265, 142), (260, 152), (257, 160), (255, 173), (272, 184), (288, 201)),
    *((299, 219), (304, 238), (319, 243), (340, 262), (347, 282), (356, 302), (363, 348), (420, 420)),
    *((420, 511), (0, 511), (0, 420), (20, 391), (34, 331), (46, 299), (75, 236), (90, 227), (110, 206)),
    *((114, 200), (117, 187), (125, 182), (130, 173), (142, 161), (155, 152), (170, 148), (184, 148)),
    *((182, 140), (181, 131), (174, 122), (172, 116), (167, 115), (157, 104), (155, 98), (153, 68)),
    *((156, 58), (174, 43), (189, 35), (193, 29), (205, 21), (214, 21), (227, 16)),
)

_GRACE_HOPPER_OUTLINE: tuple[Point, ...] = (
    *((249, 24), (270, 25), (289, 32), (299, 42), (313, 45), (335, 57), (348, 72), (352, 87), (363, 88)),
    *((368, 100), (370, 130), (370, 150), (367, 180), (374, 190), (375, 205), (371, 225), (366, 240)),
    *((361, 258), (361, 268), (357, 284), (348, 298), (334, 306), (331, 312), (338, 322), (363, 341)),
    *((381, 347), (422, 366), (464, 377), (488, 389), (494, 396), (507, 436), (511, 460), (511, 599)),
    *((11, 599), (15, 568), (27, 459), (26, 430), (38, 411), (47, 387), (61, 380), (80, 368), (121, 360)),
    *((150, 348), (175, 337), (190, 327), (200, 315), (203, 304), (185, 290), (170, 280), (163, 270)),
    *((161, 250), (163, 236), (160, 222), (154, 205), (153, 195), (154, 185), (151, 165), (149, 140)),
    *((149, 120), (152, 102), (160, 91), (172, 86), (175, 74), (197, 50), (212, 44), (219, 31), (237, 26)),
)

_LOADERS = {"astronaut": _astronaut, "grace_hopper": _grace_hopper}
