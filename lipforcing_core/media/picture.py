"""Decoded frames to RGB: the whole picture, a region of it, or the whole picture reduced, each at its own cost.

A picture is upright, of square pixels and of even size, whatever the coded frame is; boxes and points count in
pixels of that picture. YUV is converted as in `decode.to_rgb` (declared matrix and range, BT.601 limited where none
are declared), HDR and wide gamuts as `hdr` says. A region is cut out of the coded planes before any conversion.
All conversions run in the calling thread and keep no state, so that several threads may convert different frames at
once. Two threads may not hold one frame: PyAV changes its tags during a conversion and puts them back afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import av
import av.filter
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.colour_tags import UNSPECIFIED
from lipforcing_core.media.decode import EXACT_COLOUR
from lipforcing_core.media.hdr import to_standard
from lipforcing_core.media.picture_form import PictureForm

# Area averaging passes no frequency that the smaller picture cannot hold.
EXACT_AREA = (EXACT_COLOUR & ~Interpolation.BICUBIC) | Interpolation.AREA

# The scaler's bicubic filter reads two chroma samples on either side; with these the border of a region is exact.
_MARGIN_CHROMA_SAMPLES = 4

Box = tuple[int, int, int, int]


class View(NamedTuple):
    """A part of a picture as RGB uint8 [h, w, 3], with its place.

    ``offset_xy`` is where its upper left corner lies in the picture, in pixels; ``scale_xy`` is its own pixels over
    those of the picture, at most 1.
    """

    rgb_HW3: np.ndarray
    offset_xy: tuple[int, int]
    scale_xy: tuple[float, float]

    def to_picture(self, points_N2: np.ndarray) -> np.ndarray:
        """Points (x, y) of the view as points of the picture; a pixel's centre has whole coordinates in both."""
        scale, offset = np.array(self.scale_xy), np.array(self.offset_xy)
        points: np.ndarray = (np.asarray(points_N2) + 0.5) / scale - 0.5 + offset
        return points


def to_picture(frame: Any, form: PictureForm) -> np.ndarray:
    """The whole picture as RGB uint8 [H, W, 3] of ``form.size``.

    The last column or row of a coded frame of odd size is dropped, and pixels that are not square are stretched.
    Raises BadInputError for colours unknown.
    """
    _check(frame, form)
    if form.can_be_cut:
        return _upright(_rgb(_cut(frame, (0, 0, *form.even_size)), form), form)
    return _upright(_rgb(frame, form, _coded_size(form.size, form)), form)


def region(frame: Any, form: PictureForm, box_xyxy: Any, max_side: int | None = None) -> View:
    """The part of the picture under a box, at the cost of that part where the form can be cut.

    Args:
        frame: a decoded frame of this form.
        form: its form.
        box_xyxy: left, top, right, bottom in pixels of the picture; it is widened to whole pixels and cut at the
            borders of the picture.
        max_side: where given, a part with a longer side is reduced to it by area averaging. It may then begin and
            end a few pixels outside the box, at whole chroma samples (``offset_xy`` says where).

    Raises BadInputError for colours unknown, and for a box that is no box or has no pixel of the picture.
    """
    _check(frame, form)
    left, top, right, bottom = box = _whole_box(box_xyxy, form)
    scale = _reduction(right - left, bottom - top, max_side)
    if not form.can_be_cut:
        part = np.ascontiguousarray(to_picture(frame, form)[top:bottom, left:right])
        return _shrunk(part, (left, top), scale)
    if max_side is not None and scale < 1.0:
        return _reduced_region(frame, form, box, max_side)
    wanted = _to_coded(box, form)
    grown = _on_chroma_grid(wanted, frame, form, _MARGIN_CHROMA_SAMPLES)
    x, y = wanted[0] - grown[0], wanted[1] - grown[1]
    rgb = _rgb(_cut(frame, grown), form)[y : y + wanted[3] - wanted[1], x : x + wanted[2] - wanted[0]]
    return View(_upright(np.ascontiguousarray(rgb), form), (left, top), (1.0, 1.0))


def reduced(frame: Any, form: PictureForm, max_side: int) -> View:
    """The whole picture with its longer side at most ``max_side``, scaled before conversion by area averaging."""
    width, height = form.size
    if form.can_be_cut:
        return region(frame, form, (0, 0, width, height), max_side)
    _check(frame, form)
    scale = _reduction(width, height, max_side)
    size = _scaled(width, height, scale)
    flags = EXACT_AREA if scale < 1.0 else EXACT_COLOUR
    rgb = _upright(_rgb(frame, form, _coded_size(size, form), flags), form)
    return View(rgb, (0, 0), (size[0] / width, size[1] / height))


def in_eight_bits(frame: Any, form: PictureForm) -> tuple[Any, PictureForm]:
    """A frame of more than 8 bits, and its form, with 8 bits and half the memory, dithered.

    It is left as it is where more than that can be seen of it (HDR, wide gamuts), and where it is not made of planes.
    """
    if form.bits == 8 or not (form.has_planes and form.is_standard):
        return frame, form
    name = form.pixel_format.removesuffix(f"{form.bits}le")
    return frame.reformat(format=name, threads=1), replace(form, pixel_format=name)


def plane_values(plane: Any, kind: type[np.generic] = np.uint8) -> np.ndarray:
    """The numbers of one plane of a frame, [H, W], without a copy; writing to them changes the frame."""
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return rows[:, : plane.width]


def _check(frame: Any, form: PictureForm) -> None:
    if form.problem:
        raise BadInputError(f"a frame {form.problem}")
    if (frame.width, frame.height) != form.coded_size or frame.format.name != form.pixel_format:
        raise BadInputError(
            f"a frame of {frame.width}x{frame.height} {frame.format.name} is not of the form "
            f"{form.coded_size[0]}x{form.coded_size[1]} {form.pixel_format}; take the form of this frame"
        )


def _rgb(
    frame: Any,
    form: PictureForm,
    size: tuple[int, int] | None = None,
    flags: Interpolation = EXACT_COLOUR,
) -> np.ndarray:
    """A coded frame as RGB uint8 [H, W, 3] in its coded orientation, scaled to ``size`` where given."""
    standard = form.is_standard
    width, height = size or (frame.width, frame.height)
    matrix = _assumed_matrix(form)
    # The scaler writes planes three times as fast as packed RGB with these flags; the values are the same.
    planar = frame.reformat(
        width=width,
        height=height,
        format="gbrp" if standard else "gbrp16le",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        interpolation=flags,
        threads=1,
    )
    green, blue, red = (plane_values(plane, np.uint8 if standard else np.uint16) for plane in planar.planes)
    packed: np.ndarray = cv2.merge((red, green, blue))
    return packed if standard else to_standard(packed, form.tone_mapped, form.gamut)


def _assumed_matrix(form: PictureForm) -> Colorspace | None:
    """The matrix of a frame that declares none; None to read what it declares."""
    if form.matrix != UNSPECIFIED:
        return None
    return Colorspace.BT2020 if form.tone_mapped else Colorspace.ITU601


_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


def _upright(rgb_HW3: np.ndarray, form: PictureForm) -> np.ndarray:
    if form.mirrored:
        rgb_HW3 = cv2.flip(rgb_HW3, 1)
    return cv2.rotate(rgb_HW3, _TURNS[form.quarter_turns]) if form.quarter_turns else rgb_HW3


def _whole_box(box_xyxy: Any, form: PictureForm) -> Box:
    numbers = np.asarray(box_xyxy, dtype=np.float64)
    width, height = form.size
    if numbers.shape == (4,) and np.isfinite(numbers).all():
        low = np.maximum(np.floor(numbers[:2]), 0)
        high = np.minimum(np.ceil(numbers[2:]), (width, height))
        if (low < high).all():
            return int(low[0]), int(low[1]), int(high[0]), int(high[1])
    raise BadInputError(f"the box {numbers.tolist()} has no pixel of a picture of {width}x{height}")


def _coded_size(size: tuple[int, int], form: PictureForm) -> tuple[int, int]:
    """Width and height before the turn of what has this upright size, and the other way round."""
    return size[::-1] if form.quarter_turns % 2 else size


def _to_coded(box: Box, form: PictureForm) -> Box:
    """The box in the coded frame that an upright box shows."""
    left, top, right, bottom = box
    width, height = _coded_size(form.even_size, form)
    for _ in range(form.quarter_turns):
        left, top, right, bottom = height - bottom, left, height - top, right
        width, height = height, width
    if form.mirrored:
        left, right = width - right, width - left
    return left, top, right, bottom


def _to_upright(box: Box, form: PictureForm) -> Box:
    """The inverse of ``_to_coded``."""
    left, top, right, bottom = box
    width, height = form.even_size
    if form.mirrored:
        left, right = width - right, width - left
    for _ in range(form.quarter_turns):
        left, top, right, bottom = top, width - right, bottom, width - left
        width, height = height, width
    return left, top, right, bottom


def _on_chroma_grid(box: Box, frame: Any, form: PictureForm, margin: int) -> Box:
    """A coded box with ``margin`` chroma samples around it, at whole samples, within the even frame."""
    step_x = 8 // frame.format.chroma_width(8)
    step_y = 8 // frame.format.chroma_height(8) * (2 if frame.interlaced_frame else 1)
    left, top, right, bottom = box
    return (
        max(left // step_x - margin, 0) * step_x,
        max(top // step_y - margin, 0) * step_y,
        min((-(-right // step_x) + margin) * step_x, form.even_size[0]),
        min((-(-bottom // step_y) + margin) * step_y, form.even_size[1]),
    )


def _cut(frame: Any, box: Box) -> Any:
    """A coded box of a frame as a frame of its own, without a copy: colour facts and chroma siting are kept."""
    left, top, right, bottom = box
    if box == (0, 0, frame.width, frame.height):
        return frame
    matrix = int(frame.colorspace)  # the filter graph knows no reserved number
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/25:pixel_aspect=1/1"
        f":colorspace={2 if matrix == 3 else matrix}:range={int(frame.color_range)}",
    )
    crop = graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1")
    graph.link_nodes(source, crop, graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def _reduced_region(frame: Any, form: PictureForm, box: Box, max_side: int) -> View:
    coded = _on_chroma_grid(_to_coded(box, form), frame, form, 0)
    left, top, right, bottom = _to_upright(coded, form)
    width, height = right - left, bottom - top
    size = _scaled(width, height, _reduction(width, height, max_side))
    rgb = _upright(_rgb(_cut(frame, coded), form, _coded_size(size, form), EXACT_AREA), form)
    return View(rgb, (left, top), (size[0] / width, size[1] / height))


def _shrunk(rgb_HW3: np.ndarray, offset_xy: tuple[int, int], scale: float) -> View:
    if scale >= 1.0:
        return View(rgb_HW3, offset_xy, (1.0, 1.0))
    height, width = rgb_HW3.shape[:2]
    size = _scaled(width, height, scale)
    small = cv2.resize(rgb_HW3, size, interpolation=cv2.INTER_AREA)
    return View(small, offset_xy, (size[0] / width, size[1] / height))


def _reduction(width: int, height: int, max_side: int | None) -> float:
    """The factor that brings the longer side to ``max_side``; 1 where it is no longer than that."""
    if max_side is None:
        return 1.0
    if max_side < 1:
        raise BadInputError(f"max_side={max_side} must be at least 1 pixel")
    return min(1.0, max_side / max(width, height))


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))
