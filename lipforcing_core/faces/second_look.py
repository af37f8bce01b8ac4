"""A look at a picture, and a second one with a margin around it where a face may fill the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lipforcing_core.faces.detectors.protocol import Face, FaceDetector, FaceFilter

MARGIN = 0.5
"""The margin on each side in heights and widths of the picture."""
FILLING_SHARE = 0.5
"""Only a face at least this high against the picture can have been missed for want of a margin."""
GREY = (127, 127, 127)


def faces_in(picture: np.ndarray, detector: FaceDetector) -> list[Face]:
    """Usable faces in a [H, W, 3] uint8 RGB picture, the largest first, in pixels of that picture.

    Detectors know faces with something around them. Where none is found, or only ones that are too small to be usable,
    the picture is looked at once more inside a grey margin; boxes may then reach beyond its borders.
    """
    faces = detector.detect(picture)
    if any(map(FaceFilter().is_large_enough, faces)):
        return faces
    height, width = picture.shape[:2]
    above, beside = round(height * MARGIN), round(width * MARGIN)
    framed = cv2.copyMakeBorder(picture, above, above, beside, beside, cv2.BORDER_CONSTANT, value=GREY)
    found = (moved(face, -beside, -above) for face in detector.detect(framed))
    return [face for face in found if face.height >= FILLING_SHARE * height] or faces


@dataclass(frozen=True)
class SecondLook:
    """A ``FaceDetector`` that looks twice where another one looks once."""

    detector: FaceDetector

    @property
    def backend_id(self) -> str:
        """That of the detector."""
        return self.detector.backend_id

    def detect(self, frame: np.ndarray) -> list[Face]:
        """``faces_in`` the frame."""
        return faces_in(frame, self.detector)


def moved(face: Face, x: float, y: float) -> Face:
    """A face as it is in a picture whose origin lies (x, y) pixels to the left of and above this one's."""
    x0, y0, x1, y1 = face.box_xyxy
    shift_2 = np.array([x, y], dtype=np.float64)
    return replace(
        face,
        box_xyxy=(x0 + x, y0 + y, x1 + x, y1 + y),
        points=None if face.points is None else face.points + shift_2,
        landmarks106=None if face.landmarks106 is None else face.landmarks106 + shift_2,
    )
