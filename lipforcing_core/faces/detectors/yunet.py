"""YuNet through OpenCV's ``FaceDetectorYN``: boxes and five points from a 0.3 MB model (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.detectors.protocol import Face, FaceFilter

MAX_SIDE = 640
OVERLAP_THRESHOLD = 0.3


class YunetDetector:
    """``FaceDetector`` on YuNet. Frames larger than 640 pixels are searched at that size.

    Raises ``BadInputError`` where the file is no YuNet model.
    """

    def __init__(self, path: Path, *, sha256: str, face_filter: FaceFilter) -> None:
        log_level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns of a default
        try:
            self._model = cv2.FaceDetectorYN.create(
                str(path), "", (320, 320), face_filter.min_score, OVERLAP_THRESHOLD
            )
            self._model.detect(np.zeros((320, 320, 3), dtype=np.uint8))
        except (cv2.error, SystemError) as error:
            words = " ".join(str(error).split())[:160]
            raise BadInputError(f"{path} is not a usable YuNet model ({words})") from error
        finally:
            cv2.utils.logging.setLogLevel(log_level)
        self._filter = face_filter
        self.backend_id = f"yunet-{path.stem}@sha256:{sha256[:12]}"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """Usable faces in a [H, W, 3] uint8 RGB frame, the largest first, with five points each."""
        height, width = frame.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        size = (round(width * scale), round(height * scale))
        picture = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        if scale < 1.0:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._model.setInputSize(size)
        _, rows = self._model.detect(picture)
        ratio = np.array([width / size[0], height / size[1]])
        return self._filter.usable(_face_of(row, ratio) for row in (rows if rows is not None else ()))


def _face_of(row: np.ndarray, ratio: np.ndarray) -> Face:
    """A row is x, y, w, h, five points (x, y), score, in pixels of the searched picture."""
    corner, size = row[0:2] * ratio, row[2:4] * ratio
    return Face(
        box_xyxy=(float(corner[0]), float(corner[1]), float(corner[0] + size[0]), float(corner[1] + size[1])),
        score=float(row[14]),
        points=row[4:14].reshape(5, 2).astype(np.float64) * ratio,
    )
