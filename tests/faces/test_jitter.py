"""Jitter on made-up tracks: noise whose second difference is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import square_matrix
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.jitter import jitter_of, second_difference

# Eyes 100 apart, nose and mouth below, in a frame's pixels.
POINTS = np.array([[250.0, 300.0], [350.0, 300.0], [300.0, 360.0], [262.0, 410.0], [338.0, 410.0]])


def noisy(
    sigma: float, num_frames: int = 2000, *, speed: float = 0.0, noise_seed: int = 0
) -> list[list[Face]]:
    """A face that moves to the right evenly; all five points shake together, so that the anchors shake as much."""
    rng = np.random.default_rng(noise_seed)
    faces = []
    for index in range(num_frames):
        moved = POINTS + np.array([speed * index, 0.0]) + rng.normal(0, sigma, 2)
        x, y = moved.mean(axis=0)
        faces.append([Face(box_xyxy=(x - 120, y - 150, x + 120, y + 150), score=0.9, points=moved)])
    return faces


def test_the_second_difference_by_hand() -> None:
    """0, 0, 3, 0: differences 3 and -6, and none in the other coordinate: sqrt((9 + 36) / 4)."""
    points = np.zeros((4, 1, 2))
    points[2, 0, 0] = 3.0
    assert second_difference(points) == pytest.approx(math.sqrt(45 / 4))
    steady = np.arange(10.0)[:, None, None] * [[1.0, -2.0]]
    assert second_difference(steady) == pytest.approx(0.0)


def test_noise_of_a_known_size_shakes_as_it_must() -> None:
    """Eyes 100 apart become e in the crop, so the scale is known from where the crop puts them.

    White noise s: s sqrt(6) frame by frame. At looks every 5 frames with straight lines between, only every fifth frame
    has a second difference, of s sqrt(6) / 5: s sqrt(6) / (5 sqrt(5)). A Gaussian of one frame takes more from it.
    """
    from lipforcing_core.faces.align import align_points
    from lipforcing_core.faces.anchors import anchors_from_points

    linear = square_matrix(align_points(anchors_from_points(POINTS)[None])[0][0])[:, :2]
    scale = math.sqrt(
        (np.diag(linear) ** 2).mean()
    )  # the crop is stretched: two scales, both with the same noise
    jitter = jitter_of(noisy(2.0), stride=5)
    assert jitter.every_frame == pytest.approx(2 * math.sqrt(6) * scale, rel=0.05)
    assert jitter.raw == pytest.approx(2 * math.sqrt(6) * scale / (5 * math.sqrt(5)), rel=0.1)
    # A kink of size k becomes k times a Gaussian of sigma 1, whose squares add up to 1 / (2 sqrt(pi)).
    assert jitter.smoothed == pytest.approx(jitter.raw * math.sqrt(1 / (2 * math.sqrt(math.pi))), rel=0.05)


def test_with_a_look_at_every_frame_raw_is_every_frame() -> None:
    jitter = jitter_of(noisy(1.0, 300), stride=1)
    assert jitter.raw == pytest.approx(jitter.every_frame)
    assert jitter.smoothed < 0.2 * jitter.raw


def test_even_motion_is_no_jitter() -> None:
    jitter = jitter_of(noisy(0.0, 101, speed=1.5), stride=5)
    assert jitter.every_frame == pytest.approx(0.0, abs=1e-9)
    assert jitter.raw == pytest.approx(0.0, abs=1e-9)
    assert jitter.smoothed < 0.4  # the ends, where the last value holds, bend


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(BadInputError, match="three are needed"):
        jitter_of(noisy(1.0, 2), stride=5)
    lost = noisy(1.0, 100)
    lost[60:] = [[] for _ in range(40)]
    with pytest.raises(BadInputError, match="missing in"):
        jitter_of(lost, stride=5)
    blink = noisy(1.0, 100)
    blink[3] = []
    with pytest.raises(BadInputError, match="no face in some"):
        jitter_of(blink, stride=5)
