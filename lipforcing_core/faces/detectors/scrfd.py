"""SCRFD through InsightFace: boxes and five points, on ONNX Runtime with one thread.

InsightFace's model packs are licensed for non-commercial research only. The session is built here from a
local file, so InsightFace never looks for a model to download.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.onnx_session import open_session
from lipforcing_core.faces.detectors.protocol import Face, FaceFilter

INPUT_SIZE = (640, 640)
OVERLAP_THRESHOLD = 0.4


class ScrfdDetector:
    """``FaceDetector`` on an SCRFD model with key points: ``scrfd_500m_kps.onnx``, buffalo_l's ``det_10g.onnx``.

    Frames are handed over as BGR, which the model was trained on, unless ``to_bgr`` is off. ``input_size`` (width,
    height) is that of the search, for a file that does not fix it.
    Raises ``BadInputError`` where the file is no SCRFD model with key points.
    """

    def __init__(
        self,
        path: Path,
        *,
        sha256: str,
        face_filter: FaceFilter,
        input_size: tuple[int, int] = INPUT_SIZE,
        to_bgr: bool = True,
    ) -> None:
        from insightface.model_zoo import SCRFD

        try:
            self._model = SCRFD(model_file=str(path), session=open_session(path))
        except Exception as error:  # onnxruntime has one exception class per failure, without a common base
            raise BadInputError(f"{path} is not a usable SCRFD model: {error}") from error
        if not self._model.use_kps:
            raise BadInputError(
                f"{path} has no key-point outputs; give an SCRFD model with them (*_kps.onnx)"
            )
        self._model.prepare(
            -1, input_size=input_size, det_thresh=face_filter.min_score, nms_thresh=OVERLAP_THRESHOLD
        )
        self._filter = face_filter
        self._to_bgr = to_bgr
        self.backend_id = f"scrfd-{path.stem}@sha256:{sha256[:12]}"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """Usable faces in a [H, W, 3] uint8 RGB frame, the largest first, with five points each."""
        frame = np.ascontiguousarray(frame)
        # numpy takes twenty times as long to turn the channels of a frame round.
        boxes, points = self._model.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) if self._to_bgr else frame)
        faces = [
            Face(
                box_xyxy=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                score=float(box[4]),
                points=five.astype(np.float64),
            )
            for box, five in zip(boxes, points, strict=True)
        ]
        return self._filter.usable(faces)
