"""The canonical face crop: a three-point similarity to LatentSync's template, and the warps that cut it.

Two pixel grids appear. The *template crop* is 420 wide and 560 high (at resolution 512);
``Alignment.matrices_F23`` maps frame pixels to it. The *square crop* that models see is the same picture
stretched to size x size. Coordinates are (x right, y down) with whole numbers at pixel centres.

``warp_face`` is this project's way to the square crop and the one that curation, streaming and metrics call: one
warp, so one loss of sharpness, and no aliasing on large faces. ``warp_face_latentsync`` repeats the reference (method
F.2, step 6), which the released checkpoints were trained on; take it to give such a checkpoint exactly the
pixels of its training, or to repeat a published figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.track import FaceTrack
from lipforcing_core.media.affine import composed, resize_matrix, warp

RESOLUTION = 512
CROP_WIDTH = 420
CROP_HEIGHT = 560
FILL_VALUE = 127
BIAS_MEMORY = 0.2

_UNIT_TEMPLATE = np.array([[17.0, 20.0], [58.0, 20.0], [37.5, 40.0]])
_UNIT_CROP = (75, 100)
_RATIO_AT_256 = 2.8


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where the face is in every frame.

    ``matrices_F23`` float64 maps frame pixels to the 420 x 560 template crop. Where ``usable_F`` is False
    the frame shows no face and must be passed through; its row repeats the nearest usable one, so that a
    model which needs a crop for every frame still gets one.
    """

    matrices_F23: np.ndarray
    usable_F: np.ndarray
    crop_size: tuple[int, int] = (CROP_WIDTH, CROP_HEIGHT)


def template_points(resolution: int = RESOLUTION) -> np.ndarray:
    """Left brow, right brow and nose in the template crop: [3, 2] float64 (method F.2, step 3)."""
    return _UNIT_TEMPLATE * _ratio(resolution)


def template_size(resolution: int = RESOLUTION) -> tuple[int, int]:
    """Width and height of the template crop: (420, 560) at 512."""
    ratio = _ratio(resolution)
    return int(_UNIT_CROP[0] * ratio), int(_UNIT_CROP[1] * ratio)


def aligned_already(num_frames: int, width: int, height: int) -> Alignment:
    """The alignment of frames that are square crops themselves, of any size: each is the whole crop."""
    matrix = resize_matrix((width, height), (CROP_WIDTH, CROP_HEIGHT))
    return Alignment(
        matrices_F23=np.repeat(matrix[None], num_frames, axis=0), usable_F=np.ones(num_frames, dtype=bool)
    )


def align_track(track: FaceTrack, *, shot_starts: Sequence[int] = (), nose_bias: bool = True) -> Alignment:
    """The alignment of every frame of a track.

    The nose bias (method F.2, step 5) starts afresh at frame 0, at every frame in ``shot_starts``, and after
    every stretch without a face. Raises ``BadInputError`` where no frame has a face.
    """
    usable_F = track.usable
    if not usable_F.any():
        raise BadInputError("no face was found in any frame, so there is nothing to align")
    matrices_F23 = np.zeros((len(usable_F), 2, 3))
    for start, stop in _runs(usable_F, shot_starts):
        matrices_F23[start:stop] = align_points(track.anchors_F32[start:stop], nose_bias=nose_bias)[0]
    return Alignment(matrices_F23=matrices_F23[_nearest_true(usable_F)], usable_F=usable_F)


def align_points(
    points_F32: np.ndarray, *, resolution: int = RESOLUTION, nose_bias: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities from three points per frame to the template, and the nose bias that was added.

    ``points_F32``: left brow, right brow, nose in frame pixels, consecutive frames of one shot. Returns
    float64 [F, 2, 3] and [F, 2]. The scale is the ratio of standard deviations over all coordinates, the
    rotation that of the orthogonal Procrustes problem without reflection. With ``nose_bias``, the distance
    from nose to template nose in units of those deviations, filtered as 0.2 of the last frame plus 0.8 of
    this one, is added to the translation in pixels, as LatentSync does (an effect below one pixel). Raises
    ``BadInputError`` for points that coincide.
    """
    points = np.asarray(points_F32, dtype=np.float64)
    template = template_points(resolution)
    template_centre = template.mean(axis=0)
    template_std = (template - template_centre).std(ddof=1)
    template_unit = (template - template_centre) / template_std

    centre_F2 = points.mean(axis=1)
    centred_F32 = points - centre_F2[:, None]
    # The reference takes the deviation about the mean of all six numbers; they are centred per axis, so it
    # is zero.
    std_F = np.sqrt((centred_F32**2).sum(axis=(1, 2)) / (centred_F32[0].size - 1))
    if not (np.isfinite(std_F).all() and (std_F > 0).all()):
        raise BadInputError("the three points of a face coincide or are not finite, so no crop can be placed")
    unit_F32 = centred_F32 / std_F[:, None, None]

    rotation_F22 = _rotations(unit_F32, template_unit)
    linear_F22 = rotation_F22 * (template_std / std_F)[:, None, None]
    translation_F2 = template_centre - np.einsum("fij,fj->fi", linear_F22, centre_F2)
    bias_F2 = np.zeros_like(translation_F2)
    if nose_bias:
        bias_F2 = _filtered(template_unit[2] - unit_F32[:, 2])
    return np.concatenate([linear_F22, (translation_F2 + bias_F2)[:, :, None]], axis=2), bias_F2


def warp_face(frame: np.ndarray, matrix: np.ndarray, size: int = RESOLUTION) -> np.ndarray:
    """The square crop [size, size, 3] uint8 of a [H, W, 3] uint8 frame; outside the frame it is grey 127.

    One bilinear warp does placing and stretching at once. A face larger than the crop is first reduced by
    area averaging (`affine.warp`). ``matrix`` is one row of ``Alignment.matrices_F23``.
    """
    return warp(frame, square_matrix(matrix, size), (size, size), FILL_VALUE)


def warp_face_latentsync(
    frame: np.ndarray, matrix: np.ndarray, *, resolution: int = RESOLUTION
) -> np.ndarray:
    """The reference's square crop [resolution, resolution, 3] uint8 of a [H, W, 3] uint8 frame (method F.2, step 6).

    ``template_crop``, truncated to uint8, then stretched to the square with Lanczos. ``matrix`` and ``resolution``
    belong together. It differs from ``warp_face`` by about one grey level on average, by more at edges, and aliases
    where the face is larger than the crop.
    """
    template = template_crop(frame, matrix, resolution).astype(np.uint8)
    return cv2.resize(template, (resolution, resolution), interpolation=cv2.INTER_LANCZOS4)


def template_crop(frame: np.ndarray, matrix: np.ndarray, resolution: int = RESOLUTION) -> np.ndarray:
    """The reference's warp to the crop of ``template_size(resolution)``: [height, width, 3] float32 in 0..255.

    Bilinear; outside the [H, W, 3] uint8 frame it is grey 127.
    """
    return cv2.warpAffine(
        frame.astype(np.float32),
        np.asarray(matrix, dtype=np.float64),
        template_size(resolution),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(FILL_VALUE, FILL_VALUE, FILL_VALUE),
    )


def square_matrix(matrix: np.ndarray, size: int = RESOLUTION) -> np.ndarray:
    """[2, 3] map from frame pixels to the square crop, from the map to the 420 x 560 template crop."""
    return composed(resize_matrix((CROP_WIDTH, CROP_HEIGHT), (size, size)), matrix)


def _ratio(resolution: int) -> float:
    return resolution / 256 * _RATIO_AT_256


def _rotations(unit_F32: np.ndarray, template_unit: np.ndarray) -> np.ndarray:
    """Best proper rotations (Kabsch): [F, 2, 2]."""
    covariance_F22 = unit_F32.transpose(0, 2, 1) @ template_unit
    left, _, right_t = np.linalg.svd(covariance_F22)
    right = right_t.transpose(0, 2, 1).copy()
    mirrored = np.linalg.det(right @ left.transpose(0, 2, 1)) < 0
    right[mirrored, :, -1] *= -1
    rotations_F22: np.ndarray = right @ left.transpose(0, 2, 1)
    return rotations_F22


def _filtered(bias_F2: np.ndarray) -> np.ndarray:
    filtered = bias_F2.copy()
    for index in range(1, len(filtered)):
        filtered[index] = BIAS_MEMORY * filtered[index - 1] + (1 - BIAS_MEMORY) * bias_F2[index]
    return filtered


def _runs(usable_F: np.ndarray, shot_starts: Sequence[int]) -> list[tuple[int, int]]:
    """Half-open stretches of usable frames that do not cross a shot start."""
    padded = np.concatenate([[False], usable_F, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    runs = []
    for start, stop in zip(changes[::2], changes[1::2], strict=True):
        edges = [start, *sorted(s for s in shot_starts if start < s < stop), stop]
        runs += list(itertools.pairwise(edges))
    return [(int(start), int(stop)) for start, stop in runs]


def _nearest_true(usable_F: np.ndarray) -> np.ndarray:
    """For every frame the index of the nearest usable one (the earlier of two equally near)."""
    known = np.flatnonzero(usable_F)
    frames = np.arange(len(usable_F))
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.clip(after - 1, 0, None)
    take_after = np.abs(known[after] - frames) < np.abs(known[before] - frames)
    return np.where(take_after, known[after], known[before])
