"""A second look with a margin, where a face may fill the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from lipforcing_core.faces.detectors.catalogue import load_detector
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.second_look import faces_in, moved

PICTURE = np.full((100, 60, 3), 200, np.uint8)


class Looks:
    """A detector that answers by the size of the picture; keeps the pictures that it was shown."""

    backend_id = "looks"

    def __init__(self, answer: Callable[[tuple[int, int]], list[Face]]) -> None:
        self.answer = answer
        self.pictures: list[np.ndarray] = []

    def detect(self, frame: np.ndarray) -> list[Face]:
        self.pictures.append(frame)
        return self.answer((frame.shape[1], frame.shape[0]))


def box(x0: float, y0: float, x1: float, y1: float) -> Face:
    points = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1], [x0, y0]], dtype=np.float64)
    return Face(box_xyxy=(x0, y0, x1, y1), score=0.8, points=points)


def test_a_face_that_is_found_needs_no_second_look() -> None:
    found = box(5, 10, 55, 90)
    detector = Looks(lambda size: [found])
    assert faces_in(PICTURE, detector) == [found]
    assert len(detector.pictures) == 1


def test_a_face_too_small_to_be_usable_hides_none_that_fills_the_picture() -> None:
    """The second look sees the small one too, further in, and its 20 pixels are no half of the picture's 100."""
    small = box(10, 10, 30, 30)
    filling = {(60, 100): [small], (120, 200): [moved(box(0, 0, 60, 90), 30, 50), moved(small, 30, 50)]}
    (face,) = faces_in(PICTURE, Looks(lambda size: filling[size]))
    assert face.box_xyxy == (0, 0, 60, 90)
    alone = {(60, 100): [small], (120, 200): [moved(small, 30, 50)]}
    (face,) = faces_in(PICTURE, Looks(lambda size: alone[size]))
    assert face.box_xyxy == small.box_xyxy


def test_the_second_look_has_half_a_picture_of_grey_on_each_side() -> None:
    detector = Looks(lambda size: [])
    assert faces_in(PICTURE, detector) == []
    first, second = detector.pictures
    assert first is PICTURE
    assert second.shape == (200, 120, 3)
    np.testing.assert_array_equal(second[50:150, 30:90], PICTURE)
    outside = np.ones((200, 120), bool)
    outside[50:150, 30:90] = False
    assert (second[outside] == 127).all()


def test_what_the_second_look_finds_is_told_in_pixels_of_the_picture() -> None:
    detector = Looks(lambda size: [box(25, 40, 95, 160)] if size == (120, 200) else [])
    (face,) = faces_in(PICTURE, detector)
    assert face.box_xyxy == (-5, -10, 65, 110)
    assert face.points is not None
    np.testing.assert_array_equal(face.points[:2], [[-5, -10], [65, -10]])
    assert face.score == 0.8


@pytest.mark.parametrize(("height", "kept"), [(49, 0), (50, 1)])
def test_only_a_face_of_half_the_height_can_have_been_missed(height: int, kept: int) -> None:
    detector = Looks(lambda size: [box(40, 60, 70, 60 + height)] if size == (120, 200) else [])
    assert len(faces_in(PICTURE, detector)) == kept


def test_moving_a_face_moves_all_of_it() -> None:
    face = Face(box_xyxy=(1, 2, 3, 4), score=1, points=np.ones((5, 2)), landmarks106=np.zeros((106, 2)))
    there = moved(face, 10, -20)
    assert there.box_xyxy == (11, -18, 13, -16)
    assert there.points is not None
    assert there.landmarks106 is not None
    assert face.points is not None
    np.testing.assert_array_equal(there.points, np.tile([11, -19], (5, 1)))
    np.testing.assert_array_equal(there.landmarks106, np.tile([10, -20], (106, 1)))
    np.testing.assert_array_equal(face.points, np.ones((5, 2)))
    assert moved(Face(box_xyxy=(1, 2, 3, 4), score=1), 1, 1).points is None


@pytest.mark.parametrize(
    "clip", ["vs/hdtf/row1/input.mp4", "vs/talkvid/row1/input.mp4", "vs/hallo3/row2/input.mp4"]
)
def test_a_real_close_up_is_found_where_it_is(media_dir: Path, clip: str) -> None:
    """The picture is cut to the box of the face and 2 % around it; the face found there is the one seen before."""
    detector = load_detector("scrfd", media_dir / "models" / "scrfd_500m_kps.onnx")
    with av.open(str(media_dir / clip)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    whole = detector.detect(frame)[0]
    x0, y0, x1, y1 = whole.box_xyxy
    left, top = int(max(x0 - 0.01 * (x1 - x0), 0)), int(max(y0 - 0.01 * (y1 - y0), 0))
    close = frame[top : int(y1 + 0.01 * (y1 - y0)) + 1, left : int(x1 + 0.01 * (x1 - x0)) + 1]
    face = moved(faces_in(np.ascontiguousarray(close), detector)[0], left, top)
    assert face.points is not None
    assert whole.points is not None
    assert np.abs(face.points - whole.points).max() < 0.12 * whole.height
