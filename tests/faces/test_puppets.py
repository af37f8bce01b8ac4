"""The default detector against the known truth of rendered puppets."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.faces.align import align_points, align_track, square_matrix
from lipforcing_core.faces.anchors import anchors_from_points
from lipforcing_core.faces.detectors.catalogue import load_detector
from lipforcing_core.faces.track import track_face
from lipforcing_core.puppets.rig import PuppetScript, frame_truths, render
from lipforcing_core.puppets.speech import synthesise

FIVE_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@pytest.mark.parametrize(("portrait", "seed"), [("astronaut", 2), ("grace_hopper", 3)])
def test_crop_from_boxes_is_near_the_crop_from_true_landmarks(portrait: str, seed: int) -> None:
    """In pixels of the 512 crop: the mouth within 40 of its place, and within 20 of its own mean at all times."""
    speech = synthesise(seed, 2.0)
    script = PuppetScript.varied(portrait=portrait, seed=seed, num_frames=41)
    truths = frame_truths(script, speech)
    track = track_face(render(script, speech), load_detector("lbp"), stride=5)
    assert track.detected_fraction == 1.0

    five = np.array([[truth.landmarks[name] for name in FIVE_POINTS] for truth in truths])
    mouth = five[:, 3:].mean(axis=1)
    from_truth = align_points(anchors_from_points(five))[0]
    from_boxes = align_track(track).matrices_F23
    place, wanted = (
        np.array([square_matrix(m) @ [*point, 1] for m, point in zip(matrices, mouth, strict=True)])
        for matrices in (from_boxes, from_truth)
    )
    assert np.linalg.norm(place - wanted, axis=1).mean() < 40
    assert np.linalg.norm(place - place.mean(axis=0), axis=1).max() < 20
    chin = np.array([truth.landmarks["chin"] for truth in truths])
    in_crop = np.array([square_matrix(m) @ [*point, 1] for m, point in zip(from_boxes, chin, strict=True)])
    assert (in_crop[:, 1] < 492).all()
    assert (place[:, 1] > 256).all()
