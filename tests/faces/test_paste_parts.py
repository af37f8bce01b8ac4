"""The parts of pasting back: the box that can change, the soft mask, and how far a crop is halved, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipforcing_core.faces import paste
from lipforcing_core.faces.align import CROP_HEIGHT, CROP_WIDTH
from lipforcing_core.faces.mask import compositing_mask, mask_source
from lipforcing_core.faces.paste import FEATHER, paste_back


@pytest.fixture(autouse=True)
def _fresh_masks() -> None:
    """Every test makes its own masks, so that none passes on what another one computed."""
    paste._alpha.cache_clear()


def rectangle(rows: slice, columns: slice, size: int = 64) -> np.ndarray:
    alpha = np.zeros((size, size), np.float32)
    alpha[rows, columns] = 0.5
    return alpha


@pytest.mark.parametrize(
    ("scale", "shift", "box"),
    [
        # Columns 5 to 29 and rows 10 to 19 of the crop change, and what is read between them and their neighbours.
        (1.0, (0.0, 0.0), (4, 9, 31, 21)),
        (1.0, (-0.5, 0.25), (4, 8, 32, 21)),  # 4.5 to 30.5 and 8.75 to 19.75
        (2.0, (0.0, 0.0), (2, 4, 16, 11)),  # 2 to 15 and 4.5 to 10
        (1.0, (9.0, 15.0), (0, 0, 22, 6)),  # from -5 and -6 on
        (1.0, (-60.0, -70.0), (64, 79, 80, 90)),  # the frame ends at 80 and 90
        (1.0, (-100.0, 0.0), (104, 9, 80, 21)),  # beside the frame
    ],
)
def test_the_box_of_pixels_that_can_change(
    scale: float, shift: tuple[float, float], box: tuple[int, int, int, int]
) -> None:
    alpha = rectangle(slice(10, 20), slice(5, 30))
    to_square = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    found = paste._touched_box(alpha, to_square, (90, 80))
    assert found == box
    assert all(type(value) is int for value in found)


def test_the_box_of_a_turned_crop_holds_its_corners() -> None:
    """A quarter turn: x of the crop is y of the frame, y of the crop is 50 - x of it."""
    alpha = rectangle(slice(10, 20), slice(5, 30))
    to_square = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 50.0]])
    # x from 50 - 20 to 50 - 9, y from 4 to 30
    assert paste._touched_box(alpha, to_square, (90, 80)) == (30, 4, 42, 31)


@pytest.mark.parametrize(
    ("size", "feather"), [(512, FEATHER), (256, 0.03), (64, 0.74 / 64), (16, FEATHER), (128, 0.0)]
)
def test_the_soft_mask_is_a_gaussian_cut_after_two_deviations(size: int, feather: float) -> None:
    hard = 1 - compositing_mask(size, mask_source())
    want = hard
    if feather:
        radius = max(1, round(2 * feather * size))
        taps = cv2.getGaussianKernel(2 * radius + 1, feather * size)
        want = cv2.sepFilter2D(hard, -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
    alpha = paste._alpha(size, feather)
    np.testing.assert_allclose(alpha, np.where(want < 1 / 512, 0, want), atol=2e-3)
    assert (alpha.shape, alpha.dtype) == ((size, size), np.float32)
    assert alpha[alpha > 0].min() >= 1 / 512
    assert (alpha[: size // 8] == 0).all()
    np.testing.assert_array_equal(alpha, paste._alpha_of(mask_source(), size, feather))


def test_a_share_below_one_in_512_counts_as_nothing() -> None:
    """A straight edge under a wide Gaussian has shares of every size."""
    half = np.zeros((256, 256), np.uint8)
    half[:, :128] = 255
    alpha = paste._alpha_of(half, 256, 0.1)
    row = alpha[128]
    radius = round(2 * 0.1 * 256)
    taps = cv2.getGaussianKernel(2 * radius + 1, 0.1 * 256)[:, 0]
    tail = np.cumsum(taps)  # the share at the k-th pixel within reach of the edge
    first = int(np.argmax(tail >= 1 / 512))
    edge = 128 - radius
    assert np.flatnonzero(row)[0] == edge + first
    assert row[edge + first] == pytest.approx(tail[first], abs=1e-5)
    assert 1 / 512 <= row[row > 0].min() < 2 / 512


def test_a_mask_at_the_border_of_the_crop_fades_there() -> None:
    """Nothing is redrawn beyond the crop, so half of the Gaussian at its border finds nothing."""
    everything = np.zeros((256, 256), np.uint8)
    alpha = paste._alpha_of(everything, 256, 0.02)
    assert alpha[128, 128] == pytest.approx(1.0)
    taps = cv2.getGaussianKernel(2 * 10 + 1, 0.02 * 256)[:, 0]
    np.testing.assert_allclose(alpha[128, :11], np.cumsum(taps)[10:], atol=1e-5)


def stretched(scale_x: float, scale_y: float, size: int) -> np.ndarray:
    """A frame pixel spans ``scale_x`` by ``scale_y`` pixels of a crop of that size."""
    return np.array([[scale_x * CROP_WIDTH / size, 0, 0], [0, scale_y * CROP_HEIGHT / size, 0]])


@pytest.mark.parametrize(
    ("scale_x", "scale_y", "size", "reduced"),
    [
        (1.49, 1.0, 64, 64),
        (1.51, 1.0, 64, 32),
        (1.0, 1.51, 64, 32),
        (2.99, 1.0, 64, 32),
        (3.01, 1.0, 64, 16),
        (100.0, 100.0, 64, 1),
        (9.0, 9.0, 63, 63),
        (9.0, 9.0, 36, 9),
        (0.1, 0.1, 64, 64),
    ],
)
def test_a_crop_is_halved_until_a_frame_pixel_spans_less_than_one_and_a_half(
    scale_x: float, scale_y: float, size: int, reduced: int
) -> None:
    face = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    got = paste._reduced(face, stretched(scale_x, scale_y, size))
    assert got.shape == (reduced, reduced, 3)
    step = size // reduced
    means = face.reshape(reduced, step, reduced, step, 3).mean(axis=(1, 3))
    assert np.abs(got - means).max() <= 0.5
    assert (got is face) == (reduced == size)


@pytest.mark.parametrize(
    ("value", "level"), [(-40.0, 0), (0.0, 0), (254.4, 254), (254.6, 255), (255.0, 255), (300.0, 255)]
)
def test_levels_under_the_mask_are_rounded_and_stay_within_0_and_255(value: float, level: int) -> None:
    frame = np.full((CROP_HEIGHT, CROP_WIDTH, 3), 90, np.uint8)
    face = np.full((512, 512, 3), value, np.float32)
    pasted = paste_back(frame, face, np.eye(3)[:2])
    assert (pasted[400:450, 180:240] == level).all()
    assert (pasted[:60] == 90).all()
    black = paste_back(np.zeros_like(frame), np.zeros((512, 512, 3), np.uint8), np.eye(3)[:2])
    assert (black == 0).all()


def test_a_face_that_touches_the_frame_with_one_row_or_column() -> None:
    """The face is pasted as far as the frame goes, to the last pixel, and nothing is done beside it."""
    everything, white = np.zeros((256, 256), np.uint8), np.full((512, 512, 3), 255, np.uint8)
    for axis in (0, 1):
        for visible in range(-6, 4):
            shift = np.zeros(2)
            shift[axis] = (CROP_WIDTH, CROP_HEIGHT)[axis] - visible
            matrix = np.array([[1.0, 0, shift[0]], [0, 1.0, shift[1]]])
            frame = np.zeros((CROP_HEIGHT, CROP_WIDTH, 3), np.uint8)
            pasted = paste_back(frame, white, matrix, feather=0.0, source=everything)
            lines = pasted.max(axis=(axis, 2))  # of each column, or of each row
            assert (lines[max(0, visible) + 1 :] == 0).all()
            assert ((lines > 200).sum()) == max(0, visible)


def eroded(line: np.ndarray, side: int) -> np.ndarray:
    """The least of the ``side // 2`` places before, this one, and as many after but one."""
    padded = np.pad(line, side // 2, constant_values=1.0)
    return np.array([padded[k : k + side].min() for k in range(len(line))])


def test_the_reference_s_smallest_soft_edge_by_hand() -> None:
    """A crop of 26 x 26 pixels: 25 x 25 after the first erosion, a twentieth of 25 is 1, so three taps of sigma 0.8."""
    frame = np.zeros((100, 100, 3), np.uint8)
    x, y = CROP_WIDTH / 26, CROP_HEIGHT / 26
    matrix = np.array([[x, 0, x / 2 - 0.5 - 20 * x], [0, y, y / 2 - 0.5 - 20 * y]])
    pasted = paste.paste_back_latentsync(frame, np.ones((512, 512, 3), np.float32), matrix)
    crop = np.zeros(100)
    crop[20:46] = 1
    first = eroded(crop, 2)
    taps = np.exp(-(np.arange(-1, 2) ** 2) / (2 * 0.8**2))
    soft = np.convolve(eroded(first, 2), taps / taps.sum(), mode="same")
    for line in (pasted[33, :, 0], pasted[:, 33, 0]):
        assert np.abs(line.astype(int) - np.floor(255 * soft * first)).max() <= 1


def test_the_reference_at_another_resolution() -> None:
    """At 256 the crop is 210 x 280 and lies at columns 100 to 309 and rows 50 to 329 of the frame."""
    frame = np.zeros((400, 400, 3), np.uint8)
    matrix = np.array([[1.0, 0, -100], [0, 1, -50]])
    white = np.ones((256, 256, 3))  # numpy's own float64 is taken too
    pasted = paste.paste_back_latentsync(frame, white, matrix, resolution=256)
    assert (pasted[150:250, 150:250] == 255).all()
    outside = np.ones((400, 400), dtype=bool)
    outside[50:330, 100:310] = False
    assert (pasted[outside] == 0).all()
    assert pasted[:, :, 0].max(axis=1).nonzero()[0][-1] > 310
    face = paste.template_face(white, resolution=256)
    assert (face.shape, face.dtype) == ((280, 210, 3), np.float32)


def test_few_masks_are_kept() -> None:
    for size in range(16, 32):
        paste._alpha(size, 0.0)
    assert paste._alpha.cache_info().currsize == 8


def test_a_pulled_picture_is_read_where_the_map_sends_it() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    to_picture = np.array([[1.0, 0, -1.5], [0, 1.0, -1.0]])  # one and a half to the right and one down
    for fill in (0, 127):
        pulled = paste._pull(picture, to_picture, (6, 4), fill=fill)
        want = np.full((4, 6, 3), float(fill))
        padded = np.pad(picture, ((0, 0), (1, 1), (0, 0)), constant_values=fill)
        want[1:3, 1:5] = (padded[:, :-1] + padded[:, 1:]) / 2
        np.testing.assert_allclose(pulled, want, atol=0.05 + fill / 500)
    np.testing.assert_array_equal(
        paste._pull(picture, to_picture, (6, 4)), paste._pull(picture, to_picture, (6, 4), fill=0)
    )
