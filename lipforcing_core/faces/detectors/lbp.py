"""Frontal-face boxes from scikit-image's bundled local-binary-pattern cascade: no file to download.

Good for upright frontal faces; misses profiles and now and then reports a box on a background. Boxes come in
a few discrete sizes, so they jitter from frame to frame: ``track_face`` links and smooths them.
"""

from __future__ import annotations

from importlib.metadata import version

import cv2
import numpy as np

from lipforcing_core.faces.detectors.protocol import Face, FaceFilter

SEARCH_SIDE = 224
SCALE_FACTOR = 1.1
STEP_RATIO = 1.0
MIN_FACE_FRACTION = 0.18
MIN_NEIGHBOURS = 4


class LbpDetector:
    """``FaceDetector`` on scikit-image's LBP cascade. Its score is 1 for every box: the cascade gives none.

    The search runs on a grey frame whose shorter side is ``search_side``, for windows from ``min_face_fraction`` of the
    shorter side upwards.
    """

    def __init__(
        self,
        *,
        face_filter: FaceFilter,
        search_side: int = SEARCH_SIDE,
        min_face_fraction: float = MIN_FACE_FRACTION,
    ) -> None:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self._cascade = Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]
        self._filter = face_filter
        self._search_side = search_side
        self._min_face_fraction = min_face_fraction
        self.backend_id = f"lbp-frontal-skimage{'.'.join(version('scikit-image').split('.')[:2])}"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """Usable faces in a [H, W, 3] uint8 RGB frame, the largest first; ``points`` is None."""
        height, width = frame.shape[:2]
        scale = min(1.0, self._search_side / min(height, width))
        size = (round(width * scale), round(height * scale))
        grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        smallest = max(24, round(min(size) * self._min_face_fraction))
        found = self._cascade.detect_multi_scale(
            np.ascontiguousarray(grey),
            scale_factor=SCALE_FACTOR,
            step_ratio=STEP_RATIO,
            min_size=(smallest, smallest),
            max_size=(min(size), min(size)),
            min_neighbor_number=MIN_NEIGHBOURS,
        )
        scale_x, scale_y = width / size[0], height / size[1]
        faces = [
            Face(
                box_xyxy=(
                    box["c"] * scale_x,
                    box["r"] * scale_y,
                    (box["c"] + box["width"]) * scale_x,
                    (box["r"] + box["height"]) * scale_y,
                ),
                score=1.0,
            )
            for box in found
        ]
        return self._filter.usable(faces)
