"""Faces followed while their frames come, against the tracker that sees the whole shot first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lipforcing_core.faces.align import align_track
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.follow import MAX_TRACKS, FaceFollower, Placement
from lipforcing_core.faces.pose import pitch_deg
from lipforcing_core.faces.sightings import FaceState
from lipforcing_core.faces.track import track_face

STRIDE, MAX_GAP = 5, 25
Answer = Callable[[int], list[Face]]
Places = list[list[Placement | None]]


def face(x: float, y: float, side: float, *, with_points: bool = True, turned: float = 0.0) -> Face:
    """A face in a square box; its nose stands ``turned`` sides beside the middle."""
    layout = np.array([[0.3, 0.35], [0.7, 0.35], [0.5 + turned, 0.6], [0.35, 0.8], [0.65, 0.8]])
    points = np.array([x, y]) + side * layout if with_points else None
    return Face(box_xyxy=(x, y, x + side, y + side), score=0.9, points=points)


def wandering(seed: int, *, with_points: bool = True) -> Callable[[int], Face]:
    """A face that moves and grows smoothly, with some noise of the detector."""

    def at(frame: int) -> Face:
        rng = np.random.default_rng([seed, frame])
        x, y = 300 + 60 * np.sin(frame / 40), 200 + 30 * np.cos(frame / 55)
        side = 180 + 20 * np.sin(frame / 70)
        noise = rng.normal(0, 1.5, 3)
        return face(x + noise[0], y + noise[1], side + noise[2], with_points=with_points)

    return at


def followed(
    answer: Answer, num_frames: int, *, start: int = 0, steps: Iterable[int] = (), stride: int = STRIDE
) -> tuple[Places, FaceFollower]:
    """What the follower says of every frame of a shot; ``steps``: how many looks pass from one settling to the next."""
    follower = FaceFollower(start, stride=stride, max_gap_frames=MAX_GAP)
    rows: Places = []
    settled = start
    waits = iter(steps)
    wait = next(waits, 1)

    def settle(stop: int, *, ended: bool) -> None:
        nonlocal settled
        if stop <= settled:
            return
        places = follower.settle(stop, ended=ended)
        while len(rows) < len(places):
            rows.append([None] * (settled - start))
        for row, more in zip(rows, places, strict=True):
            assert len(more) == stop - settled
            row.extend(more)
        settled = stop

    for frame in range(start, start + num_frames):
        if follower.wants(frame) or frame == start + num_frames - 1:
            follower.look(frame, answer(frame))
            wait -= 1
            if wait <= 0:
                settle(frame - follower.delay, ended=False)
                wait = next(waits, 1)
    settle(start + num_frames, ended=True)
    return rows, follower


class Scripted:
    """A detector that is shown the number of a frame."""

    backend_id = "scripted"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def detect(self, frame: np.ndarray) -> list[Face]:
        return self._answer(int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1]))


def whole_shot(answer: Answer, num_frames: int) -> tuple[list[FaceState], np.ndarray, np.ndarray]:
    """States, matrices and boxes by the tracker that sees everything first."""
    frames = (np.array([[[i // 256, i % 256, 0]]], np.uint8) for i in range(num_frames))
    track = track_face(frames, Scripted(answer), stride=STRIDE, max_gap_frames=MAX_GAP)
    return track.states, align_track(track).matrices_F23, track.boxes_F4


def same(row: list[Placement | None], answer: Answer, *, absent: bool = True) -> None:
    """A followed face equals the tracked one in every frame."""
    states, matrices_F23, boxes_F4 = whole_shot(answer, len(row))
    for frame, place in enumerate(row):
        assert place is not None, frame
        assert place.state is states[frame], frame
        np.testing.assert_allclose(place.box_4, boxes_F4[frame], atol=1e-9)
        if absent or place.state is not FaceState.ABSENT:
            np.testing.assert_allclose(place.matrix_23, matrices_F23[frame], atol=1e-9)


def seen_but(answer: Callable[[int], Face], *gaps: tuple[int, int]) -> Answer:
    """The face, but for the half-open ranges of frames in which nothing is found."""
    return lambda frame: [] if any(a <= frame < b for a, b in gaps) else [answer(frame)]


@pytest.mark.parametrize("with_points", [True, False], ids=["points", "boxes"])
@pytest.mark.parametrize("num_frames", [11, 30, 333])
def test_one_face_is_placed_as_by_the_tracker(num_frames: int, with_points: bool) -> None:
    answer = seen_but(wandering(1, with_points=with_points))
    rows, _ = followed(answer, num_frames)
    assert len(rows) == 1
    same(rows[0], answer)


@pytest.mark.parametrize("with_points", [True, False], ids=["points", "boxes"])
@pytest.mark.parametrize(
    "gaps",
    [
        [(101, 120)],  # bridged: sightings at 100 and 120
        [(101, 125), (200, 201)],  # just bridged: 25 frames apart
        [(101, 126)],  # no longer: 30 frames apart
        [(101, 150), (300, 330)],
    ],
)
def test_gaps_are_bridged_or_left_as_by_the_tracker(gaps: list[tuple[int, int]], with_points: bool) -> None:
    answer = seen_but(wandering(2, with_points=with_points), *gaps)
    rows, _ = followed(answer, 400)
    assert len(rows) == 1
    same(rows[0], answer, absent=False)
    absent = {place.state for place in rows[0] if place is not None} >= {FaceState.ABSENT}
    assert absent is any(stop - start >= 25 for start, stop in gaps)


@pytest.mark.parametrize("with_points", [True, False], ids=["points", "boxes"])
@pytest.mark.parametrize(
    "seen_at",
    [
        range(0, 400, 25),  # as seldom as is bridged
        range(0, 400, 20),
        [0, 25, *range(35, 400, 5)],  # the third sighting comes when frame 0 has been certain for a look
        [10, 35, *range(60, 400, 5)],
    ],
    ids=["every 25", "every 20", "third at 35", "from 10, third at 60"],
)
def test_a_face_that_is_seldom_seen_keeps_its_first_frames(seen_at: Iterable[int], with_points: bool) -> None:
    """No look but these sees it, and every frame from the first of them on has its place all the same."""
    move, seen = wandering(12, with_points=with_points), set(seen_at)

    def answer(frame: int) -> list[Face]:
        return [move(frame)] if frame in seen else []

    rows, _ = followed(answer, 400)
    assert len(rows) == 1
    same(rows[0][min(seen) :], lambda frame: answer(frame + min(seen)))
    assert all(
        place is not None and place.state is not FaceState.ABSENT for place in rows[0][min(seen) : 376]
    )


def test_a_face_that_is_seen_once_is_none() -> None:
    for num_frames in (11, 60, 400):
        assert followed(lambda frame: [face(10, 10, 99)] if frame == 5 else [], num_frames)[0] == []


def test_a_frame_without_the_face_takes_the_nearest_place() -> None:
    """Sightings at 100 and 140 hold for one stride each, so 106 to 134 are absent; 120 is as near to 105 as to 135."""
    answer = seen_but(wandering(3), (101, 140))
    (row,), _ = followed(answer, 300)
    same(row, answer)
    assert [
        i for i, place in enumerate(row) if place is not None and place.state is FaceState.ABSENT
    ] == list(range(106, 135))
    assert row[105] is not None
    assert row[120] is not None
    assert row[121] is not None
    assert row[135] is not None
    np.testing.assert_array_equal(row[120].matrix_23, row[105].matrix_23)
    np.testing.assert_array_equal(row[121].matrix_23, row[135].matrix_23)
    assert np.isnan(row[120].box_4).all()


def test_frames_of_a_shot_count_from_its_start() -> None:
    move = wandering(4)
    here, _ = followed(seen_but(move), 100)
    there, follower = followed(lambda frame: [move(frame - 1000)], 100, start=1000)
    for a, b in zip(here[0], there[0], strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.matrix_23, b.matrix_23, atol=1e-9)
    assert follower.wants(1005)
    assert not follower.wants(1004)


@settings(deadline=None, max_examples=8, phases=[Phase.explicit, Phase.generate])
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), max_size=5),
    st.lists(st.integers(1, 12), min_size=1, max_size=60),
    st.booleans(),
)
def test_nothing_depends_on_when_one_asks(
    gaps: list[tuple[int, int]], steps: list[int], with_points: bool
) -> None:
    answer = seen_but(wandering(5, with_points=with_points), *((a, a + n) for a, n in gaps))
    at_once, _ = followed(answer, 301)
    now_and_then, _ = followed(answer, 301, steps=steps)
    at_the_end, _ = followed(answer, 301, steps=[10_000])
    for other in (now_and_then, at_the_end):
        assert len(at_once) == len(other)
        for row, theirs in zip(at_once, other, strict=True):
            for a, b in zip(row, theirs, strict=True):
                assert (a is None) == (b is None)
                if a is not None and b is not None:
                    assert a.state is b.state
                    np.testing.assert_allclose(a.matrix_23, b.matrix_23, atol=1e-9)
                    np.testing.assert_allclose(a.box_4, b.box_4, atol=1e-9)


def test_two_faces_are_two_tracks_with_numbers_that_stay() -> None:
    """The larger one is reported first in some looks and last in others; the second one leaves for a while."""
    first, second = wandering(6), face(1200, 150, 90)

    def answer(frame: int) -> list[Face]:
        faces = [first(frame)] + ([second] if not 100 <= frame < 200 else [])
        return faces[::-1] if frame % 10 else faces

    rows, _ = followed(answer, 400)
    assert len(rows) == 2
    same(rows[0], lambda frame: [first(frame)])
    states = [place.state for place in rows[1] if place is not None]
    assert [i for i, state in enumerate(states) if state is FaceState.ABSENT] == list(range(101, 195))
    for place in rows[1]:
        assert place is not None
        if place.state is not FaceState.ABSENT:
            np.testing.assert_allclose(place.box_4, (1200, 150, 1290, 240), atol=1e-6)


def test_a_face_that_comes_later_has_no_place_before() -> None:
    first, second = wandering(7), face(1200, 150, 120)
    rows, _ = followed(lambda frame: [first(frame)] + ([second] if frame >= 200 else []), 300)
    assert {place.state for place in rows[1][:195] if place} <= {FaceState.ABSENT}
    assert rows[1][:170] == [None] * 170
    assert None not in rows[1][195:]
    assert {place.state for place in rows[1][195:200] if place} == {FaceState.INTERPOLATED}
    assert {place.state for place in rows[1][200:] if place} == {FaceState.DETECTED}


@pytest.mark.parametrize("looks", [1, 2])
def test_a_box_that_appears_once_or_twice_is_no_track(looks: int) -> None:
    steady = wandering(8)
    huge = face(900, 100, 700)
    rows, _ = followed(
        lambda frame: [steady(frame)] + ([huge] if 100 <= frame < 100 + 5 * looks else []), 300
    )
    assert len(rows) == 1
    same(rows[0], lambda frame: [steady(frame)])


def test_nobody_is_no_track() -> None:
    rows, follower = followed(lambda frame: [], 200)
    assert rows == []
    assert follower.settle(200) == []


@pytest.mark.parametrize(("side", "tracks"), [(180, 1), (80, 2)])
def test_a_face_found_elsewhere_is_the_same_if_it_has_the_size(side: int, tracks: int) -> None:
    """It jumps across the picture at frame 150: one track, unless it is less than half as large there."""
    here, there = wandering(9), face(1200, 300, side)
    rows, _ = followed(lambda frame: [here(frame) if frame < 150 else there], 300)
    assert len(rows) == tracks
    if tracks == 1:
        same(rows[0], lambda frame: [here(frame) if frame < 150 else there])
    last = rows[-1][-1]
    assert last is not None
    np.testing.assert_allclose(last.box_4, (1200, 300, 1200 + side, 300 + side), atol=1e-6)


def test_of_several_lost_faces_the_one_in_the_same_place_goes_on() -> None:
    a, b = face(100, 100, 150), face(600, 100, 150)
    rows, _ = followed(lambda frame: [a, b] if frame < 100 else [b] if frame >= 150 else [], 300)
    assert len(rows) == 2
    assert rows[0][200].state is FaceState.ABSENT  # type: ignore[union-attr]
    assert rows[1][200].state is FaceState.DETECTED  # type: ignore[union-attr]


def test_where_two_could_have_moved_neither_is_taken_for_the_other() -> None:
    """Two faces of one size vanish and one comes back elsewhere: it is a third track."""
    a, b, c = face(100, 100, 150), face(600, 100, 150), face(1100, 100, 150)
    rows, _ = followed(lambda frame: [a, b] if frame < 100 else [c] if frame >= 150 else [], 300)
    assert len(rows) == 3


def test_there_are_at_most_three_tracks() -> None:
    rows, _ = followed(lambda frame: [face(300 * k, 50, 100 + 10 * k) for k in range(5)], 100)
    assert len(rows) == MAX_TRACKS == 3


def test_small_faces_take_the_place_of_no_speaker() -> None:
    """Four heads in the background come first, then three speakers, of whom the last is seen in two looks only."""
    crowd = [face(60 * k, 400, 40) for k in range(4)]
    speakers = [face(300 * k, 50, 150) for k in range(3)]

    def answer(frame: int) -> list[Face]:
        return crowd if frame < 50 else speakers

    rows, _ = followed(answer, 100)
    sides = [next(p.box_4[2] - p.box_4[0] for p in row if p and np.isfinite(p.box_4[0])) for row in rows]
    assert sides == pytest.approx([40] * MAX_TRACKS + [150] * 3, abs=1)


def test_a_speaker_seen_twice_is_followed_although_a_small_face_is() -> None:
    def answer(frame: int) -> list[Face]:
        if frame in (100, 125):
            return [face(300, 50, 150)]
        return [face(60, 400, 40)] if frame < 50 else []

    rows, _ = followed(answer, 200)
    detected = [[place for place in row if place and place.state is FaceState.DETECTED] for row in rows]
    assert list(map(bool, detected)) == [True, True]


def test_a_small_face_elsewhere_does_not_continue_the_speaker() -> None:
    """The speaker of 100 pixels leaves; a face of 70, which might be them by its size, is seen in another place."""

    def answer(frame: int) -> list[Face]:
        return [face(100, 100, 100)] if frame < 60 else [face(500, 300, 70)]

    rows, _ = followed(answer, 120)
    assert len(rows) == 2
    assert {place.state for place in rows[0][80:] if place} == {FaceState.ABSENT}


def test_the_turn_of_the_head_is_told_where_it_was_looked_at() -> None:
    """Eyes 0.4 sides apart, the nose 0.24 beside their middle: tan y = 0.24 / (0.6 * 0.4), so 45 degrees."""
    (row,), _ = followed(lambda frame: [face(100, 100, 200, turned=0.24)], 50)
    turns = [None if place is None else place.yaw_deg for place in row]
    assert turns[::STRIDE] == pytest.approx([45.0] * 10)
    assert [turn for i, turn in enumerate(turns) if i % STRIDE and i != 49] == [None] * 39
    (row,), _ = followed(lambda frame: [face(100, 100, 200, with_points=False)], 50)
    assert {(place.yaw_deg, place.pitch_deg) for place in row if place} == {(None, None)}


def test_the_nod_of_the_head_is_told_beside_its_turn() -> None:
    (row,), _ = followed(lambda frame: [face(100, 100, 200)], 50)
    points = face(100, 100, 200).points
    assert points is not None
    nods = [None if place is None else place.pitch_deg for place in row]
    assert nods[::STRIDE] == pytest.approx([pitch_deg(points)] * 10)
    assert [nod is None for nod in nods] == [i % STRIDE != 0 and i != 49 for i in range(50)]


def test_every_frame_may_be_looked_at() -> None:
    (row,), _ = followed(seen_but(wandering(10)), 60, stride=1)
    assert {place.state for place in row if place} == {FaceState.DETECTED}


def test_memory_is_bounded_over_an_hour() -> None:
    """100 000 frames with a face that is lost every 500 frames: what is kept does not grow."""
    move = face(300, 200, 180)
    follower = FaceFollower(0, stride=50, max_gap_frames=50)
    most = 0
    for frame in range(0, 100_000, 50):
        follower.look(frame, [] if frame % 2000 > 1700 else [move])
        if frame - follower.delay > 0:
            follower.settle(frame - follower.delay)
        if frame % 1000 == 0:
            most = max(most, held_by(follower))
    assert most < 400


def held_by(follower: FaceFollower) -> int:
    """How many things are kept in all lists of a follower, however deep."""

    def count(thing: object) -> int:
        if isinstance(thing, (list, tuple, dict)) or hasattr(thing, "popleft"):
            values = thing.values() if isinstance(thing, dict) else thing
            return sum(1 + count(value) for value in values)  # type: ignore[attr-defined]
        if type(thing).__name__ == "_Track":
            return count(vars(thing))
        return 0

    return count(vars(follower))
