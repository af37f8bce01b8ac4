"""The fingerprint of the picture of an aligned clip: what it looks like, and how it moves.

Two parts describe a clip. The *look* is the perceptual hash of the mean picture: 64 signs of the lowest frequencies of
a discrete cosine transform against their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010). It tells people, light and background apart, and two looks are compared by Hamming distance. All
pieces of one talk look alike, so the *motion* tells them apart: differences over time of the mean luma of blocks, as in
Oostveen, Kalker and Haitsma, "Feature Extraction and a Database Strategy for Video Fingerprinting" (2002), but with
their size and not only their sign, since most blocks of a talking head hardly move.

Blocks lie in the upper part of the crop, above everything that a lip-sync model draws. So a clip whose mouth was
replaced has the picture of its original.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

STEP_FRAMES = 5
"""Frames at 25 fps that are averaged: 0.2 s, so that another frame rate or a cut between two steps changes little."""
UPPER_SHARE = 0.375
BLOCKS = (3, 8)
"""Rows and columns of blocks in the upper part of the crop."""
NUM_BLOCKS = BLOCKS[0] * BLOCKS[1]
LEVELS_PER_UNIT = 1 / 8
"""Motion is stored in eighths of a level of luma, which reach to 16 levels in one step."""
_LOOK_SIDE, _LOOK_FREQUENCIES = 32, 8


@dataclass(frozen=True, kw_only=True)
class PictureFingerprint:
    """``look``: 64 bits. ``motion_TB``: int8 [T, 24], one row for each step of 0.2 s on the grid of the source."""

    look: int
    motion_TB: np.ndarray


def picture_fingerprint(frames_FHW3: np.ndarray, start_frame: int = 0) -> PictureFingerprint:
    """The fingerprint of the frames of an aligned clip, uint8 RGB.

    ``start_frame`` is the place of the first of them in the source. A step begins
    at every fifth frame of the source, so that overlapping pieces of one source have equal steps.
    """
    skipped = -start_frame % STEP_FRAMES
    num_steps = max(0, len(frames_FHW3) - skipped) // STEP_FRAMES
    steps_F = frames_FHW3[skipped : skipped + num_steps * STEP_FRAMES]
    upper = round(frames_FHW3.shape[1] * UPPER_SHARE)
    blocks_FB = np.array([_luma(frame[:upper], BLOCKS).ravel() for frame in steps_F], dtype=np.float32)
    means_TB = blocks_FB.reshape(num_steps, STEP_FRAMES, NUM_BLOCKS).mean(axis=1)
    contrast_TB = means_TB - means_TB.mean(axis=1, keepdims=True)
    change_TB = np.diff(contrast_TB, axis=0) / LEVELS_PER_UNIT
    return PictureFingerprint(
        look=_look(frames_FHW3[::STEP_FRAMES]),
        motion_TB=change_TB.round().clip(-127, 127).astype(np.int8),
    )


def look_distance(a: int, b: int) -> int:
    """Bits that differ, 0 to 64; 32 on average for pictures that have nothing to do with each other."""
    return (a ^ b).bit_count()


def _look(frames_FHW3: np.ndarray) -> int:
    side = (_LOOK_SIDE, _LOOK_SIDE)
    mean_HW = np.mean([_luma(frame, side) for frame in frames_FHW3], axis=0)
    low = cv2.dct(mean_HW.astype(np.float32))[:_LOOK_FREQUENCIES, :_LOOK_FREQUENCIES].ravel()
    bits = low[1:] > np.median(low[1:])  # the first one is the brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _luma(frame_HW3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The luma (BT.601 weights) of a frame reduced by area averaging to rows and columns: float32."""
    small = cv2.resize(frame_HW3, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    luma: np.ndarray = small @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return luma
