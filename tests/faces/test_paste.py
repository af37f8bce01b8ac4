"""Paste-back: what must change does, what must not does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import align_points, square_matrix, template_points, warp_face
from lipforcing_core.faces.mask import compositing_mask, mask_source
from lipforcing_core.faces.paste import FEATHER, paste_back, paste_back_latentsync


def placed_matrix(
    scale: float = 0.6, angle: float = 0.1, shift: tuple[float, float] = (60, 20)
) -> np.ndarray:
    """Frame to crop, for a face of the given size (1: as large as the 420 x 560 crop) and place."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return align_points((template_points() @ turn.T + shift)[None], nose_bias=False)[0][0]


def smooth_picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def redraw_in_frame(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How much of every frame pixel lies in the redrawn region, from the mask alone."""
    return cv2.warpAffine(
        1 - compositing_mask(512),
        square_matrix(matrix, 512),
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )


def test_only_mask_and_feather_change() -> None:
    frame = np.random.default_rng(0).integers(0, 200, (400, 420, 3), dtype=np.uint8)
    before = frame.copy()
    matrix = placed_matrix()
    pasted = paste_back(frame, np.full((512, 512, 3), 255, dtype=np.uint8), matrix)
    np.testing.assert_array_equal(frame, before)
    redraw = redraw_in_frame(matrix, frame.shape)
    reach = int(np.ceil(2 * FEATHER * 512 * 0.75)) + 3  # two deviations, in frame pixels
    near = cv2.dilate((redraw > 0.01).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    np.testing.assert_array_equal(pasted[~near], frame[~near])
    deep = cv2.erode((redraw > 0.99).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    assert deep.sum() > 5000
    assert (pasted[deep] == 255).all()


@pytest.mark.parametrize("size", [128, 512])
@pytest.mark.parametrize("scale", [0.3, 0.6, 1.5])
def test_pasting_the_frame_s_own_crop_changes_little(size: int, scale: float) -> None:
    frame = smooth_picture(900, 800)
    matrix = placed_matrix(scale)
    pasted = paste_back(frame, warp_face(frame, matrix, size), matrix)
    assert np.abs(pasted.astype(int) - frame).max() <= 4


@pytest.mark.parametrize("level", [100, 101, 254])
def test_a_constant_stays_exactly(level: int) -> None:
    """Truncation or half precision would darken the blend by a level."""
    frame = np.full((300, 300, 3), level, dtype=np.uint8)
    face = np.full((512, 512, 3), level, dtype=np.uint8)
    np.testing.assert_array_equal(paste_back(frame, face, placed_matrix(0.4)), frame)


def test_region_wise_equals_whole_frame() -> None:
    """The cropped fast path against a blend of the whole frame."""
    frame = smooth_picture(500, 640)
    face = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    matrix = placed_matrix(0.9)
    redraw = 1 - compositing_mask(256)
    sigma = FEATHER * 256
    side = 2 * round(2 * sigma) + 1
    soft = cv2.GaussianBlur(redraw, (side, side), sigma, borderType=cv2.BORDER_CONSTANT)
    to_square = square_matrix(matrix, 256)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    soft = cv2.warpAffine(soft, to_square, (640, 500), flags=flags)[:, :, None]
    warped = cv2.warpAffine(face.astype(np.float32), to_square, (640, 500), flags=flags)
    plain = np.rint(soft * warped + (1 - soft) * frame).astype(int)
    assert np.abs(paste_back(frame, face, matrix).astype(int) - plain).max() <= 1


@pytest.mark.parametrize("shift", [(-150, -100), (180, 20), (5000, 5000), (-5000, 0)])
def test_face_over_the_edge_of_the_frame(shift: tuple[float, float]) -> None:
    frame = smooth_picture(200, 300)
    pasted = paste_back(frame, np.zeros((128, 128, 3), dtype=np.uint8), placed_matrix(0.5, 0.0, shift))
    assert pasted.shape == frame.shape
    if abs(shift[0]) >= 5000:
        np.testing.assert_array_equal(pasted, frame)
    else:
        assert (pasted != frame).any()


def test_float_faces_are_clipped_and_rounded() -> None:
    frame = np.full((300, 300, 3), 90, dtype=np.uint8)
    matrix = placed_matrix(0.4)
    bright = paste_back(frame, np.full((128, 128, 3), 300.0, dtype=np.float32), matrix)
    exact = paste_back(frame, np.full((128, 128, 3), 100.6, dtype=np.float32), matrix)
    assert bright.max() == 255
    assert exact.max() == 101


def test_fine_crop_on_a_small_face_does_not_alias() -> None:
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    frame = np.full((200, 200, 3), 128, dtype=np.uint8)
    pasted = paste_back(frame, np.dstack([board] * 3), placed_matrix(0.2, 0.0, (50, 40)))
    assert np.abs(pasted.astype(int) - 128).max() <= 3


def test_another_mask() -> None:
    everything = np.zeros((256, 256), dtype=np.uint8)
    frame = np.zeros((300, 300, 3), dtype=np.uint8)
    face = np.full((128, 128, 3), 200, dtype=np.uint8)
    matrix = placed_matrix(0.4)
    whole = paste_back(frame, face, matrix, source=everything, feather=0.0)
    mouth = paste_back(frame, face, matrix, source=mask_source(), feather=0.0)
    np.testing.assert_array_equal(mouth, paste_back(frame, face, matrix, feather=0.0))
    assert (whole > 0).sum() > 2 * (mouth > 0).sum()


def test_crop_must_be_square() -> None:
    with pytest.raises(BadInputError, match="128, 64, 3"):
        paste_back(np.zeros((9, 9, 3), np.uint8), np.zeros((128, 64, 3), np.uint8), placed_matrix())


def test_reference_way_touches_more_than_ours() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (400, 420, 3), dtype=np.uint8)
    matrix = placed_matrix()
    face = warp_face(frame, matrix, 512)
    unit = face.astype(np.float32) / 127.5 - 1
    reference = paste_back_latentsync(frame, unit, matrix, source_crop=unit)
    ours = paste_back(frame, face, matrix)
    assert (reference != frame).any(axis=2).sum() > 1.3 * (ours != frame).any(axis=2).sum()
