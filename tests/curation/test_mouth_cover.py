"""A covered mouth: correlations worked out by hand, on patterns that are known to be unlike each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipforcing_core.curation.mouth_cover import COVERED_FRAMES, MOUTH_XYXY, mouth_likeness

# The mouth in a picture of 64 pixels: 160 / 8 = 20 and so on.
ROWS, COLUMNS = slice(34, 50), slice(20, 44)


def pattern(seed: int) -> np.ndarray:
    """A picture of 64 x 64 whose mouth has the mean 0 and the mean square 1; two of them have nothing in common."""
    picture_HW = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
    mouth_HW = picture_HW[ROWS, COLUMNS]
    if seed:
        other_HW = pattern(0)[ROWS, COLUMNS]
        mouth_HW -= other_HW * (mouth_HW * other_HW).mean() / (other_HW**2).mean()
    mouth_HW -= mouth_HW.mean()
    mouth_HW /= np.sqrt((mouth_HW**2).mean())
    return picture_HW


USUAL, OTHER = pattern(0), pattern(1)


def clip(num_frames: int = 60) -> np.ndarray:
    return np.repeat(128 + 30 * USUAL[None], num_frames, axis=0)


def test_a_mouth_that_stays_as_it_is_is_itself() -> None:
    assert mouth_likeness(clip()) == pytest.approx(1.0)


@pytest.mark.parametrize(("num_covered", "likeness"), [(12, 1.0), (13, 0.6), (29, 0.6)])
@pytest.mark.parametrize("first", [0, 20, 31])
def test_half_a_second_counts_and_less_does_not(num_covered: int, likeness: float, first: int) -> None:
    """Of the covered mouth three parts are as usual and four are not: 3 / 5."""
    small_FHW = clip()
    small_FHW[first : first + num_covered] = 128 + 6 * (3 * USUAL + 4 * OTHER)
    assert mouth_likeness(small_FHW) == pytest.approx(likeness, abs=1e-3)


def test_the_best_frame_of_the_worst_half_second_counts() -> None:
    small_FHW = clip()
    small_FHW[20:40] = 128 + 30 * OTHER
    small_FHW[30] = 128 + 6 * (4 * USUAL + 3 * OTHER)  # a glimpse: ten frames before it, nine after it
    assert mouth_likeness(small_FHW) == pytest.approx(0.8, abs=1e-3)


def test_a_negative_is_the_opposite() -> None:
    small_FHW = clip()
    small_FHW[20:40] = 128 - 30 * cv2.GaussianBlur(USUAL, (0, 0), 3)
    small_FHW[:20] = small_FHW[40:] = 128 + 30 * cv2.GaussianBlur(USUAL, (0, 0), 3)
    likeness = mouth_likeness(small_FHW)
    assert likeness is not None
    assert likeness < -0.6


def test_something_without_structure_is_like_nothing() -> None:
    small_FHW = clip()
    small_FHW[20:40] = 128
    assert mouth_likeness(small_FHW) == 0.0


def test_light_does_not_matter() -> None:
    small_FHW = clip()
    small_FHW[20:40] = 40 + 0.3 * small_FHW[20:40]
    assert mouth_likeness(small_FHW) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("x", "y", "found"), [(1, 0, True), (-1, 1, True), (0, -1, True), (2, 0, False), (0, 2, False)]
)
def test_a_pixel_of_jitter_does_not_matter(x: int, y: int, found: bool) -> None:
    small_FHW = clip()
    small_FHW[20:40] = np.roll(small_FHW[20:40], (y, x), axis=(1, 2))
    likeness = mouth_likeness(small_FHW)
    assert likeness is not None
    assert (likeness > 0.99) is found


def test_only_the_mouth_is_compared() -> None:
    assert MOUTH_XYXY == (160, 272, 352, 400)
    small_FHW = clip()
    around = np.ones((64, 64), bool)
    around[ROWS, COLUMNS] = False
    small_FHW[20:40, around] = 255 - small_FHW[20:40, around]
    assert mouth_likeness(small_FHW) == pytest.approx(1.0)


def test_nothing_is_said_of_less_than_half_a_second_or_of_a_flat_picture() -> None:
    assert COVERED_FRAMES == 13
    assert mouth_likeness(clip(12)) is None
    assert mouth_likeness(clip(13)) == pytest.approx(1.0)
    assert mouth_likeness(np.full((40, 64, 64), 90.0, np.float32)) is None
    assert mouth_likeness(np.zeros((0, 64, 64), np.float32)) is None
