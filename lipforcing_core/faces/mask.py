"""The mouth mask of the aligned crop, in the three sizes and forms the method uses (method A.4).

The source is a 256 x 256 picture, 255 = keep, 0 = redraw. By default it is drawn from a 17-point polygon
that agrees with LatentSync's ``mask.png`` (intersection over union above 0.99), so nothing has to be
shipped; weights trained with the original are best run with the original, read by ``load_mask_source``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.user_file import no_file

SOURCE_SIZE = 256

# (x, y) in the 256-pixel crop: the outline of the redrawn region, with a notch around the nose.
POLYGON = (
    (9, 95),
    (12, 170),
    (22, 188),
    (49, 215),
    (95, 238),
    (108, 241),
    (152, 242),
    (183, 231),
    (202, 220),
    (223, 201),
    (244, 169),
    (247, 134),
    (246, 95),
    (178, 95),
    (177, 128),
    (78, 128),
    (77, 95),
)


@lru_cache(maxsize=1)
def mask_source() -> np.ndarray:
    """The drawn mask: [256, 256] uint8, 255 = keep, 0 = redraw. Read-only."""
    source = np.full((SOURCE_SIZE, SOURCE_SIZE), 255, dtype=np.uint8)
    cv2.fillPoly(source, [np.array(POLYGON, dtype=np.int32)], (0,))
    return _frozen(source)


def load_mask_source(path: Path | str) -> np.ndarray:
    """A mask file such as LatentSync's ``mask.png``: [256, 256] uint8, 255 = keep, 0 = redraw.

    Raises ``MissingWeightsError`` where the file is absent and ``BadInputError`` where it is no 256 x 256
    picture of only black and white.
    """
    if problem := no_file(Path(path)):
        raise MissingWeightsError(
            f"mouth mask {path} {problem}. LatentSync's mask.png (bytedance/LatentSync, "
            "latentsync/utils/mask.png; licence: Apache-2.0) goes there; without a path the drawn mask is used."
        )
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None or picture.shape != (SOURCE_SIZE, SOURCE_SIZE) or not np.isin(picture, (0, 255)).all():
        raise BadInputError(f"{path} is not a 256 x 256 mask of black and white")
    return _frozen(picture.astype(np.uint8))


def keep_mask(size: int, source: np.ndarray | None = None) -> np.ndarray:
    """The pixel mask for blanking: [size, size] float32, 1 = keep, 0 = redraw. Read-only."""
    return _drawn_keep_mask(size) if source is None else _thresholded(source, size, size)


def latent_keep_mask(height: int, width: int, source: np.ndarray | None = None) -> np.ndarray:
    """The latent mask: [height, width] float32, 1 = keep; the model's mask channel is 1 minus this. Read-only.

    Sampled straight from the 256-pixel source (bilinear, half-pixel centres, not averaged), not from the pixel mask.
    """
    return _thresholded(mask_source() if source is None else source, width, height)


def compositing_mask(size: int, source: np.ndarray | None = None) -> np.ndarray:
    """The soft mask for pasting back: [size, size] float32, 1 = keep, 0 = redraw, soft at the edge.

    Lanczos on 8-bit values, so over- and undershoots saturate at 0 and 1. Read-only.
    """
    picture = mask_source() if source is None else source
    soft = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LANCZOS4)
    return _frozen(soft.astype(np.float32) / 255)


@lru_cache(maxsize=8)
def _drawn_keep_mask(size: int) -> np.ndarray:
    return _thresholded(mask_source(), size, size)


def _thresholded(source: np.ndarray, width: int, height: int) -> np.ndarray:
    soft = cv2.resize(source.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return _frozen((soft > 0.5).astype(np.float32))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
