"""Which faces are usable, and which of them comes first."""

from __future__ import annotations

import pytest

from lipforcing_core.faces.detectors.protocol import Face, FaceFilter


def face(width: float, height: float, score: float = 0.9) -> Face:
    return Face(box_xyxy=(10.0, 20.0, 10.0 + width, 20.0 + height), score=score)


@pytest.mark.parametrize(
    ("candidate", "usable"),
    [
        (face(100, 120), True),
        (face(50, 80), True),
        (face(49, 80), False),
        (face(60, 79), False),
        (face(151, 100), False),
        (face(150, 100), True),
        (face(60, 301), False),
        (face(100, 120, score=0.49), False),
    ],
)
def test_filter(candidate: Face, usable: bool) -> None:
    assert FaceFilter().accepts(candidate) is usable


def test_largest_usable_face_comes_first() -> None:
    small, large, flat = face(60, 90), face(100, 120), face(500, 100)
    assert FaceFilter().usable([small, flat, large]) == [large, small]


def test_small_ones_are_given_where_nothing_else_is() -> None:
    """Half the height of the tallest, 14 of 28 pixels, is still one of them; shape and certainty are asked of all."""
    small, half, tiny = face(20, 28), face(10, 14), face(10, 13.9)
    flat, unsure = face(60, 30), face(20, 28, score=0.4)
    rule = FaceFilter(small_ones=True)
    assert rule.usable([tiny, half, flat, unsure, small]) == [small, half]
    assert rule.usable([small, face(50, 80)]) == [face(50, 80)], "beside a usable face they are background"
    assert FaceFilter().usable([small]) == []
    assert rule.usable([face(0, 10), face(10, 0)]) == [], "a box without an area is no face"
