"""How far a head is turned to the side, from the five points of a detector."""

from __future__ import annotations

import math

import numpy as np

NOSE_DEPTH = 0.6
"""How far the tip of the nose stands out before the line between the eyes, in distances between the eyes."""


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
