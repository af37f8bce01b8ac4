"""Whether something stands before the mouth for a while: a hand, a microphone, a mask that is put on.

No network is asked. In the aligned crop the surroundings of the mouth look the same all the time, whatever is said:
nose, lips, chin and the light on them stay where they are. Each frame is therefore compared with the median picture of
the whole piece, by correlation, so that brighter or darker light does not matter. What covers the mouth from the
first frame to the last cannot be told in this way; its lips do not move with the sound, and sync rejects it.
"""

from __future__ import annotations

import numpy as np

MOUTH_XYXY = (160, 272, 352, 400)
"""The part that is compared, in pixels of the crop of 512: from below the nose to the chin.

Of 80 boxes it is the one that told covered mouths best from others on 14 real clips (``docs/decisions.md``)."""
COVERED_FRAMES = 13
"""Half a second: what passes the mouth more quickly is no reason to lose a clip."""
CROP_SIZE = 512
MIN_STRUCTURE = 1.0
"""Standard deviation in levels below which a picture has nothing to compare."""


def mouth_likeness(small_FHW: np.ndarray) -> float | None:
    """How much the mouth looks like itself at its worst half second, as a correlation from -1 to 1.

    ``small_FHW``: the luma of consecutive aligned crops, reduced to one size, such as 64 x 64. Of the correlations with
    the median picture, the best over shifts by one pixel, it is the highest one of those ``COVERED_FRAMES`` consecutive
    frames in which that is lowest. None for fewer frames, and where the median picture has no structure.
    """
    if len(small_FHW) < COVERED_FRAMES:
        return None
    scale = small_FHW.shape[-1] / CROP_SIZE
    x0, y0, x1, y1 = (round(edge * scale) for edge in MOUTH_XYXY)
    around_FHW = small_FHW[:, y0 - 1 : y1 + 1, x0 - 1 : x1 + 1].astype(np.float32)
    usual_HW = np.median(around_FHW, axis=0)
    height, width = y1 - y0, x1 - x0
    if usual_HW[1:-1, 1:-1].std() < MIN_STRUCTURE:
        return None
    frames_FP = _unit(around_FHW[:, 1:-1, 1:-1].reshape(len(small_FHW), -1))
    shifted_SP = _unit(
        np.stack([usual_HW[y : y + height, x : x + width].ravel() for y in range(3) for x in range(3)])
    )
    likeness_F = (frames_FP @ shifted_SP.T).max(axis=1)
    windows_WK = np.lib.stride_tricks.sliding_window_view(likeness_F, COVERED_FRAMES)
    return float(windows_WK.max(axis=1).min())


def _unit(rows_NP: np.ndarray) -> np.ndarray:
    """Rows without their mean, of length 1; rows without structure are 0, and so are like nothing."""
    centred_NP = rows_NP - rows_NP.mean(axis=1, keepdims=True)
    length_N1 = np.linalg.norm(centred_NP, axis=1, keepdims=True)
    flat_N1 = length_N1 < MIN_STRUCTURE * centred_NP.shape[1] ** 0.5
    unit_NP: np.ndarray = np.where(flat_N1, 0.0, centred_NP / np.where(flat_N1, 1.0, length_N1))
    return unit_NP
