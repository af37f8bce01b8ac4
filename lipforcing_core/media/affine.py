"""Affine maps between pictures, and pictures warped by them. Whole coordinates (x right, y down) are pixel centres."""

from __future__ import annotations

import cv2
import numpy as np

_REDUCED_BELOW = 0.75
"""Where a pixel of the picture becomes shorter than this, a bilinear warp alone would alias."""


def composed(after_23: np.ndarray, before_23: np.ndarray) -> np.ndarray:
    """The [2, 3] map that applies ``before_23`` and then ``after_23``."""
    product: np.ndarray = np.asarray(after_23, dtype=np.float64) @ _three(before_23)
    return product


def invert_matrix(matrix_23: np.ndarray) -> np.ndarray:
    """The inverse of one [2, 3] affine map."""
    return np.linalg.inv(_three(matrix_23))[:2]


def resize_matrix(source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """The map of pixel centres that resizing from (width, height) to (width, height) does: [2, 3]."""
    scale_x, scale_y = target[0] / source[0], target[1] / source[1]
    return np.array([[scale_x, 0.0, (scale_x - 1) / 2], [0.0, scale_y, (scale_y - 1) / 2]])


def warp(picture: np.ndarray, matrix_23: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """What an affine map makes of a picture: an array of ``size`` (width, height) with the channels of the picture.

    ``picture`` is uint8 or uint16 [H, W] or [H, W, C], and ``matrix_23`` maps its pixels to those of the result; beyond
    its borders every channel is ``fill``. One bilinear warp does all at once. A picture that becomes much smaller is
    first reduced by area averaging, so that fine texture does not alias.
    """
    reduction = np.linalg.norm(matrix_23[:, :2], axis=0).max()
    if reduction < _REDUCED_BELOW:
        picture, corner_2 = _part_under(picture, matrix_23, size)
        height, width = picture.shape[:2]
        reduced = (max(1, round(width * reduction)), max(1, round(height * reduction)))
        picture = cv2.resize(picture, reduced, interpolation=cv2.INTER_AREA)
        from_part = matrix_23.copy()
        from_part[:, 2] += matrix_23[:, :2] @ corner_2
        matrix_23 = composed(from_part, resize_matrix(reduced, (width, height)))
    return cv2.warpAffine(
        picture,
        matrix_23,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )


def _part_under(
    picture: np.ndarray, matrix_23: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture under the result, two pixels wider, and its top left corner (x, y)."""
    right, bottom = np.array(size) - 0.5
    corners = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [-0.5, bottom, 1], [right, bottom, 1]])
    in_picture = corners @ invert_matrix(matrix_23).T
    height, width = picture.shape[:2]
    low = np.clip(np.floor(in_picture.min(axis=0)).astype(int) - 2, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(in_picture.max(axis=0)).astype(int) + 3, low + 1, [width, height])
    return picture[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)


def _three(matrix_23: np.ndarray) -> np.ndarray:
    return np.vstack([matrix_23, [0.0, 0.0, 1.0]])
