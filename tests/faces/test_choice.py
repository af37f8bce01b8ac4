"""Which of several faces is taken: by number, by point, in one shot and across cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.choice import FaceChoice, ShotFaces, faces_words, several_faces_words
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.track import FaceTrack, track_face


def square(x: float, y: float, side: float, score: float = 1.0) -> Face:
    return Face(box_xyxy=(x, y, x + side, y + side), score=score)


class Scripted:
    """A detector that is shown the number of a frame."""

    backend_id = "scripted"

    def __init__(self, answer: Callable[[int], list[Face]]) -> None:
        self._answer = answer

    def detect(self, frame: np.ndarray) -> list[Face]:
        return self._answer(int(frame[0, 0, 0]))


def tracked(
    answer: Callable[[int], list[Face]],
    choice: str | None,
    *,
    num_frames: int = 41,
    cuts: tuple[int, ...] = (),
) -> FaceTrack:
    def frames() -> Iterator[np.ndarray]:
        for index in range(num_frames):
            yield np.array([[[index, 0, 0]]], dtype=np.uint8)

    wanted = None if choice is None else FaceChoice.parse(choice)
    return track_face(frames(), Scripted(answer), shot_starts=cuts, choice=wanted)


LARGE, MIDDLE, SMALL = square(0, 0, 200), square(300, 10, 120), square(600, 20, 100)


def three(_: int) -> list[Face]:
    return [SMALL, LARGE, MIDDLE]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("1", FaceChoice(number=1)),
        (" 12 ", FaceChoice(number=12)),
        ("640,210", FaceChoice(point_xy=(640.0, 210.0))),
        ("640.5, 0", FaceChoice(point_xy=(640.5, 0.0))),
    ],
)
def test_a_choice_is_a_number_or_a_point(text: str, choice: FaceChoice) -> None:
    assert FaceChoice.parse(text) == choice
    assert FaceChoice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "left", "1,2,3", "1,", ",2", "-4,5", "nan,1", "1x2", "\x1b[2J"]
)
def test_anything_else_names_no_face(text: str) -> None:
    with pytest.raises(BadInputError, match="is neither a number, 1 for the largest, nor a point"):
        FaceChoice.parse(text)


@pytest.mark.parametrize(
    ("choice", "left"),
    [(None, 0), ("1", 0), ("2", 300), ("3", 600), ("50,50", 0), ("300,130", 300), ("650,119.5", 600)],
)
def test_the_chosen_face_is_followed(choice: str | None, left: int) -> None:
    track = tracked(three, choice)
    assert track.usable.all()
    np.testing.assert_allclose(track.boxes_F4[:, 0], left, atol=1e-6)
    (shot,) = track.shots
    assert shot.boxes_xyxy == ((0, 0, 200, 200), (300, 10, 420, 130), (600, 20, 700, 120))
    assert shot.taken == {0: 1, 300: 2, 600: 3}[left]


@pytest.mark.parametrize("choice", ["4", "250,50", "300,131", "650,9000"])
def test_a_face_that_is_not_there_is_not_replaced_by_another(choice: str) -> None:
    track = tracked(three, choice)
    assert not track.usable.any()
    assert track.shots[0].taken is None
    assert len(track.shots[0].boxes_xyxy) == 3


def test_where_two_boxes_hold_the_point_the_one_that_does_so_longer_is_meant_and_then_the_smaller() -> None:
    behind, front = square(0, 0, 300), square(100, 100, 120)
    assert tracked(lambda _: [behind, front], "150,150").shots[0].taken == 2
    walks = [square(10 * i, 100, 120) for i in range(41)]  # holds x = 150 at the looks from frame 5 to 15
    assert tracked(lambda i: [behind, walks[i]], "150,150").shots[0].taken == 1


def test_a_box_that_is_seen_once_or_twice_is_no_face_to_choose() -> None:
    track = tracked(lambda i: [LARGE, MIDDLE] if i in (10, 15) else [LARGE], "2")
    assert track.shots[0].boxes_xyxy == ((0, 0, 200, 200),)
    assert not track.usable.any()


def test_a_face_lost_and_found_elsewhere_is_one_face() -> None:
    """The second one jumps at frame 20; the first is there all the time."""
    track = tracked(lambda i: [LARGE, MIDDLE if i < 20 else square(700, 0, 110)], "2")
    assert len(track.shots[0].boxes_xyxy) == 2
    assert track.boxes_F4[5, 0] == pytest.approx(300)
    assert track.boxes_F4[35, 0] == pytest.approx(700)


def test_faces_are_counted_anew_in_every_shot() -> None:
    """Two faces, one, and none: number 2 is there in the first shot only, and the others are passed through."""
    answers = {0: [LARGE, MIDDLE], 1: [SMALL], 2: []}
    track = tracked(lambda i: answers[i // 20], "2", num_frames=60, cuts=(20, 40))
    assert np.flatnonzero(track.usable).tolist() == list(range(20))
    assert [(shot.start, shot.stop, shot.taken, len(shot.boxes_xyxy)) for shot in track.shots] == [
        (0, 20, 2, 2),
        (20, 40, None, 1),
        (40, 60, None, 0),
    ]
    assert [
        shot.taken for shot in tracked(lambda i: answers[i // 20], None, num_frames=60, cuts=(20, 40)).shots
    ] == [
        1,
        1,
        None,
    ]


def test_in_a_short_shot_a_second_face_is_one_that_every_look_sees() -> None:
    assert tracked(three, "2", num_frames=6).shots[0].taken == 2
    assert tracked(three, "2", num_frames=1).shots[0].taken == 2


ONE = ShotFaces(start=0, stop=50, boxes_xyxy=((0, 0, 9, 9),), taken=1)
TWO = ShotFaces(start=50, stop=80, boxes_xyxy=((1, 2, 30, 40), (50, 6, 70, 28)), taken=1)


def test_what_people_are_told() -> None:
    assert several_faces_words([ONE]) == ""
    assert several_faces_words([]) == ""
    assert several_faces_words([TWO]) == (
        "2 faces in the picture: 1 at 1,2-30,40 (taken), 2 at 50,6-70,28; "
        "--face N or --face X,Y (a point in pixels) takes another one"
    )
    assert several_faces_words([ONE, TWO]) == (
        "up to 2 faces in the picture: from frame 50 on 1 at 1,2-30,40 (taken), 2 at 50,6-70,28; "
        "--face N or --face X,Y (a point in pixels) takes another one"
    )
    assert faces_words([TWO] * 6, of=6).endswith("; and so on in 2 more shots")
