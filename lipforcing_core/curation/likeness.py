"""What a face network is shown of an aligned clip, and the direction of its answer, which tells people apart."""

from __future__ import annotations

import cv2
import numpy as np

from lipforcing_core.faces.align import align_points, square_matrix
from lipforcing_core.faces.anchors import anchors_from_points

ARCFACE_SIZE = 112
_ARCFACE_POINTS_52 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Eyes, tip of the nose and corners of the mouth in the crop of 112 pixels that ArcFace is trained on (InsightFace)."""


def face_crops(frames_FHW3: np.ndarray) -> np.ndarray:
    """The crops that ArcFace is trained on, out of square aligned frames: uint8 RGB [F, 112, 112, 3].

    An aligned face has its points where the template says, so one map serves all clips.
    """
    anchors_132 = anchors_from_points(_ARCFACE_POINTS_52)[None]
    to_square_23 = square_matrix(align_points(anchors_132, nose_bias=False)[0][0], frames_FHW3.shape[1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    side = (ARCFACE_SIZE, ARCFACE_SIZE)
    return np.stack([cv2.warpAffine(frame, to_square_23, side, flags=flags) for frame in frames_FHW3])


def mean_direction(vectors_ND: np.ndarray) -> np.ndarray:
    """The normalised mean of normalised vectors: float32 [D]; zeros where there is no direction."""
    mean_D = np.mean([_normalised(vector_D) for vector_D in vectors_ND], axis=0)
    return _normalised(mean_D).astype(np.float32)


def _normalised(vector_D: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector_D))
    normalised: np.ndarray = vector_D / length if length > 0 else np.zeros_like(vector_D)
    return normalised
