"""From sightings every few frames to one smooth box and three smooth anchors for every frame.

Points are followed closely. Boxes without points come in a few discrete sizes and places, so a median over three looks
takes out single jumps, and the size, which changes slowly, is smoothed much more than the centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipforcing_core.faces.anchors import anchors_from_box, anchors_of
from lipforcing_core.faces.detectors.protocol import Face

POINT_SIGMA_FRAMES = 1.0
BOX_CENTRE_SIGMA_FRAMES = 4.0
BOX_SIZE_SIGMA_FRAMES = 15.0


def smooth_run(run: Sequence[tuple[int, Face]], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [F, 4] and anchors [F, 3, 2] at ``frames`` (consecutive) from (frame, face) pairs in order.

    Before the first and after the last sighting the nearest value holds.
    """
    looks = np.array([frame for frame, _ in run], dtype=np.float64)
    boxes_L4 = np.array([face.box_xyxy for _, face in run], dtype=np.float64)
    has_points = all(face.points is not None for _, face in run)
    centre_L2 = (boxes_L4[:, :2] + boxes_L4[:, 2:]) / 2
    log_size_L2 = np.log(boxes_L4[:, 2:] - boxes_L4[:, :2])
    if not has_points:
        centre_L2, log_size_L2 = _median_of_three(centre_L2), _median_of_three(log_size_L2)
    centre_sigma, size_sigma = (
        (POINT_SIGMA_FRAMES, POINT_SIGMA_FRAMES)
        if has_points
        else (BOX_CENTRE_SIGMA_FRAMES, BOX_SIZE_SIGMA_FRAMES)
    )
    centre_F2 = _follow(looks, centre_L2, frames, centre_sigma)
    size_F2 = np.exp(_follow(looks, log_size_L2, frames, size_sigma))
    boxes_F4 = np.concatenate([centre_F2 - size_F2 / 2, centre_F2 + size_F2 / 2], axis=1)
    if not has_points:
        return boxes_F4, anchors_from_box(boxes_F4)
    anchors_L6 = np.array([anchors_of(face) for _, face in run]).reshape(len(run), 6)
    return boxes_F4, _follow(looks, anchors_L6, frames, POINT_SIGMA_FRAMES).reshape(-1, 3, 2)


def _follow(looks: np.ndarray, values_LN: np.ndarray, frames: np.ndarray, sigma: float) -> np.ndarray:
    """Linear interpolation to every frame, then a Gaussian over time."""
    from scipy.ndimage import gaussian_filter1d

    per_frame = np.stack([np.interp(frames, looks, column) for column in values_LN.T], axis=1)
    smoothed: np.ndarray = gaussian_filter1d(per_frame, sigma, axis=0, mode="nearest")
    return smoothed


def _median_of_three(values_LN: np.ndarray) -> np.ndarray:
    """Median with the two neighbours; the first and the last value count twice."""
    padded = np.concatenate([values_LN[:1], values_LN, values_LN[-1:]])
    median_LN: np.ndarray = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    return median_LN
