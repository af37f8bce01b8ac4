"""Detection as the released students were trained on: InsightFace's ``buffalo_l``, boxes and 106 landmarks.

LatentSync and Lip Forcing detect at 512 x 512 and hand RGB frames to networks that expect BGR (method F.2,
step 1). Both are kept: the alignment the students know comes from these numbers. The pack is licensed for
non-commercial research only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lipforcing_core.faces.detectors.protocol import Face, FaceFilter
from lipforcing_core.faces.detectors.scrfd import ScrfdDetector
from lipforcing_core.faces.landmarks106 import Landmarks106

INPUT_SIZE = (512, 512)


class BuffaloDetector:
    """``FaceDetector`` on ``det_10g.onnx`` (boxes, five points) and ``2d106det.onnx`` (106 landmarks).

    The id names the rule that places the crop, and both files. Raises ``BadInputError`` where a file is another
    model, or none.
    """

    def __init__(
        self,
        boxes_path: Path,
        landmarks_path: Path,
        *,
        boxes_sha256: str,
        landmarks_sha256: str,
        face_filter: FaceFilter,
    ) -> None:
        self._boxes = ScrfdDetector(
            boxes_path, sha256=boxes_sha256, face_filter=face_filter, input_size=INPUT_SIZE, to_bgr=False
        )
        self._landmarks = Landmarks106(landmarks_path)
        self.backend_id = f"buffalo_l-anchors106@sha256:{boxes_sha256[:12]}+{landmarks_sha256[:12]}"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """Usable faces in a [H, W, 3] uint8 RGB frame, the largest first, with five points and 106 landmarks."""
        return [
            replace(face, landmarks106=self._landmarks.locate(frame, face.box_xyxy))
            for face in self._boxes.detect(frame)
        ]
