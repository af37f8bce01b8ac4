"""The parts of the warp: which piece of the frame is reduced, when, and the maps between pixel centres, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.faces import align
from lipforcing_core.faces.align import (
    CROP_HEIGHT,
    CROP_WIDTH,
    align_points,
    invert_matrix,
    square_matrix,
    template_points,
    warp_face,
)


def numbered(height: int, width: int) -> np.ndarray:
    """A frame whose pixels say where they are: (column, row, 0)."""
    rows, columns = np.indices((height, width))
    return np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "shift", "size", "low", "high"),
    [
        # The square's outer corners are at -0.5 and size - 0.5; two pixels more on either side, the end left out.
        (1.0, (-10.0, -20.0), 16, (7, 17), (29, 39)),  # 9.5 to 25.5 and 19.5 to 35.5
        (0.5, (-10.0, -20.0), 16, (17, 37), (54, 74)),  # 19 to 51 and 39 to 71
        (1.0, (5.0, -1.0), 16, (0, 0), (14, 20)),  # -5.5 to 10.5 and 0.5 to 16.5
        (1.0, (-90.0, -75.0), 16, (87, 72), (100, 80)),  # the frame ends at 100 and 80
        (1.0, (-500.0, -600.0), 16, (99, 79), (100, 80)),  # beyond it: one pixel is left
        (1.0, (500.0, 600.0), 16, (0, 0), (1, 1)),
    ],
)
def test_the_piece_of_the_frame_under_the_crop(
    scale: float, shift: tuple[float, float], size: int, low: tuple[int, int], high: tuple[int, int]
) -> None:
    to_square = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    piece, corner = align._region(numbered(80, 100), to_square, size)
    assert corner.tolist() == list(low)
    assert corner.dtype == np.float64
    assert piece[0, 0, :2].tolist() == list(low)
    assert piece[-1, -1, :2].tolist() == [high[0] - 1, high[1] - 1]


def test_the_piece_under_a_turned_crop_holds_its_corners() -> None:
    """x of the square is y of the frame - 30, y of the square is 60 - x of the frame."""
    to_square = np.array([[0.0, 1.0, -30.0], [-1.0, 0.0, 60.0]])
    piece, corner = align._region(numbered(80, 100), to_square, 16)
    assert corner.tolist() == [42, 27]  # from 44.5 and 29.5 on
    assert piece[-1, -1, :2].tolist() == [63, 48]  # to 60.5 and 45.5


@pytest.mark.parametrize(
    ("scale_x", "scale_y", "reduces"),
    [(0.74, 0.3, True), (0.76, 0.3, False), (0.3, 0.76, False), (0.3, 0.74, True), (2.0, 2.0, False)],
)
def test_a_frame_is_reduced_where_both_axes_shrink_below_three_quarters(
    scale_x: float, scale_y: float, reduces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = align._region

    def region(*arguments: object) -> object:
        calls.append(arguments)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(align, "_region", region)
    matrix = np.array([[scale_x * CROP_WIDTH / 64, 0, 0], [0, scale_y * CROP_HEIGHT / 64, 0]])
    warp_face(numbered(200, 200), matrix, 64)
    assert bool(calls) is reduces


def test_axis_lengths_are_those_of_the_frame_s_pixels() -> None:
    matrix = np.array([[3.0, 0.0, 9.0], [4.0, 2.0, 9.0]])
    assert align._axis_lengths(matrix).tolist() == [5.0, 2.0]


def test_resizing_keeps_outer_corners() -> None:
    to_larger = align._resize_matrix((4, 6), (8, 3))
    np.testing.assert_allclose(to_larger @ [-0.5, -0.5, 1], [-0.5, -0.5])
    np.testing.assert_allclose(to_larger @ [3.5, 5.5, 1], [7.5, 2.5])
    np.testing.assert_allclose(to_larger[:, :2], [[2, 0], [0, 0.5]])


def test_an_inverse_undoes_its_map() -> None:
    matrix = np.array([[1.5, -0.4, 20.0], [0.3, 1.2, -7.0]])
    inverse = invert_matrix(matrix)
    assert inverse.shape == (2, 3)
    point = matrix @ [11.0, 5.0, 1.0]
    np.testing.assert_allclose(inverse @ [*point, 1.0], [11.0, 5.0])


def test_the_square_is_512_wide_unless_told_otherwise() -> None:
    matrix = np.array([[1.5, -0.4, 20.0], [0.3, 1.2, -7.0]])
    np.testing.assert_array_equal(square_matrix(matrix), square_matrix(matrix, 512))
    half = square_matrix(matrix, 256)
    np.testing.assert_allclose(half[:, :2], square_matrix(matrix)[:, :2] / 2)
    assert warp_face(numbered(20, 20), matrix).shape == (512, 512, 3)


def test_a_very_flat_piece_still_has_a_pixel() -> None:
    """Reduced by more than the piece has rows or columns, one is left."""
    frame = np.full((300, 300, 3), 90, np.uint8)
    crop = warp_face(frame, np.array([[0.001, 0, 200.0], [0, 0.001, 300.0]]), 64)
    assert crop.shape == (64, 64, 3)
    assert set(np.unique(crop)) <= set(range(90, 128))


def test_the_nearest_frame_with_a_face() -> None:
    usable = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0], dtype=bool)
    assert align._nearest_true(usable).tolist() == [2, 2, 2, 2, 2, 7, 7, 7, 7]
    even = np.array([1, 0, 0, 0, 1], dtype=bool)
    assert align._nearest_true(even).tolist() == [0, 0, 0, 4, 4]  # the earlier of two equally near


def test_runs_end_at_gaps_and_at_shots_inside_them() -> None:
    usable = np.array([1, 1, 1, 0, 1, 1, 0, 1], dtype=bool)
    assert align._runs(usable, ()) == [(0, 3), (4, 6), (7, 8)]
    assert align._runs(np.ones(8, dtype=bool), (6, 2, 5)) == [(0, 2), (2, 5), (5, 6), (6, 8)]
    assert align._runs(usable, (5, 2, 3, 4, 7)) == [(0, 2), (2, 3), (4, 5), (5, 6), (7, 8)]


def test_a_face_of_less_than_a_pixel_is_placed_too() -> None:
    points = template_points() * 0.002 + [40.0, 30.0]
    matrix = align_points(points[None], nose_bias=False)[0][0]
    np.testing.assert_allclose(matrix, [[500, 0, -20_000], [0, 500, -15_000]], rtol=1e-6, atol=1e-6)
