"""Detectors: the usable-face rule, errors a user can cause, and the bundled cascade on a known portrait."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.faces.detectors.catalogue import load_detector
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


def portrait() -> np.ndarray:
    """scikit-image's astronaut; the face lies around (222, 115) with the eyes 40 pixels apart."""
    from skimage.data import astronaut

    return astronaut()


def test_lbp_finds_the_face_of_a_portrait() -> None:
    frame = cv2.resize(portrait(), None, fx=1.5, fy=1.5)
    detector = load_detector("lbp")
    assert detector.backend_id.startswith("lbp-frontal-skimage0.")
    found = detector.detect(frame)
    assert found
    x0, y0, x1, y1 = found[0].box_xyxy
    assert abs((x0 + x1) / 2 / 1.5 - 222) < 20
    assert abs((y0 + y1) / 2 / 1.5 - 115) < 20
    assert found[0].points is None
    assert detector.detect(frame) == found


def test_lbp_scales_with_the_frame() -> None:
    """A frame twice as large gives a box at twice the place, up to the cascade's steps."""
    frame = cv2.resize(portrait()[:300, 60:400], None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC)
    larger = cv2.resize(frame, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_LINEAR)
    detector = load_detector("lbp")
    box, larger_box = (np.array(detector.detect(picture)[0].box_xyxy) for picture in (frame, larger))
    np.testing.assert_allclose(larger_box / 2, box, atol=0.1 * (box[2] - box[0]))


def test_lbp_finds_nothing_where_there_is_nothing() -> None:
    assert load_detector("lbp").detect(np.full((240, 320, 3), 90, dtype=np.uint8)) == []


def test_unknown_detector_names_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="lbp, scrfd, yunet"):
        load_detector("mtcnn")


def test_lbp_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="takes no model file"):
        load_detector("lbp", tmp_path / "model.onnx")


@pytest.mark.parametrize(("name", "licence"), [("scrfd", "non-commercial"), ("yunet", "Apache-2.0")])
def test_missing_model_says_what_to_get(tmp_path: Path, name: str, licence: str) -> None:
    absent = tmp_path / "absent.onnx"
    for path in (None, absent):
        with pytest.raises(MissingWeightsError) as caught:
            load_detector(name, path)
        message = str(caught.value)
        assert licence in message
        assert "https://" in message
        assert ".onnx" in message
    assert str(absent) in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_junk_model_is_a_user_error(tmp_path: Path, name: str) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a model at all" * 10)
    with pytest.raises(BadInputError, match=r"junk\.onnx"):
        load_detector(name, junk)


def test_wrong_hash_is_found_before_loading(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"other bytes")
    with pytest.raises(BadInputError, match=hashlib.sha256(b"other bytes").hexdigest()):
        load_detector("scrfd", junk, sha256="0" * 64)
