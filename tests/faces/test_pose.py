"""The turns of a head from five points: projections of a head in space, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipforcing_core.faces.pose import pitch_deg, yaw_deg

# x to the right, y down, z towards the camera, in distances between the eyes: eyes, nose tip, mouth corners.
HEAD_53 = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.6], [-0.4, 1.15, 0.12], [0.4, 1.15, 0.12]])
MEAN_HEAD_53 = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.33, 0.53], [-0.43, 1.04, 0.12], [0.43, 1.04, 0.12]])
"""Eyes, nose tip and mouth corners of the mean shape that InsightFace ships, whose face is shorter."""


def seen(
    turn_deg: float,
    tilt_deg: float = 0.0,
    *,
    nod_deg: float = 0.0,
    scale: float = 80.0,
    head_53: np.ndarray = HEAD_53,
) -> np.ndarray:
    """The five points of the head nodded down, turned to the side and tilted in the picture, from far away: [5, 2]."""
    nod, turn, tilt = (math.radians(angle) for angle in (nod_deg, turn_deg, tilt_deg))
    about_x = np.array([[1, 0, 0], [0, math.cos(nod), math.sin(nod)], [0, -math.sin(nod), math.cos(nod)]])
    about_y = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    in_plane = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    flat_52 = (head_53 @ about_x.T @ about_y.T)[:, :2]
    points: np.ndarray = 300 + scale * flat_52 @ in_plane.T
    return points


@pytest.mark.parametrize("tilt_deg", [0, 15, -40, 90])
@pytest.mark.parametrize("turn_deg", [0, 20, 45, 60, 85])
def test_the_turn_is_measured_whatever_the_tilt_and_the_size(turn_deg: float, tilt_deg: float) -> None:
    for scale in (30, 400):
        assert yaw_deg(seen(turn_deg, tilt_deg, scale=scale)) == pytest.approx(turn_deg, abs=1e-6)


@pytest.mark.parametrize("turn_deg", [20, 45])
def test_to_either_side_it_is_the_same(turn_deg: float) -> None:
    assert yaw_deg(seen(-turn_deg)) == pytest.approx(yaw_deg(seen(turn_deg)))


def test_a_profile_is_ninety_degrees() -> None:
    assert yaw_deg(seen(90)) == pytest.approx(90.0, abs=1e-6)
    points = seen(30)
    points[1] = points[0]
    assert yaw_deg(points) == 90.0


def test_a_nod_is_no_turn() -> None:
    assert yaw_deg(seen(0, nod_deg=25)) == pytest.approx(0.0, abs=1e-6)


def test_by_hand() -> None:
    """Eyes 40 pixels apart, nose 24 pixels beside their middle: tan y = 24 / (0.6 * 40) = 1."""
    points = np.array([[100, 100], [140, 100], [144, 125], [110, 140], [135, 140]], dtype=np.float64)
    assert yaw_deg(points) == pytest.approx(45.0)


@pytest.mark.parametrize("tilt_deg", [0, 15, -40, 90, 180])
@pytest.mark.parametrize("nod_deg", [-80, -40, -10, 0, 10, 40, 60, 85])
def test_the_nod_is_measured_whatever_the_turn_the_tilt_and_the_size(nod_deg: float, tilt_deg: float) -> None:
    for scale in (30, 400):
        for turn_deg in (0, 30, -60):
            points = seen(turn_deg, tilt_deg, nod_deg=nod_deg, scale=scale)
            assert pitch_deg(points) == pytest.approx(nod_deg, abs=1e-6)


def test_the_order_of_the_eyes_and_of_the_corners_does_not_matter() -> None:
    points = seen(20, 15, nod_deg=30)
    assert pitch_deg(points[[1, 0, 2, 4, 3]]) == pytest.approx(30.0, abs=1e-6)


def test_a_nod_by_hand() -> None:
    """Nose 40 and mouth 80 pixels below the eyes: tan p = (1.15 - 2 * 0.57) / (2 * 0.6 - 0.12), 0.53 degrees."""
    points = np.array([[100, 100], [140, 100], [120, 140], [105, 180], [135, 180]], dtype=np.float64)
    assert pitch_deg(points) == pytest.approx(math.degrees(math.atan(0.01 / 1.08)))
    points[2, 1] = 180.0
    assert pitch_deg(points) == pytest.approx(math.degrees(math.atan(0.58 / 0.48))), (
        "50 down: the nose before the mouth"
    )
    points[2, 1] = 100.0
    assert pitch_deg(points) == pytest.approx(-math.degrees(math.atan(0.57 / 0.6))), (
        "44 up: the nose between the eyes"
    )


def test_a_lower_nose_is_a_head_further_down() -> None:
    """Also on a face of other proportions, of which the steps are right to a seventh and the zero is its own."""
    nods = list(range(-40, 50, 10))
    found = [pitch_deg(seen(0, nod_deg=nod, head_53=MEAN_HEAD_53)) for nod in nods]
    assert found == sorted(found)
    assert found[-1] - found[0] == pytest.approx(80, rel=0.15)
    assert -25 < found[nods.index(0)] < -15


def test_the_ends_of_the_scale() -> None:
    """Points that no head can show are held at a right angle; those of a profile or of nothing give a number."""
    points = seen(0)
    points[2], points[3:] = (points[0] + points[1]) / 2 + [0, 50], points[:2]
    assert pitch_deg(points) == 90.0
    points[2] = (points[0] + points[1]) / 2 - [0, 50]
    assert pitch_deg(points) == pytest.approx(-math.degrees(math.atan2(1.15, 0.12)))
    assert pitch_deg(np.full((5, 2), 7.0)) == 0.0
