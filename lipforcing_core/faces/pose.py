"""How far a head is turned to the side, and up or down, from the five points of a detector."""

from __future__ import annotations

import math

import numpy as np

NOSE_DEPTH = 0.6
"""How far the tip of the nose stands out before the line between the eyes, in distances between the eyes."""
MOUTH_DEPTH = 0.12
"""How far the corners of the mouth do, in the mean shape of 68 points that InsightFace ships (its nose: 0.53)."""
NOSE_BELOW, MOUTH_BELOW = 0.57, 1.15
"""How far nose tip and mouth lie below the eyes of a head that looks straight ahead: those of the points that ArcFace
aligns to, in the same unit."""


def yaw_deg(points_52: np.ndarray) -> float:
    """The turn of a head to the side in degrees, from 0 (frontal) to 90 (profile), without a sign.

    ``points_52``: an eye, the other eye, the nose tip and two mouth corners, in pixels. With the eyes d apart and the
    nose h before them, a head that is turned by y shows the eyes d cos(y) apart and the nose h sin(y) beside their
    middle, so the quotient of the two is (h / d) tan(y). It is measured along the line through the eyes, so a tilted
    head counts like an upright one. Eyes that coincide are those of a profile.
    """
    left_2, right_2, nose_2 = (np.asarray(point, dtype=np.float64) for point in points_52[:3])
    across_2 = right_2 - left_2
    apart = float(np.linalg.norm(across_2))
    if apart == 0.0:
        return 90.0
    beside = float((nose_2 - (left_2 + right_2) / 2) @ across_2) / apart
    return math.degrees(math.atan(abs(beside) / (NOSE_DEPTH * apart)))


def pitch_deg(points_52: np.ndarray) -> float:
    """How far a head looks down (positive) or up (negative), in degrees from -90 to 90.

    ``points_52`` as for ``yaw_deg``. Seen from far away (scaled orthographic projection, as in Gee and Cipolla,
    "Determining the gaze of faces in images", 1994), a head that is turned down by p shows its nose tip
    a cos(p) + h sin(p) and its mouth b cos(p) + c sin(p) below the eyes, where a and b are how far the two lie below
    them and h and c how far before them. With n and m for what is seen, tan(p) = (b n - a m) / (h m - c n): only the
    quotient of n and m counts, and a larger one is always a head further down. Both are measured at right angles to
    the line through the eyes, so a tilted head counts like an upright one.

    To be trusted while the nose tip is seen between eyes and mouth, from 43 up to 50 down, and the head is turned to
    the side by less than 60; beyond, it only says "far". Faces and detectors differ in where they have the nose, and a
    smile lifts the mouth: on 14 talks whose speakers look about straight ahead the medians are -8 to 18 by SCRFD and 5
    to 19 by YuNet, on photographs of people who smile up to 26 and 15.
    """
    left_2, right_2, nose_2, *corners = (np.asarray(point, dtype=np.float64) for point in points_52)
    eyes_2, across_2 = (left_2 + right_2) / 2, right_2 - left_2
    mouth_2, nose_2 = (corners[0] + corners[1]) / 2 - eyes_2, nose_2 - eyes_2
    down_2 = np.array([-across_2[1], across_2[0]])
    nose, mouth = float(nose_2 @ down_2), float(mouth_2 @ down_2)
    if mouth < 0.0:
        nose, mouth = -nose, -mouth
    down = math.atan2(MOUTH_BELOW * nose - NOSE_BELOW * mouth, NOSE_DEPTH * mouth - MOUTH_DEPTH * nose)
    return min(max(math.degrees(down), -90.0), 90.0)
