"""Paste-back: what must change does, what must not does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import align_points, square_matrix, template_points, warp_face
from lipforcing_core.faces.mask import compositing_mask, mask_source
from lipforcing_core.faces.paste import FEATHER, paste_back, paste_back_latentsync, template_face


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


def test_the_mouth_is_taken_and_the_rest_kept_before_the_reference_warps_back() -> None:
    """In the crop as the model sees it: the compositing mask says how much of the source stays."""
    rng = np.random.default_rng(3)
    generated, source = rng.uniform(-1, 1, (2, 512, 512, 3)).astype(np.float32)
    keep = compositing_mask(512)[:, :, None]
    mixed = source * keep + generated * (1 - keep)
    want = [Image.fromarray(mixed[:, :, c]).resize((420, 560), Image.Resampling.BICUBIC) for c in range(3)]
    face = template_face(generated, source_crop=source)
    assert (face.shape, face.dtype) == ((560, 420, 3), np.float32)
    np.testing.assert_allclose(face, np.dstack([np.asarray(channel) for channel in want]), atol=1e-6)


def test_without_a_source_the_whole_crop_is_generated() -> None:
    generated = np.full((512, 512, 3), 0.25, dtype=np.float32)
    np.testing.assert_allclose(template_face(generated), 0.25, atol=1e-6)
    assert template_face(generated[:256, :256], resolution=256).shape == (280, 210, 3)


def test_the_reference_takes_another_mask() -> None:
    nothing_kept = np.zeros((256, 256), dtype=np.uint8)
    generated, crop = np.ones((512, 512, 3), np.float32), np.full((512, 512, 3), -1, np.float32)
    np.testing.assert_allclose(template_face(generated, source_crop=crop, source=nothing_kept), 1, atol=1e-6)
    drawn = template_face(generated, source_crop=crop)
    assert drawn[0, 0, 0] == pytest.approx(-1)
    assert drawn[400, 210, 0] == pytest.approx(1)


SHIFT = np.array([[1.0, 0, -100], [0, 1, -50]])
"""The 420 x 560 crop lies at columns 100 to 519 and rows 50 to 609 of the frame."""


@pytest.mark.parametrize(
    ("value", "level"), [(-1.0, 0), (0.0, 127), (0.5, 191), (1.0, 255), (3.0, 255), (-2.0, 0)]
)
def test_the_reference_maps_minus_one_to_one_onto_all_levels_and_truncates(value: float, level: int) -> None:
    frame = np.full((700, 700, 3), 50, dtype=np.uint8)
    pasted = paste_back_latentsync(frame, np.full((512, 512, 3), value, dtype=np.float32), SHIFT)
    assert (pasted[200:400, 250:350] == level).all()
    assert (frame == 50).all()
    outside = np.ones((700, 700), dtype=bool)
    outside[49:612, 99:522] = False  # the soft edge ends one pixel later at the right and below
    assert (pasted[outside] == 50).all()


def test_the_reference_s_soft_edge_by_hand() -> None:
    """A white crop on black, along one row: two erosions, then a Gaussian whose width follows the crop's area.

    Even windows reach one further to the left. The area is 419 x 559 after the first erosion, its root 483, a
    twentieth of that 24.
    """
    frame = np.zeros((700, 700, 3), dtype=np.uint8)
    pasted = paste_back_latentsync(frame, np.ones((512, 512, 3), dtype=np.float32), SHIFT)

    def eroded(line: np.ndarray, side: int) -> np.ndarray:
        padded = np.pad(line, side // 2, constant_values=1.0)
        return np.array([padded[i : i + side].min() for i in range(len(line))])

    for length, start, stop, profile in (
        (700, 100, 520, pasted[330, :, 0]),
        (700, 50, 610, pasted[:, 310, 0]),
    ):
        crop = np.zeros(length)
        crop[start:stop] = 1
        first = eroded(crop, 2)
        offsets = np.arange(-24, 25)
        sigma = 0.3 * ((49 - 1) / 2 - 1) + 0.8
        taps = np.exp(-(offsets**2) / (2 * sigma**2))
        soft = np.convolve(eroded(first, 48), taps / taps.sum(), mode="same")
        assert np.abs(profile.astype(int) - np.floor(255 * soft * first)).max() <= 1
        assert 0 < (profile > 0).sum() < stop - start


def small_reference_crop(side: int) -> np.ndarray:
    """One channel of a white crop of side x side whole pixels on a black frame, its corner at (20, 20)."""
    frame = np.zeros((100, 100, 3), dtype=np.uint8)
    x, y = 420 / side, 560 / side
    matrix = np.array([[x, 0, x / 2 - 0.5 - 20 * x], [0, y, y / 2 - 0.5 - 20 * y]])
    return paste_back_latentsync(frame, np.ones((512, 512, 3), dtype=np.float32), matrix)[:, :, 0]


def test_a_small_reference_crop_has_a_hard_edge() -> None:
    """Below 20 pixels of side there is nothing to soften by; the first erosion takes one row and one column."""
    pasted = small_reference_crop(16)
    want = np.zeros((100, 100), dtype=np.uint8)
    want[21:36, 21:36] = 255
    np.testing.assert_array_equal(pasted, want)


def test_the_smallest_reference_crop_that_is_softened() -> None:
    pasted = small_reference_crop(26)
    assert ((pasted > 10) & (pasted < 245)).any()


def test_what_the_reference_gets_out_of_range_is_clipped_before_it_is_blended() -> None:
    frame = np.full((700, 700, 3), 50, dtype=np.uint8)
    far, white = (np.full((512, 512, 3), value, dtype=np.float32) for value in (3.0, 1.0))
    np.testing.assert_array_equal(
        paste_back_latentsync(frame, far, SHIFT), paste_back_latentsync(frame, white, SHIFT)
    )


def test_the_reference_pastes_by_the_mask_that_is_given() -> None:
    frame = np.full((700, 700, 3), 50, dtype=np.uint8)
    white, black = (np.full((512, 512, 3), value, dtype=np.float32) for value in (1.0, -1.0))
    whole = paste_back_latentsync(
        frame, white, SHIFT, source_crop=black, source=np.zeros((256, 256), dtype=np.uint8)
    )
    assert (whole[200:400, 250:350] == 255).all()
    assert (paste_back_latentsync(frame, white, SHIFT, source_crop=black)[150, 310] == 0).all()


def test_float_range_and_place_survive_the_reference_way() -> None:
    """A soft picture that goes through crop and back is the same picture, inside the soft edge and outside."""
    frame = smooth_picture(700, 700)
    crop = cv2.resize(frame[50:610, 100:520], (512, 512), interpolation=cv2.INTER_CUBIC)
    pasted = paste_back_latentsync(frame, crop.astype(np.float32) / 127.5 - 1, SHIFT)
    difference = pasted.astype(int) - frame
    assert np.abs(difference).max() <= 4
    assert abs(difference.mean()) < 1


@pytest.mark.parametrize("shape", [(128, 128), (128, 128, 4), (64, 128, 3), (128, 128, 1)])
def test_a_crop_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"a face crop is \[S, S, 3\]"):
        paste_back(np.zeros((9, 9, 3), np.uint8), np.zeros(shape, np.uint8), placed_matrix())


def test_a_hard_mask_takes_the_mouth_whole_and_leaves_the_rest() -> None:
    """At the identity, with a crop as large as the template, the changed pixels are those of the mask."""
    frame = np.zeros((560, 420, 3), dtype=np.uint8)
    pasted = paste_back(frame, np.full((512, 512, 3), 255, np.uint8), np.eye(3)[:2], feather=0.0)
    redraw = redraw_in_frame(np.eye(3)[:2], frame.shape)
    np.testing.assert_allclose(pasted[:, :, 0], 255 * redraw, atol=1.01)
    assert (pasted[:, :, 0] == 255).sum() > 0.2 * 420 * 560


def test_the_feather_is_a_share_of_the_crop_and_ends_after_two_deviations() -> None:
    """Along a straight edge of a mask that redraws the right half, at one frame pixel a crop pixel across."""
    half = np.zeros((256, 256), dtype=np.uint8)
    half[:, :128] = 255  # 255 keeps
    lower = half.T.copy()
    to_crop = np.array([[420 / 512, 0, (420 / 512 - 1) / 2], [0, 560 / 512, (560 / 512 - 1) / 2]])
    frame = np.zeros((512, 512, 3), dtype=np.uint8)
    white = np.full((512, 512, 3), 255, np.uint8)
    hard = paste_back(frame, white, to_crop, source=half, feather=0.0)[256, :, 0] / 255
    for feather in (0.012, 0.03):
        sigma, radius = feather * 512, round(2 * feather * 512)
        taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
        want = np.convolve(hard, taps / taps.sum(), mode="same")
        got = paste_back(frame, white, to_crop, source=half, feather=feather)[256, :, 0] / 255
        np.testing.assert_allclose(got[100:400], want[100:400], atol=0.005)
        down = paste_back(frame, white, to_crop, source=lower, feather=feather)[:, 256, 0] / 255
        np.testing.assert_allclose(down[100:400], want[100:400], atol=0.005)
        edge = np.flatnonzero(hard > 0.5)[0]
        assert got[edge - radius - 3] == 0
        assert got[edge + radius + 3] == 1
    np.testing.assert_array_equal(
        paste_back(frame, white, to_crop, source=half),
        paste_back(frame, white, to_crop, source=half, feather=FEATHER),
    )


@pytest.mark.parametrize(("scale", "step"), [(1.4, 1), (0.6, 2), (0.3, 4), (0.15, 8)])
def test_a_fine_crop_is_halved_until_it_fits_the_frame(scale: float, step: int) -> None:
    """A frame pixel spans 512 / (420 scale) crop pixels; the crop is halved while that is 1.5 or more."""
    frame = np.zeros((700, 700, 3), dtype=np.uint8)
    face = np.random.default_rng(5).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    matrix = placed_matrix(scale, 0.0, (30, 30))
    size = 512 // step
    halved = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(paste_back(frame, face, matrix), paste_back(frame, halved, matrix))
    if step > 1:
        coarser = cv2.resize(face, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
        assert not np.array_equal(paste_back(frame, face, matrix), paste_back(frame, coarser, matrix))
    finer = cv2.resize(halved, (2 * size, 2 * size), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(paste_back(frame, finer, matrix), paste_back(frame, halved, matrix))


@pytest.mark.parametrize("shift", [(0, 0), (-60, 0), (0, -180), (90, 60), (120, 160), (-90, -200)])
def test_region_wise_equals_whole_frame_at_every_border(shift: tuple[int, int]) -> None:
    """A face over each border is what the same face gives on a larger frame, cut afterwards."""
    large = np.random.default_rng(6).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    small = large[300:600, 300:600].copy()
    matrix = placed_matrix(0.5, 0.2, shift)
    moved = matrix.copy()
    moved[:, 2] -= matrix[:, :2] @ [300, 300]
    face = np.random.default_rng(7).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    whole, part = paste_back(large, face, moved), paste_back(small, face, matrix)
    assert np.abs(part.astype(int) - whole[300:600, 300:600]).max() <= 1
    assert (part != small).any()


def test_how_fine_a_crop_is_goes_by_the_frame_s_own_axes() -> None:
    """Turned by an eighth, a pixel of the frame spans 1.43 crop pixels along either axis: not halved."""
    frame = np.zeros((700, 700, 3), dtype=np.uint8)
    face = np.random.default_rng(5).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    matrix = placed_matrix(0.75, np.pi / 4, (350, 50))
    halved = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    assert not np.array_equal(paste_back(frame, face, matrix), paste_back(frame, halved, matrix))


def test_a_coarse_crop_reaches_one_of_its_pixels_beyond_the_mask() -> None:
    """Where a crop pixel is many frame pixels wide, a region that ends too early would show."""
    frame = np.zeros((1800, 1500, 3), dtype=np.uint8)
    face = np.full((64, 64, 3), 255, dtype=np.uint8)
    matrix = placed_matrix(3.0, 0.0, (100, 50))
    soft = cv2.warpAffine(
        1 - compositing_mask(64),
        square_matrix(matrix, 64),
        (1500, 1800),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    pasted = paste_back(frame, face, matrix, feather=0.0)[:, :, 0]
    np.testing.assert_allclose(pasted, 255 * soft, atol=1.5)
