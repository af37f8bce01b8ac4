"""Affine maps between pictures: which part is reduced, when, and the maps between pixel centres, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.media import affine


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
    piece, corner = affine._part_under(numbered(80, 100), to_square, (size, size))
    assert corner.tolist() == list(low)
    assert corner.dtype == np.float64
    assert piece[0, 0, :2].tolist() == list(low)
    assert piece[-1, -1, :2].tolist() == [high[0] - 1, high[1] - 1]


def test_the_piece_under_a_turned_crop_holds_its_corners() -> None:
    """x of the square is y of the frame - 30, y of the square is 60 - x of the frame."""
    to_square = np.array([[0.0, 1.0, -30.0], [-1.0, 0.0, 60.0]])
    piece, corner = affine._part_under(numbered(80, 100), to_square, (16, 16))
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
    plain = affine._part_under

    def region(*arguments: object) -> object:
        calls.append(arguments)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(affine, "_part_under", region)
    affine.warp(numbered(200, 200), np.array([[scale_x, 0, 0], [0, scale_y, 0]]), (64, 64), 127)
    assert bool(calls) is reduces


def test_resizing_keeps_outer_corners() -> None:
    to_larger = affine.resize_matrix((4, 6), (8, 3))
    np.testing.assert_allclose(to_larger @ [-0.5, -0.5, 1], [-0.5, -0.5])
    np.testing.assert_allclose(to_larger @ [3.5, 5.5, 1], [7.5, 2.5])
    np.testing.assert_allclose(to_larger[:, :2], [[2, 0], [0, 0.5]])


def test_an_inverse_undoes_its_map() -> None:
    matrix = np.array([[1.5, -0.4, 20.0], [0.3, 1.2, -7.0]])
    inverse = affine.invert_matrix(matrix)
    assert inverse.shape == (2, 3)
    point = matrix @ [11.0, 5.0, 1.0]
    np.testing.assert_allclose(inverse @ [*point, 1.0], [11.0, 5.0])


def test_a_very_flat_piece_still_has_a_pixel() -> None:
    """Reduced by more than the piece has rows or columns, one is left."""
    frame = np.full((300, 300, 3), 90, np.uint8)
    crop = affine.warp(frame, np.array([[0.001, 0, 0.1], [0, 0.001, 0.2]]), (64, 64), 127)
    assert crop.shape == (64, 64, 3)
    assert set(np.unique(crop)) <= set(range(90, 128))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_plane_is_warped_into_any_size_and_depth(kind: type) -> None:
    """Every result pixel (x, y) shows (x + 2, 2 y + 1) of the picture; what lies beyond its borders is the fill."""
    columns = (np.arange(12) * 20)[None].repeat(9, 0).astype(kind)
    shown = affine.warp(columns, np.array([[1.0, 0.0, -2.0], [0.0, 0.5, -0.5]]), (14, 5), 7)
    assert shown.shape == (5, 14)
    assert shown.dtype == kind
    assert shown[0].tolist() == [*range(40, 240, 20), 7, 7, 7, 7]
    assert shown[4].tolist() == [7] * 14  # row 9 is the first beyond the picture


def test_one_map_after_another() -> None:
    shift = np.array([[1.0, 0, 5], [0, 1.0, -3]])
    turn = np.array([[0.0, 1.0, 0], [-1.0, 0, 9]])
    point = np.array([2.0, 7.0, 1.0])
    np.testing.assert_allclose(affine.composed(turn, shift) @ point, turn @ [*(shift @ point), 1.0])
