"""Put a redrawn face crop back into its frame.

``paste_back`` is this project's way: the mouth mask is warped together with the face, and only pixels under
the mask and its feather change. ``paste_back_latentsync`` repeats the reference (method F.3), which sends
the whole crop through two resamplings; published results were made that way.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import FILL_VALUE, RESOLUTION, square_matrix, template_size
from lipforcing_core.faces.mask import compositing_mask, mask_source
from lipforcing_core.media.affine import invert_matrix

FEATHER = 0.012


def paste_back(
    frame: np.ndarray,
    face: np.ndarray,
    matrix: np.ndarray,
    *,
    feather: float = FEATHER,
    source: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of the frame with the mouth region of ``face`` in it.

    ``frame`` [H, W, 3] uint8; ``face`` [S, S, 3], uint8 or float in 0..255, any S; ``matrix`` [2, 3] of the
    frame's alignment. ``feather`` is the deviation of the Gaussian that softens the mask edge, as a share of
    the crop's side (0: hard); the softening ends after two deviations, and pixels beyond keep their exact
    values. ``source`` replaces the drawn mask (``load_mask_source``). Blending is in float32, the result
    rounded. Raises ``BadInputError`` for a face that is not square.
    """
    if face.ndim != 3 or face.shape[0] != face.shape[1] or face.shape[2] != 3:
        raise BadInputError(f"a face crop is [S, S, 3], not {list(face.shape)}")
    face = _reduced(face, matrix)
    size = face.shape[0]
    alpha = _alpha(size, feather) if source is None else _alpha_of(source, size, feather)
    to_square = square_matrix(matrix, size)
    left, top, right, bottom = _touched_box(alpha, to_square, frame.shape[:2])
    result = frame.copy()
    if left >= right or top >= bottom:
        return result

    to_square[:, 2] += to_square[:, :2] @ [left, top]
    region_size = (right - left, bottom - top)
    # The map goes from region to crop, which is what a warp with WARP_INVERSE_MAP reads.
    face_region = _pull(face, to_square, region_size)
    alpha_region = _pull(alpha, to_square, region_size)[:, :, None]
    region = result[top:bottom, left:right]
    blended = region + alpha_region * (face_region.astype(np.float32) - region)
    region[:] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return result


def paste_back_latentsync(
    frame: np.ndarray,
    generated: np.ndarray,
    matrix: np.ndarray,
    *,
    source_crop: np.ndarray | None = None,
    source: np.ndarray | None = None,
    resolution: int = RESOLUTION,
) -> np.ndarray:
    """The reference's paste-back in float32, truncated to uint8 (method F.3, steps 1 to 5).

    ``generated`` [S, S, 3] float in -1..1. With ``source_crop`` (the same shape and range, the aligned
    original) only the mouth is taken from ``generated``; without it the whole crop is. ``matrix`` and
    ``resolution`` belong together: the crop it maps to is ``template_size(resolution)``.
    """
    face = template_face(generated, source_crop=source_crop, source=source, resolution=resolution)
    height, width = face.shape[:2]
    frame_size = (frame.shape[1], frame.shape[0])
    to_crop = np.asarray(matrix, dtype=np.float64)

    pasted = _pull(face, to_crop, frame_size, fill=FILL_VALUE)
    pasted = np.clip(pasted / 2 + 0.5, 0, 1) * 255
    footprint = _pull(np.ones((height, width), dtype=np.float32), to_crop, frame_size)
    footprint = _erode(footprint, 2)
    edge = int(np.sqrt(footprint.sum(dtype=np.float64))) // 20
    soft = footprint
    if edge > 0:
        kernel = 2 * edge + 1
        sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
        soft = cv2.GaussianBlur(
            _erode(footprint, 2 * edge), (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101
        )
    blended = soft[:, :, None] * (footprint[:, :, None] * pasted) + (1 - soft[:, :, None]) * frame
    result: np.ndarray = np.clip(blended, 0, 255).astype(np.uint8)
    return result


def template_face(
    generated: np.ndarray,
    *,
    source_crop: np.ndarray | None = None,
    source: np.ndarray | None = None,
    resolution: int = RESOLUTION,
) -> np.ndarray:
    """What ``paste_back_latentsync`` warps back: the face in the template crop, [height, width, 3] float32 in -1..1.

    Steps 1 and 2 of method F.3; the arguments are those of ``paste_back_latentsync``.
    """
    width, height = template_size(resolution)
    face = np.asarray(generated, dtype=np.float32)
    if source_crop is not None:
        keep = compositing_mask(face.shape[0], source)[:, :, None]
        face = source_crop * keep + face * (1 - keep)
    return _bicubic(face, width, height)


@lru_cache(maxsize=8)
def _alpha(size: int, feather: float) -> np.ndarray:
    return _alpha_of(mask_source(), size, feather)


def _alpha_of(source: np.ndarray, size: int, feather: float) -> np.ndarray:
    """How much of the redrawn face to take: [size, size] float32, 1 in the mouth region, 0 away from it."""
    redraw = 1 - compositing_mask(size, source)
    if feather > 0:
        sigma = feather * size
        radius = max(1, round(2 * sigma))
        redraw = cv2.GaussianBlur(
            redraw, (2 * radius + 1, 2 * radius + 1), sigma, borderType=cv2.BORDER_CONSTANT
        )
    redraw[redraw < 1 / 512] = 0.0
    return redraw


def _reduced(face: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Halve a crop that is finer than the frame until a frame pixel spans less than 1.5 of its pixels."""
    size = face.shape[0]
    step = np.linalg.norm(square_matrix(matrix, size)[:, :2], axis=0).max()
    while step >= 1.5 and size % 2 == 0:
        size, step = size // 2, step / 2
    return face if size == face.shape[0] else cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


def _touched_box(
    alpha: np.ndarray, to_square: np.ndarray, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (half-open) of the frame pixels that can change."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    x0, x1, y0, y1 = columns[0] - 1, columns[-1] + 1, rows[0] - 1, rows[-1] + 1
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]], dtype=np.float64)
    in_frame = corners @ invert_matrix(to_square).T
    left, top = np.maximum(np.floor(in_frame.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(in_frame.max(axis=0)).astype(int) + 1, [shape[1], shape[0]])
    return int(left), int(top), int(right), int(bottom)


def _pull(picture: np.ndarray, to_picture: np.ndarray, size: tuple[int, int], fill: int = 0) -> np.ndarray:
    """Bilinear warp: the value of every target pixel is read where ``to_picture`` sends it."""
    return cv2.warpAffine(
        picture,
        to_picture,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )


def _bicubic(face: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bicubic resize with antialiasing, in float32."""
    from PIL import Image

    channels = [
        np.asarray(Image.fromarray(face[:, :, channel]).resize((width, height), Image.Resampling.BICUBIC))
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)


def _erode(picture: np.ndarray, side: int) -> np.ndarray:
    """Minimum over a side x side window; beyond the border counts as infinitely large."""
    return cv2.erode(picture, np.ones((side, side), dtype=np.uint8))
