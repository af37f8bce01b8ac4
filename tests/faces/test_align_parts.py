"""The parts of the alignment, by hand."""

from __future__ import annotations

import numpy as np

from lipforcing_core.faces import align
from lipforcing_core.faces.align import (
    align_points,
    square_matrix,
    template_points,
    warp_face,
)


def test_the_square_is_512_wide_unless_told_otherwise() -> None:
    matrix = np.array([[1.5, -0.4, 20.0], [0.3, 1.2, -7.0]])
    np.testing.assert_array_equal(square_matrix(matrix), square_matrix(matrix, 512))
    half = square_matrix(matrix, 256)
    np.testing.assert_allclose(half[:, :2], square_matrix(matrix)[:, :2] / 2)
    assert warp_face(np.zeros((20, 20, 3), np.uint8), matrix).shape == (512, 512, 3)


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
