"""Where the mouth is in the aligned crop, as boxes and masks that do not depend on the system under test.

All positions are fractions of the square aligned crop (LatentSync template, method F.2), so they hold at any size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Left, top, right, bottom. The mouth box holds the whole mouth, with room since box-only detectors place the crop
# coarsely; the inner one is narrower than the mouth, so that cheeks and jaw line stay out of it.
MOUTH_BOX = (0.22, 0.54, 0.78, 0.84)
INNER_MOUTH_BOX = (0.30, 0.52, 0.70, 0.84)

Box = tuple[float, float, float, float]


def mouth_slices(shape: tuple[int, ...], box: Box = MOUTH_BOX) -> tuple[slice, slice]:
    """Rows and columns of a box in a crop of ``(height, width)`` pixels; ``ValueError`` for a crop too small."""
    height, width = shape
    left, top, right, bottom = box
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    if rows.stop - rows.start < 4 or columns.stop - columns.start < 4:
        raise ValueError(f"a crop of {height} x {width} pixels is too small to hold a mouth box")
    return rows, columns


@lru_cache(maxsize=8)
def redrawn_mask(size: int) -> np.ndarray:
    """``[size, size] bool``, True where a lip-sync model redraws (the mouth mask of method A.4). Read-only."""
    from lipforcing_core.faces.mask import keep_mask

    mask = keep_mask(size) < 0.5
    mask.setflags(write=False)
    return mask
