"""The three points that place a face: centre of the left brow, centre of the right brow, and nose.

LatentSync takes them from 106 landmarks (method F.2, step 2), and so do we where a detector gives them. From five
points, or only a box, the three are derived by fixed rules. Left and right are those of the picture.
"""

from __future__ import annotations

import numpy as np

from lipforcing_core.faces.detectors.protocol import Face

# Rows of InsightFace's 106 landmarks whose means are the three points.
LEFT_BROW_ROWS = (43, 48, 49, 50, 51)
RIGHT_BROW_ROWS = (101, 102, 103, 104, 105)
NOSE_ROWS = (74, 77, 83, 86)

# From eyes, nose tip and mouth corners. With e = right eye - left eye and v = mouth centre - eye centre: a
# brow lies BROW_OUT * e further out than its eye and BROW_UP * v above it; the nose point (between tip,
# wings and lower bridge) lies NOSE_UP * v above the tip.
BROW_OUT = 0.05
BROW_UP = 0.26
NOSE_UP = 0.05

# From a box of the LBP cascade, as fractions of its width and height from its top left corner: the mean over a dozen
# clips against the five-point rule, spread by 4 % so that the chin stays inside the mask on faces that differ from it.
BOX_BROWS_X = (0.29, 0.71)
BOX_BROWS_Y = 0.28
BOX_NOSE = (0.50, 0.58)


def anchors_of(face: Face) -> np.ndarray:
    """Left brow, right brow, nose in frame pixels: [3, 2] float64, by the best rule that the face allows."""
    if face.landmarks106 is not None:
        return anchors_from_landmarks(face.landmarks106)
    if face.points is None:
        return anchors_from_box(np.array(face.box_xyxy))
    return anchors_from_points(face.points)


def anchors_from_landmarks(landmarks106: np.ndarray) -> np.ndarray:
    """The three points from InsightFace's 106 landmarks: [..., 106, 2] to [..., 3, 2], whole pixels.

    As LatentSync does it, the landmarks are rounded before the means and the means once more, half to even.
    """
    whole = np.round(np.asarray(landmarks106, dtype=np.float64))
    groups = (LEFT_BROW_ROWS, RIGHT_BROW_ROWS, NOSE_ROWS)
    return np.round(np.stack([whole[..., rows, :].mean(axis=-2) for rows in groups], axis=-2))


def anchors_from_points(points: np.ndarray) -> np.ndarray:
    """The three points from two eyes, nose tip and two mouth corners: [..., 5, 2] to [..., 3, 2]."""
    left_eye, right_eye, nose, left_mouth, right_mouth = np.moveaxis(points, -2, 0)
    across = right_eye - left_eye
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2
    left_brow = left_eye - BROW_OUT * across - BROW_UP * down
    right_brow = right_eye + BROW_OUT * across - BROW_UP * down
    return np.stack([left_brow, right_brow, nose - NOSE_UP * down], axis=-2)


def anchors_from_box(box_xyxy: np.ndarray) -> np.ndarray:
    """The three points from an upright frontal box: [..., 4] to [..., 3, 2]."""
    fractions = np.array([(BOX_BROWS_X[0], BOX_BROWS_Y), (BOX_BROWS_X[1], BOX_BROWS_Y), BOX_NOSE])
    corner, size = box_xyxy[..., None, :2], (box_xyxy[..., 2:] - box_xyxy[..., :2])[..., None, :]
    points: np.ndarray = corner + fractions * size
    return points
