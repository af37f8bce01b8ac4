"""The bundled cascade on a known portrait."""

from __future__ import annotations

import cv2
import numpy as np

from lipforcing_core.faces.detectors.catalogue import load_detector


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
