"""Decoded frames with a known content: flat patches of known colours, detail, and smooth colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np

from lipforcing_core.media.decode import open_video
from lipforcing_core.media.picture_form import PictureForm

SQUARE_PIXELS = SimpleNamespace(sample_aspect_ratio=Fraction(1))
KR_KB = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def fill(plane: Any, values: np.ndarray) -> None:
    rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
    rows[:, : values.shape[1]] = values


def patches(rgb_N3: np.ndarray, matrix: int, full: bool, bits: int, format_name: str) -> Any:
    """A frame of flat squares of 16 pixels in one row, encoded in floating point as BT.601, 709 or 2020 say."""
    kr, kb = KR_KB[matrix]
    red, green, blue = (rgb_N3 / 255.0).T
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    unit = 1 << (bits - 8)
    top = (1 << bits) - 1
    y = luma * top if full else (16 + 219 * luma) * unit
    uv = [c * top + 128 * unit if full else (128 + 224 * c) * unit for c in chroma]
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    frame = av.VideoFrame(16 * len(rgb_N3), 16, format_name)
    codes = [np.round(np.repeat(values, 16)).clip(0, top) for values in (y, *uv)]
    flat = [values[None].repeat(16, 0).astype(kind) for values in codes]
    step_x, step_y = (8 // size(8) for size in (frame.format.chroma_width, frame.format.chroma_height))
    flat[1:] = [values[::step_y, ::step_x] for values in flat[1:]]
    if format_name == "nv12":
        flat[1:] = [np.stack(flat[1:], axis=2).reshape(len(flat[1]), -1)]
    for plane, values in zip(frame.planes, flat, strict=True):
        fill(plane, values)
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def textured(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture with detail in all channels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width]
    return np.clip(picture + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def smooth(width: int, height: int) -> np.ndarray:
    """A picture without edges, whose colours survive a halved resolution of chroma."""
    coarse = np.random.default_rng(5).integers(50, 206, (4, 6, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def frame_of(rgb_HW3: np.ndarray, format_name: str) -> Any:
    return av.VideoFrame.from_ndarray(rgb_HW3, "rgb24").reformat(format=format_name, dst_colorspace="itu709")


def first_frame(path: Path) -> tuple[Any, PictureForm]:
    container, stream = open_video(path)
    frame = next(container.decode(stream))
    form = PictureForm.of(frame, stream)
    container.close()
    return frame, form
