"""The turn of a head from five points: projections of a head in space, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipforcing_core.faces.pose import yaw_deg

# x to the right, y down, z towards the camera, in distances between the eyes: eyes, nose tip, mouth corners.
HEAD_53 = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.55, 0.6], [-0.4, 1.0, 0.2], [0.4, 1.0, 0.2]])


def seen(turn_deg: float, tilt_deg: float = 0.0, *, nod_deg: float = 0.0, scale: float = 80.0) -> np.ndarray:
    """The five points of the head nodded, turned to the side and tilted in the picture, from far away: [5, 2]."""
    nod, turn, tilt = (math.radians(angle) for angle in (nod_deg, turn_deg, tilt_deg))
    about_x = np.array([[1, 0, 0], [0, math.cos(nod), -math.sin(nod)], [0, math.sin(nod), math.cos(nod)]])
    about_y = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    in_plane = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    flat_52 = (HEAD_53 @ about_x.T @ about_y.T)[:, :2]
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
