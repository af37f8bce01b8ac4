"""The mouth mask: geometry written down in the method (A.4), polarity, and files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.faces.mask import (
    compositing_mask,
    keep_mask,
    latent_keep_mask,
    load_mask_source,
    mask_source,
)


def bounds(redraw: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column of a region."""
    rows, columns = np.flatnonzero(redraw.any(axis=1)), np.flatnonzero(redraw.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def test_source_geometry() -> None:
    source = mask_source()
    assert source.dtype == np.uint8
    assert set(np.unique(source)) == {0, 255}
    assert bounds(source == 0) == (95, 242, 9, 247)
    assert (source == 0).mean() == pytest.approx(0.407, abs=0.003)
    assert (source[100, 90:170] == 255).all()  # the notch around the nose
    assert (source[160, 60:200] == 0).all()  # the mouth


def test_pixel_mask_at_512() -> None:
    mask = keep_mask(512)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert bounds(mask == 0) == (190, 485, 18, 495)
    assert keep_mask(512) is mask


def test_latent_mask() -> None:
    mask = latent_keep_mask(64, 64)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert bounds(mask == 0) == (24, 60, 2, 61)
    assert (mask == 0).sum() == pytest.approx(1680, abs=10)
    assert latent_keep_mask(16, 8).shape == (16, 8)


def test_compositing_mask_is_soft_and_inside_zero_and_one() -> None:
    mask = compositing_mask(512)
    assert mask.dtype == np.float32
    assert mask.min() == 0.0
    assert mask.max() == 1.0
    edge = ((mask > 0) & (mask < 1)).mean()
    assert 0 < edge < 0.05
    assert (np.abs(mask - keep_mask(512)) > 0.6).sum() == 0


def test_masks_cannot_be_changed_by_accident() -> None:
    for mask in (mask_source(), keep_mask(64), latent_keep_mask(8, 8), compositing_mask(64)):
        with pytest.raises(ValueError, match="read-only"):
            mask[0, 0] = 0


def test_a_mask_file_replaces_the_drawn_one(tmp_path: Path) -> None:
    picture = np.full((256, 256), 255, dtype=np.uint8)
    picture[128:] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), np.dstack([picture] * 3))
    source = load_mask_source(tmp_path / "mask.png")
    np.testing.assert_array_equal(source, picture)
    np.testing.assert_array_equal(keep_mask(512, source)[:256], 1)
    np.testing.assert_array_equal(latent_keep_mask(8, 8, source)[4:], 0)


def test_mask_file_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"Apache-2\.0"):
        load_mask_source(tmp_path / "absent.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    with pytest.raises(BadInputError, match=r"junk\.png"):
        load_mask_source(tmp_path / "junk.png")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((256, 256), 128, dtype=np.uint8))
    with pytest.raises(BadInputError, match="black and white"):
        load_mask_source(tmp_path / "grey.png")
