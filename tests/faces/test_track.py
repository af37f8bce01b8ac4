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
from lipforcing_core.faces.sightings import FaceState, intersection_over_union
from lipforcing_core.faces.track import track_face

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


def box(x0: float, y0: float, x1: float, y1: float) -> Face:
    return Face(box_xyxy=(x0, y0, x1, y1), score=1.0)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (box(0, 0, 10, 20), 1.0),
        (box(5, 2, 15, 12), 50 / 250),  # 5 wide and 10 high of 200 and 100
        (box(-5, 8, 5, 28), 60 / 340),
        (box(10, 0, 20, 20), 0.0),  # touches
        (box(0, 20, 10, 40), 0.0),
        (box(30, 60, 40, 80), 0.0),  # apart in both directions
        (box(2, 30, 8, 40), 0.0),  # apart in one
        (box(2, 5, 8, 15), 60 / 200),  # inside
    ],
)
def test_overlap_of_two_boxes(other: Face, overlap: float) -> None:
    assert intersection_over_union(box(0, 0, 10, 20), other) == pytest.approx(overlap)
    assert intersection_over_union(other, box(0, 0, 10, 20)) == pytest.approx(overlap)


def two_places(second: Face, *, first_until: int, second_from: int) -> Callable[[int], list[Face]]:
    """A face of side 100 in one corner, later another one elsewhere, and nobody in between."""
    return lambda i: [square(0, 0, 100)] if i <= first_until else [second] if i >= second_from else []


@pytest.mark.parametrize(("num_looks", "followed"), [(2, False), (3, True)])
def test_a_face_found_elsewhere_must_be_seen_three_times(num_looks: int, followed: bool) -> None:
    answer = two_places(square(500, 0, 100), first_until=30, second_from=65 - 5 * num_looks)
    track = track_face(numbered(61), Scripted(answer), stride=5)
    assert bool(track.usable[60]) is followed
    assert track.states[30] is D


@pytest.mark.parametrize(("side", "followed"), [(49.0, False), (50.0, True), (200.0, True), (202.0, False)])
def test_a_face_found_elsewhere_must_be_of_a_similar_size(side: float, followed: bool) -> None:
    answer = two_places(square(500, 0, side), first_until=40, second_from=55)
    track = track_face(numbered(71), Scripted(answer), stride=5)
    assert bool(track.usable[60]) is followed
    assert track.usable[:41].all()


def test_a_face_beside_the_main_one_is_never_taken() -> None:
    """Both are there all the time; the one with the larger sum of score times side is the face, and no other."""

    def answer(index: int) -> list[Face]:
        larger = Face(box_xyxy=(400.0, 0.0, 550.0, 150.0), score=0.6)  # 90 a look, but a larger area
        smaller = Face(box_xyxy=(0.0, 0.0, 100.0, 100.0), score=1.0)
        return [larger, smaller]

    track = track_face(numbered(31), Scripted(answer), stride=5)
    np.testing.assert_allclose(track.boxes_F4, np.tile([0, 0, 100, 100], (31, 1)), atol=1e-6)


@pytest.mark.parametrize(("second_from", "filled"), [(29, False), (30, False), (31, True), (35, True)])
def test_a_face_elsewhere_fills_only_time_that_the_main_one_leaves(second_from: int, filled: bool) -> None:
    """Looks are at 0, 5, ... 60; the main face is seen up to 30, and a look at which both are seen is not free."""

    def answer(index: int) -> list[Face]:
        main = [square(0, 0, 100)] if index <= 30 else []
        return [*main, square(500, 0, 90)] if index >= second_from else main

    track = track_face(numbered(61), Scripted(answer), stride=5)
    assert bool(track.usable[50]) is filled


@pytest.mark.parametrize(("found_again", "bridged"), [(25, True), (30, False)])
def test_the_longest_gap_that_is_bridged(found_again: int, bridged: bool) -> None:
    detector = Scripted(lambda i: [square(0, 0, 100)] if i <= 5 or i >= found_again else [])
    track = track_face(numbered(51), detector, stride=5, max_gap_frames=20)
    assert bool(track.usable[15]) is bridged
    assert track.usable[found_again:].all()


def test_without_bridging_neighbouring_looks_still_belong_together() -> None:
    track = track_face(numbered(41), Scripted(lambda i: [square(i, 0, 100)]), stride=8, max_gap_frames=0)
    assert track.states == [D] * 41


@pytest.mark.parametrize(
    ("seen_at", "held"), [(20, range(15, 26)), (0, range(6)), (40, range(35, 41)), (5, range(11))]
)
def test_one_sighting_holds_for_one_stride_and_not_beyond_the_shot(seen_at: int, held: range) -> None:
    detector = Scripted(lambda i: [square(7, 8, 100)] if i == seen_at else [])
    track = track_face(numbered(41), detector, stride=5)
    assert np.flatnonzero(track.usable).tolist() == list(held)
    assert [index for index, state in enumerate(track.states) if state is D] == [seen_at]
    np.testing.assert_allclose(track.boxes_F4[held], np.tile([7, 8, 107, 108], (len(held), 1)))


def test_a_sighting_does_not_hold_across_a_shot_start() -> None:
    detector = Scripted(lambda i: [square(0, 0, 100)] if i == 12 else [])
    track = track_face(numbered(30), detector, stride=4, shot_starts=(12, 14))
    assert np.flatnonzero(track.usable).tolist() == [12, 13]


def test_shots_are_looked_at_from_their_own_start() -> None:
    detector = Scripted(lambda i: [])
    track_face(numbered(20), detector, stride=6, shot_starts=(16, 7, 7, 99))
    assert detector.looked_at == [0, 6, 7, 13, 15, 16, 19]


def test_five_frames_lie_between_looks_unless_told_otherwise() -> None:
    detector = Scripted(lambda i: [square(0, 0, 100)] if i in (0, 25, 51, 52, 55) else [])
    track = track_face(numbered(56), detector)
    assert detector.looked_at == list(range(0, 56, 5))
    assert track.usable[:26].all()  # 25 frames apart: bridged
    assert not track.usable[31:50].any()  # 30 frames apart: not


def test_two_runs_share_a_gap_in_halves() -> None:
    """A face jumps between two looks 8 frames apart: 7 frames lie between, three of them go to either run."""
    detector = Scripted(lambda i: [square(0, 0, 100)] if i <= 24 else [square(500, 0, 100)])
    track = track_face(numbered(57), detector, stride=8)
    assert np.flatnonzero(~track.usable).tolist() == [28]
    np.testing.assert_allclose(track.boxes_F4[[27, 29], 0], [0, 500], atol=1e-6)


def test_states_in_a_gap_with_a_failed_look() -> None:
    """Between sightings that follow each other all frames count as detected; around a failed look none does."""
    detector = Scripted(lambda i: [] if i == 10 else [square(0, 0, 100)])
    track = track_face(numbered(21), detector, stride=5)
    assert track.states == [D] * 6 + [G] * 9 + [D] * 6
    assert track.detected_fraction == pytest.approx(12 / 21)


@pytest.mark.parametrize("options", [{"stride": 0}, {"stride": -1}, {"max_gap_frames": -1}])
def test_impossible_options_are_told(options: dict[str, int]) -> None:
    with pytest.raises(BadInputError, match="stride must be at least 1 and the gap not negative"):
        track_face(numbered(3), Scripted(lambda i: []), **options)
    track_face(numbered(3), Scripted(lambda i: []), stride=1, max_gap_frames=0)


def test_no_frames_are_told() -> None:
    with pytest.raises(BadInputError, match="no frames"):
        track_face(numbered(0), Scripted(lambda i: []))


@pytest.mark.parametrize(("second_until", "filled"), [(25, True), (29, True), (30, False), (35, False)])
def test_a_face_elsewhere_fills_only_time_before_the_main_one(second_until: int, filled: bool) -> None:
    """Looks are at 0, 5, ... 80; the main face is seen from 30 on, and a look at which both are seen is not free."""

    def answer(index: int) -> list[Face]:
        main = [square(0, 0, 100)] if index >= 30 else []
        return [*main, square(500, 0, 90)] if index <= second_until else main

    track = track_face(numbered(81), Scripted(answer), stride=5)
    assert bool(track.usable[10]) is filled
    np.testing.assert_allclose(track.boxes_F4[40:, 0], 0, atol=1e-6)


def test_several_faces_elsewhere_fill_time_apart_from_each_other() -> None:
    """Of two that are there before the main one at the same time the heavier is taken, and a third after it."""

    def answer(index: int) -> list[Face]:
        if index < 30:
            return [square(500, 0, 90), square(900, 0, 80)]
        return [square(0, 0, 100)] if index <= 90 else [square(300, 300, 85)]

    track = track_face(numbered(121), Scripted(answer), stride=5)
    assert track.usable.all()
    np.testing.assert_allclose(track.boxes_F4[[10, 60, 110], 0], [500, 0, 300], atol=1e-6)


@pytest.mark.parametrize(("shift", "linked"), [(52, True), (55, False)])
def test_boxes_that_overlap_by_three_tenths_are_the_same_face(shift: int, linked: bool) -> None:
    """Squares of 100 that are 52 apart share 48 of 152, 55 apart 45 of 155; two looks alone are too few for a face."""
    detector = Scripted(lambda i: [square(0 if i < 50 else shift, 0, 100)])
    track = track_face(numbered(56), detector, stride=5)
    assert bool(track.usable[55]) is linked
    assert track.usable[:46].all()


@pytest.mark.parametrize(("found_again", "bridged"), [(50, True), (51, False)])
def test_25_frames_are_bridged_unless_told_otherwise(found_again: int, bridged: bool) -> None:
    """The last look is at frame 51, off the stride."""
    detector = Scripted(lambda i: [square(0, 0, 100)] if i in (20, 25, found_again) else [])
    track = track_face(numbered(52), detector)
    assert bool(track.usable[40]) is bridged


def test_shots_may_be_told_in_any_order() -> None:
    """Each of three shots has its own place of the face, and none is blended with its neighbours'."""
    place = np.repeat([100.0, 110.0, 120.0], [7, 9, 14])
    detector = Scripted(lambda i: [square(place[i], 0, 100)])
    for shot_starts in ((7, 16), (16, 7), (16, 7, 0, 7)):
        track = track_face(numbered(30), detector, stride=3, shot_starts=shot_starts)
        assert track.states == [D] * 30
        np.testing.assert_allclose(track.boxes_F4[:, 0], place, atol=1e-6)
