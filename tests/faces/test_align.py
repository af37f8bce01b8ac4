"""Alignment: known similarities are recovered, shots are separate, the crop shows what it should."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import (
    CROP_HEIGHT,
    CROP_WIDTH,
    align_points,
    align_track,
    square_matrix,
    template_crop,
    template_points,
    template_size,
    warp_face,
    warp_face_latentsync,
)
from lipforcing_core.faces.sightings import FaceState
from lipforcing_core.faces.track import FaceTrack
from lipforcing_core.media.affine import invert_matrix


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Crop to frame: [2, 3]."""
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def placed(matrix: np.ndarray) -> np.ndarray:
    """The template's points seen through a crop-to-frame map."""
    return template_points() @ matrix[:, :2].T + matrix[:, 2]


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.05, 8.0),
    x=st.floats(-500, 2000),
    y=st.floats(-500, 2000),
)
def test_a_similarity_is_recovered(angle: float, scale: float, x: float, y: float) -> None:
    to_frame = similarity(angle, scale, (x, y))
    matrix = align_points(placed(to_frame)[None], nose_bias=False)[0][0]
    np.testing.assert_allclose(matrix, invert_matrix(to_frame), rtol=1e-6, atol=1e-6 * (1 + 2500 / scale))


def test_no_reflection_even_for_mirrored_points() -> None:
    mirrored = template_points() * [-1, 1] + [600, 0]
    matrix = align_points(mirrored[None], nose_bias=False)[0][0]
    assert np.linalg.det(matrix[:, :2]) > 0


def test_nose_bias_is_filtered_and_added_in_pixels() -> None:
    points = np.stack([placed(similarity(0, 1, (0, 0)))] * 3)
    points[1:, 2] += [0, 30]
    plain, no_bias = align_points(points, nose_bias=False)
    with_bias, bias = align_points(points)
    assert (no_bias == 0).all()
    raw = align_points(points[1:2])[1][0]
    np.testing.assert_allclose(bias, [[0, 0], 0.8 * raw, (0.2 * 0.8 + 0.8) * raw], atol=1e-12)
    np.testing.assert_allclose(with_bias[:, :, 2] - plain[:, :, 2], bias, atol=1e-12)


@pytest.mark.parametrize("points", [np.full((1, 3, 2), 7.0), np.full((1, 3, 2), np.nan)])
def test_points_that_place_nothing(points: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="three points"):
        align_points(points)


def track_of(points_F32: np.ndarray, absent: tuple[int, ...] = ()) -> FaceTrack:
    states = [FaceState.DETECTED] * len(points_F32)
    points_F32 = points_F32.copy()
    for index in absent:
        states[index] = FaceState.ABSENT
        points_F32[index] = np.nan
    return FaceTrack(anchors_F32=points_F32, boxes_F4=np.zeros((len(points_F32), 4)), states=states)


def changing_points() -> np.ndarray:
    points = np.stack([placed(similarity(0, 0.5, (10.0 * index, 0))) for index in range(8)])
    points[:, 2, 1] += np.arange(8) * 3.0
    return points


def test_bias_starts_afresh_with_a_shot_and_after_a_gap() -> None:
    points = changing_points()
    alone = align_points(points[5:])[0]
    by_shot = align_track(track_of(points), shot_starts=(0, 5))
    after_gap = align_track(track_of(points, absent=(4,)))
    np.testing.assert_array_equal(by_shot.matrices_F23[5:], alone)
    np.testing.assert_array_equal(after_gap.matrices_F23[5:], alone)
    assert not np.array_equal(align_track(track_of(points)).matrices_F23[5:], alone)


def test_frames_without_a_face_repeat_the_nearest_alignment() -> None:
    points = changing_points()
    alignment = align_track(track_of(points, absent=(0, 3, 4, 5)))
    assert alignment.usable_F.tolist() == [False, True, True, False, False, False, True, True]
    m = alignment.matrices_F23
    for frame, nearest in ((0, 1), (3, 2), (4, 2), (5, 6)):
        np.testing.assert_array_equal(m[frame], m[nearest])


def test_no_face_anywhere() -> None:
    with pytest.raises(BadInputError, match="no face"):
        align_track(track_of(changing_points(), absent=tuple(range(8))))


def test_square_crop_covers_the_template_crop() -> None:
    """The outer corners of the 420 x 560 crop are the outer corners of the square one."""
    matrix = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    corners = np.array([[-0.5, -0.5, 1], [CROP_WIDTH - 0.5, CROP_HEIGHT - 0.5, 1]])
    np.testing.assert_allclose(
        corners @ square_matrix(matrix, 128).T, [[-0.5, -0.5], [127.5, 127.5]], atol=1e-9
    )
    assert template_size() == (CROP_WIDTH, CROP_HEIGHT)


@pytest.mark.parametrize(("scale", "size"), [(0.4, 512), (1.0, 512), (2.5, 512), (1.0, 128), (3.0, 128)])
def test_crop_shows_the_right_place(scale: float, size: int) -> None:
    """A soft spot at a known place of the frame has its centre of mass where the matrix says, to 0.1 crop pixels.

    The cases run with and without reduction before the warp.
    """
    to_frame = similarity(0.2, scale, (550, 120))
    spot = to_frame @ [170.0, 330.0, 1.0]
    rows, columns = np.mgrid[0:2100, 0:1900].astype(np.float64)
    distance = ((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * (15 * scale) ** 2)
    frame = np.repeat(np.rint(255 * np.exp(-distance)).astype(np.uint8)[:, :, None], 3, axis=2)
    crop = warp_face(frame, invert_matrix(to_frame), size)[:, :, 1].astype(np.float64)
    weights = crop / crop.sum()
    seen = [(weights.sum(axis=0) * np.arange(size)).sum(), (weights.sum(axis=1) * np.arange(size)).sum()]
    expected = square_matrix(invert_matrix(to_frame), size) @ [*spot, 1.0]
    np.testing.assert_allclose(seen, expected, atol=0.1)


def test_outside_the_frame_is_grey_127() -> None:
    frame = np.full((100, 100, 3), 200, dtype=np.uint8)
    crop = warp_face(frame, np.array([[1.0, 0, 200], [0, 1.0, 200]]), 512)
    assert (crop[0, 0] == 127).all()
    assert (crop[255, 300] == 200).all()


def test_reference_crop_agrees_with_ours_on_a_soft_picture() -> None:
    rows, columns, colours = np.mgrid[0:700, 0:600, 0:3]
    frame = (128 + 90 * np.sin(rows / 40 + colours) * np.cos(columns / 50)).astype(np.uint8)
    matrix = invert_matrix(similarity(0.1, 0.9, (60, 90)))
    crop, reference = warp_face(frame, matrix), warp_face_latentsync(frame, matrix)
    assert reference.shape == crop.shape
    assert np.abs(reference.astype(int) - crop).max() <= 2


def test_reference_crop_truncates_and_fills_with_grey_127() -> None:
    frame = np.full((100, 100, 3), 200, dtype=np.uint8)
    frame[:, 1::2] = 201
    crop = warp_face_latentsync(frame, np.array([[1.0, 0, 200.5], [0, 1.0, 200]]))
    assert (crop[0, 0] == 127).all()
    assert (crop[255, 300] == 200).all()  # 200.5 everywhere between two columns


def test_face_entirely_outside_the_frame_gives_a_grey_crop() -> None:
    frame = np.full((100, 100, 3), 200, dtype=np.uint8)
    for scale in (1.0, 0.2):
        crop = warp_face(frame, np.array([[scale, 0, 5000.0], [0, scale, 5000]]), 64)
        assert (crop == 127).all()


def test_fine_texture_does_not_alias() -> None:
    """A one-pixel checkerboard seen much smaller is an even grey, not a moire."""
    board = (np.indices((1200, 1200)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = warp_face(np.dstack([board] * 3), np.array([[0.35, 0, 0], [0, 0.4667, 0]]), 128)
    inner = crop[10:-10, 10:-10].astype(float)
    assert abs(inner.mean() - 127.5) < 2
    assert inner.std() < 4


def test_template_by_hand() -> None:
    """17, 20, 37.5, 40 and 58 units of 75 x 100; a unit is 2.8 pixels at resolution 256."""
    np.testing.assert_allclose(template_points(256), [[47.6, 56], [162.4, 56], [105, 112]])
    np.testing.assert_allclose(template_points(), [[95.2, 112], [324.8, 112], [210, 224]])
    assert template_size(256) == (210, 280)
    assert template_size(128) == (105, 140)


def test_a_resolution_moves_the_crop_and_nothing_else() -> None:
    points = placed(similarity(0.3, 0.7, (30, 40)))[None]
    at_512, at_256 = (align_points(points, resolution=r, nose_bias=False)[0][0] for r in (512, 256))
    np.testing.assert_allclose(at_256, at_512 / 2, atol=1e-9)


def test_scale_is_the_ratio_of_deviations_over_all_coordinates() -> None:
    """Of points that are no similar triangle, against the definition with numpy's deviation of all six numbers."""
    points = np.array([[10.0, 20.0], [95.0, 32.0], [60.0, 110.0]])
    matrix, bias = (values[0] for values in align_points(points[None]))
    template = template_points()
    template_unit = (template - template.mean(axis=0)) / np.std(template - template.mean(axis=0), ddof=1)
    deviation = np.std(points - points.mean(axis=0), ddof=1)
    unit = (points - points.mean(axis=0)) / deviation
    scale = np.sqrt(np.linalg.det(matrix[:, :2]))
    assert scale == pytest.approx(np.std(template - template.mean(axis=0), ddof=1) / deviation)
    np.testing.assert_allclose(bias, template_unit[2] - unit[2])
    # The best angle of a planar Procrustes problem, from the sums of dot and cross products.
    dot = (unit * template_unit).sum()
    cross = (unit[:, 0] * template_unit[:, 1] - unit[:, 1] * template_unit[:, 0]).sum()
    assert np.arctan2(matrix[1, 0], matrix[0, 0]) == pytest.approx(np.arctan2(cross, dot))
    centre = matrix[:, :2] @ points.mean(axis=0) + matrix[:, 2]
    np.testing.assert_allclose(centre, template.mean(axis=0) + bias)


def test_the_nose_bias_remembers_a_fifth() -> None:
    points = np.stack([placed(similarity(0, 1, (0, 0)))] * 4)
    points[1, 2] += [0, 30]
    points[3, 2] += [20, 0]
    raw = np.concatenate([align_points(frame[None])[1] for frame in points])
    want = [raw[0]]
    for own in raw[1:]:
        want.append(0.2 * want[-1] + 0.8 * own)
    np.testing.assert_allclose(align_points(points)[1], want, atol=1e-12)
    assert np.abs(want).max() > 0.1


def test_a_track_is_aligned_with_the_nose_bias_unless_told_otherwise() -> None:
    points = changing_points()
    for nose_bias in (True, False):
        track = align_track(track_of(points), nose_bias=nose_bias)
        np.testing.assert_array_equal(track.matrices_F23, align_points(points, nose_bias=nose_bias)[0])
    plain = align_points(points, nose_bias=False)[0]
    assert not np.array_equal(align_track(track_of(points)).matrices_F23, plain)
    np.testing.assert_array_equal(align_track(track_of(points)).matrices_F23, align_points(points)[0])


def test_shot_starts_in_any_order_and_at_the_edges_of_runs() -> None:
    points = changing_points()
    aligned = align_track(track_of(points, absent=(4,)), shot_starts=(7, 2, 0, 4, 5, 8, 99))
    pieces = [(0, 2), (2, 4), (5, 7), (7, 8)]
    for start, stop in pieces:
        np.testing.assert_array_equal(aligned.matrices_F23[start:stop], align_points(points[start:stop])[0])


def test_some_frames_of_points_that_place_nothing() -> None:
    points = np.stack([template_points(), np.full((3, 2), 5.0)])
    with pytest.raises(BadInputError, match="coincide"):
        align_points(points)
    points[1] = template_points()
    points[1, 2, 0] = np.nan
    with pytest.raises(BadInputError, match="not finite"):
        align_points(points)


def test_the_reference_s_crop_is_the_frame_where_the_map_is_the_identity() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    crop = template_crop(frame, np.array([[1, 0, 20], [0, 1, 30]]))
    assert (crop.shape, crop.dtype) == ((560, 420, 3), np.float32)
    np.testing.assert_array_equal(crop[30:330, 20:320], frame)
    outside = np.ones((560, 420), dtype=bool)
    outside[30:330, 20:320] = False
    assert (crop[outside] == 127).all()
    assert template_crop(frame, np.eye(3)[:2], 256).shape == (280, 210, 3)
    assert warp_face_latentsync(frame, np.eye(3)[:2]).shape == (512, 512, 3)
    assert warp_face_latentsync(frame, np.eye(3)[:2], resolution=256).shape == (256, 256, 3)


def test_the_reference_s_crop_is_stretched_with_lanczos() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (600, 500, 3), dtype=np.uint8)
    matrix = np.array([[1.0, 0, -20.5], [0, 1, -10]])  # half a pixel aside: the mean of two neighbours
    halves = (frame[10:570, 20:440].astype(np.float32) + frame[10:570, 21:441]) / 2
    stretched = cv2.resize(halves.astype(np.uint8), (512, 512), interpolation=cv2.INTER_LANCZOS4)
    np.testing.assert_array_equal(warp_face_latentsync(frame, matrix), stretched)


@pytest.mark.parametrize("scale", [1.2, 1.35, 2.0, 3.0, 4.1])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_no_grey_comes_in_where_the_crop_lies_in_the_frame(scale: float, angle: float) -> None:
    """Whether the part under the crop is cut out and reduced first, or not."""
    frame = np.full((3200, 3200, 3), 200, dtype=np.uint8)
    matrix = invert_matrix(similarity(angle, scale, (1000, 100)))
    assert (warp_face(frame, matrix, 512) == 200).all()
    assert (warp_face(frame, matrix, 100) == 200).all()


@pytest.mark.parametrize("corner", [(0, 0), (-40, -60), (330, 250)])
def test_reduction_of_the_part_is_reduction_of_the_frame(corner: tuple[int, int]) -> None:
    """The fast path against reducing the whole frame by a whole number and warping that; the frame is soft."""
    rows, columns, colours = np.mgrid[0:1200, 0:1200, 0:3]
    frame = (128 + 90 * np.sin(rows / 60 + colours) * np.cos(columns / 70)).astype(np.uint8)
    matrix = invert_matrix(similarity(0.1, 2.0, corner))
    small = cv2.resize(frame, (600, 600), interpolation=cv2.INTER_AREA)
    to_small = square_matrix(matrix, 280)
    to_small[:, 2] += to_small[:, :2] @ [0.5, 0.5]  # pixel 0 of the small frame lies at 0.5 of the frame
    to_small[:, :2] *= 2
    plain = cv2.warpAffine(small, to_small, (280, 280), borderValue=(127, 127, 127))
    got = warp_face(frame, matrix, 280).astype(int)
    assert np.percentile(np.abs(got - plain), 99) <= 2  # all but the border of the frame
    assert np.abs(got - plain).mean() < 0.5


def test_mirrored_points_get_the_best_rotation_that_there_is() -> None:
    """A planar face seen in a mirror: still a turn and a scale, and the turn is the best one."""
    points = np.array([[90.0, 40.0], [15.0, 32.0], [70.0, 110.0]])
    linear = align_points(points[None], nose_bias=False)[0][0][:, :2]
    template = template_points() - template_points().mean(axis=0)
    centred = points - points.mean(axis=0)
    dot = (centred * template).sum()
    cross = (centred[:, 0] * template[:, 1] - centred[:, 1] * template[:, 0]).sum()
    angle, scale = np.arctan2(cross, dot), np.sqrt(np.linalg.det(linear))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(linear, scale * turn, atol=1e-9)


def test_fine_texture_does_not_alias_wherever_it_lies() -> None:
    board = (np.indices((1600, 1600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = np.array([[0.35, 0, -120], [0, 0.4667, -150]])
    crop = warp_face(np.dstack([board] * 3), matrix, 128)
    assert crop.astype(float).std() < 4
