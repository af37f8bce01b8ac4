"""Tracking: scripted detections with known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.anchors import anchors_from_box, anchors_from_points
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.track import FaceState, track_face

D, G, A = FaceState.DETECTED, FaceState.INTERPOLATED, FaceState.ABSENT


def numbered(count: int) -> Iterator[np.ndarray]:
    """Tiny frames that carry their own index, given out once."""
    for index in range(count):
        yield np.array([[[index // 256, index % 256, 0]]], dtype=np.uint8)


class Scripted:
    """A detector whose answer depends on the frame's index only; remembers where it looked."""

    backend_id = "scripted"

    def __init__(self, answer: Callable[[int], list[Face]]) -> None:
        self.answer = answer
        self.looked_at: list[int] = []

    def detect(self, frame: np.ndarray) -> list[Face]:
        index = int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1])
        self.looked_at.append(index)
        return self.answer(index)


def square(x: float, y: float, side: float) -> Face:
    return Face(box_xyxy=(x, y, x + side, y + side), score=1.0)


def test_moving_box_is_followed_between_looks() -> None:
    detector = Scripted(lambda i: [square(100 + 2.0 * i, 50, 120)])
    track = track_face(numbered(61), detector, stride=5)
    assert detector.looked_at == list(range(0, 61, 5))
    assert track.states == [D] * 61
    assert track.detected_fraction == 1.0
    inner = np.arange(20, 41)  # away from the ends, where a moving average lags
    np.testing.assert_allclose(track.boxes_F4[inner, 0], 100 + 2.0 * inner, atol=0.05)
    np.testing.assert_allclose(track.boxes_F4[:, 2] - track.boxes_F4[:, 0], 120, atol=1e-6)
    np.testing.assert_allclose(track.anchors_F32, anchors_from_box(track.boxes_F4))


def test_last_frame_is_looked_at_off_the_stride() -> None:
    detector = Scripted(lambda i: [square(0, 0, 100)])
    track_face(numbered(13), detector, stride=5)
    assert detector.looked_at == [0, 5, 10, 12]


def test_short_gap_is_interpolated_and_long_gap_is_absent() -> None:
    detector = Scripted(lambda i: [] if 10 <= i <= 15 or 40 <= i <= 80 else [square(i, 0, 100)])
    track = track_face(numbered(101), detector, stride=5, max_gap_frames=20)
    assert track.states[:6] == [D] * 6
    assert track.states[6:20] == [G] * 14
    assert track.states[20:36] == [D] * 16
    assert track.states[36:41] == [G] * 5  # the last sighting holds for one stride
    assert track.states[41:80] == [A] * 39
    assert track.states[80:85] == [G] * 5
    assert track.states[85:] == [D] * 16
    assert np.isnan(track.boxes_F4[41:80]).all()
    assert np.isfinite(track.boxes_F4[track.usable]).all()
    assert track.detected_fraction == pytest.approx((6 + 16 + 16) / 101)


def test_spurious_large_box_does_not_win() -> None:
    def answer(index: int) -> list[Face]:
        spurious = [square(400, 300, 300)] if index in (0, 25) else []
        return [*spurious, square(100, 100, 120)]

    track = track_face(numbered(51), Scripted(answer), stride=5)
    np.testing.assert_allclose(track.boxes_F4, np.tile([100, 100, 220, 220], (51, 1)), atol=1e-6)


def test_second_box_on_the_same_face_does_not_break_the_chain() -> None:
    """The second box of frame 25 fits the sightings that follow better than the face's own last box does."""

    def answer(index: int) -> list[Face]:
        if index == 25:
            return [square(100, 100, 160), square(100, 100, 118)]
        return [square(100, 100, 120)]

    track = track_face(numbered(51), Scripted(answer), stride=5)
    assert track.states == [D] * 51


def test_box_that_jumps_for_one_look_is_smoothed_away() -> None:
    detector = Scripted(lambda i: [square(100, 100, 120 if i != 25 else 150)])
    track = track_face(numbered(51), detector, stride=5)
    np.testing.assert_allclose(track.boxes_F4[:, 2], 220, atol=1e-6)


def test_face_lost_and_found_elsewhere_makes_two_stretches() -> None:
    detector = Scripted(lambda i: [square(0, 0, 100)] if i < 30 else [square(500, 0, 110)])
    track = track_face(numbered(61), detector, stride=5)
    assert track.boxes_F4[20, 0] == pytest.approx(0, abs=1e-6)
    assert track.boxes_F4[40, 0] == pytest.approx(500, abs=1e-6)
    assert not ((track.boxes_F4[:, 0] > 1) & (track.boxes_F4[:, 0] < 499)).any()
    assert track.states[24:32] == [D, D, G, G, G, G, D, D]
    np.testing.assert_allclose(track.boxes_F4[26:30, 0], [0, 0, 500, 500], atol=1e-6)


def test_nothing_crosses_a_shot_start() -> None:
    detector = Scripted(lambda i: [square(100, 0, 100)] if i < 23 else [square(120, 0, 140)])
    track = track_face(numbered(50), detector, stride=5, shot_starts=(0, 23))
    assert detector.looked_at == [0, 5, 10, 15, 20, 22, 23, 28, 33, 38, 43, 48, 49]
    assert track.states == [D] * 50
    np.testing.assert_allclose(track.boxes_F4[:23, 0], 100, atol=1e-6)
    np.testing.assert_allclose(track.boxes_F4[23:, 0], 120, atol=1e-6)


def test_no_face_at_all() -> None:
    track = track_face(numbered(12), Scripted(lambda i: []))
    assert track.states == [A] * 12
    assert track.detected_fraction == 0.0
    assert not track.usable.any()


def test_points_are_followed() -> None:
    five = np.array([[40.0, 50], [80, 50], [60, 75], [45, 95], [75, 95]])

    def answer(index: int) -> list[Face]:
        return [Face(box_xyxy=(20, 20, 120, 140), score=0.9, points=five + np.array([0.5 * index, 0]))]

    track = track_face(numbered(41), Scripted(answer), stride=4)
    expected = anchors_from_points(five + np.array([0.5 * 20, 0]))
    np.testing.assert_allclose(track.anchors_F32[20], expected, atol=1e-3)


def test_frames_are_not_kept() -> None:
    """A long video passes through although only one frame exists at a time."""
    reused = np.zeros((1, 1, 3), dtype=np.uint8)

    def stream() -> Iterator[np.ndarray]:
        for index in range(2000):
            reused[0, 0] = (index // 256, index % 256, 0)
            yield reused

    track = track_face(stream(), Scripted(lambda i: [square(i * 0.1, 0, 100)]), stride=10)
    assert len(track.states) == 2000
    assert track.boxes_F4[1000, 0] == pytest.approx(100, abs=0.05)


@pytest.mark.parametrize(("count", "stride"), [(0, 5), (10, 0)])
def test_impossible_requests(count: int, stride: int) -> None:
    with pytest.raises(BadInputError):
        track_face(numbered(count), Scripted(lambda i: []), stride=stride)


@settings(max_examples=60)
@given(
    hits=st.lists(st.booleans(), min_size=1, max_size=60),
    stride=st.integers(1, 7),
    gap=st.integers(0, 20),
    cut=st.integers(1, 59),
)
def test_every_frame_has_a_state_that_fits_its_numbers(
    hits: list[bool], stride: int, gap: int, cut: int
) -> None:
    detector = Scripted(lambda i: [square(i, 0, 100)] if hits[i] else [])
    track = track_face(numbered(len(hits)), detector, stride=stride, max_gap_frames=gap, shot_starts=(cut,))
    assert len(track.states) == len(hits)
    np.testing.assert_array_equal(track.usable, np.isfinite(track.anchors_F32).all(axis=(1, 2)))
    np.testing.assert_array_equal(track.usable, np.isfinite(track.boxes_F4).all(axis=1))
    for index in detector.looked_at:
        assert not (track.states[index] is D and not hits[index])
