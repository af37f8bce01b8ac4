"""What the frames of a video look like before they are decoded to RGB: size, orientation, colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.colour_tags import (
    DOLBY_VISION,
    HDR_TRANSFERS,
    MATRICES,
    PRIMARIES,
    TRANSFERS,
    UNSPECIFIED,
    HdrTransfer,
    refusal,
    tag_name,
)
from lipforcing_core.media.hdr import GAMUTS
from lipforcing_core.media.streams import PixelAspects, pixel_aspect


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """What the frames of a file look like before they are decoded to RGB. A form that differs is a new picture.

    Attributes:
        coded_size: width and height of the coded frame in pixels.
        pixel_aspect: width of a coded pixel over its height.
        quarter_turns: counter-clockwise quarter turns (0 to 3) that make the frame upright, after the mirroring.
        mirrored: whether the frame is flipped left to right before it is turned.
        pixel_format: ffmpeg's name.
        full_range: whether levels run from 0 to the largest code.
        matrix: the YUV matrix, by ffmpeg's name (see `colour_tags`), or ``unspecified``.
        primaries: the colour primaries, likewise.
        transfer: the transfer characteristic, likewise.
    """

    coded_size: tuple[int, int]
    pixel_aspect: Fraction
    quarter_turns: int
    mirrored: bool
    pixel_format: str
    full_range: bool
    matrix: str
    primaries: str
    transfer: str

    @classmethod
    def of(cls, frame: Any, stream: Any, aspect: Fraction | None = None) -> PictureForm:
        """The form of a decoded frame of a PyAV video stream; its pixels have the shape of the stream's unless told."""
        side_data = _side_data(frame)
        quarter_turns, mirrored = _orientation(frame, side_data)
        pixel_format = frame.format
        return cls(
            coded_size=(frame.width, frame.height),
            pixel_aspect=aspect or pixel_aspect(stream),
            quarter_turns=quarter_turns,
            mirrored=mirrored,
            pixel_format=pixel_format.name,
            full_range=frame.color_range == ColorRange.JPEG
            or pixel_format.name.startswith("yuvj")
            or pixel_format.is_rgb,
            matrix=tag_name(MATRICES, frame.colorspace),
            primaries=tag_name(PRIMARIES, frame.color_primaries),
            transfer=_transfer(frame, side_data),
        )

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture: upright, of square pixels, even."""
        width, height = self.coded_size[::-1] if self.quarter_turns % 2 else self.coded_size
        return max(2, int(width * self._upright_aspect / 2) * 2), max(2, height // 2 * 2)

    @cached_property
    def even_size(self) -> tuple[int, int]:
        """Width and height of the coded frame without a last odd column or row."""
        width, height = self.coded_size
        return width // 2 * 2, height // 2 * 2

    @property
    def tone_mapped(self) -> HdrTransfer | None:
        """Which kind of HDR the picture was tone-mapped from, in the words of the manifest."""
        return HDR_TRANSFERS.get(self.transfer)

    @property
    def gamut(self) -> str:
        """The primaries as they are converted: ``bt709``, ``bt2020`` or ``p3``. HDR that declares none has BT.2020."""
        if self.tone_mapped and self.primaries == UNSPECIFIED:
            return "bt2020"
        return GAMUTS.get(self.primaries, "bt709")

    @property
    def problem(self) -> str | None:
        """Why the colours cannot be converted truly, in words that follow the file's name; None where they can."""
        return refusal(matrix=self.matrix, primaries=self.primaries, transfer=self.transfer)

    @cached_property
    def can_be_cut(self) -> bool:
        """Whether a region can be cut out before conversion: of square pixels, and neither of bits nor packed YUV."""
        layout = VideoFormat(self.pixel_format)
        packed = not layout.is_planar and not layout.is_rgb and len(layout.components) > 2
        return self.pixel_aspect == 1 and min(self.coded_size) >= 2 and not (packed or layout.is_bit_stream)

    @cached_property
    def has_planes(self) -> bool:
        """Whether brightness and the two colours lie in planes of their own, in numbers that numpy can read."""
        layout = VideoFormat(self.pixel_format)
        in_planes = [component.plane for component in layout.components] == [0, 1, 2]
        return in_planes and not (layout.is_rgb or layout.is_big_endian)

    @cached_property
    def bits(self) -> int:
        """The bits of one number of the first plane."""
        return int(VideoFormat(self.pixel_format).components[0].bits)

    @property
    def is_standard(self) -> bool:
        """Whether 8 bits of BT.709 are meant to hold the picture: it is neither HDR nor of a wide gamut."""
        return self.tone_mapped is None and self.gamut == "bt709"

    @property
    def _upright_aspect(self) -> Fraction:
        return 1 / self.pixel_aspect if self.quarter_turns % 2 else self.pixel_aspect


class Forms:
    """The forms of the frames of one stream, in order.

    A frame whose side data was looked at stays in memory until Python next collects cycles, hundreds of frames later.
    So only a frame that shows another size, shape, colour or turn than the one before is looked at closely.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._aspects = PixelAspects(stream)
        self._facts: tuple[Any, ...] = ()
        self._form: PictureForm | None = None

    def of(self, frame: Any) -> PictureForm:
        """The form of the next frame."""
        aspect = self._aspects.of(frame)
        facts = (
            aspect,
            frame.width,
            frame.height,
            frame.format.name,
            frame.color_range,
            frame.colorspace,
            frame.color_primaries,
            frame.color_trc,
            frame.rotation,
        )
        if self._form is None or facts != self._facts:
            self._form, self._facts = PictureForm.of(frame, self._stream, aspect), facts
        return self._form


def refuse_unknown_colours(form: PictureForm, path: Path | str) -> None:
    """Raise MediaError about ``path`` where the colours of this form cannot be converted truly."""
    if form.problem:
        raise MediaError(path, form.problem)


def _side_data(frame: Any) -> list[Any]:
    """What the decoder attached to a frame; empty where one part is of a kind that PyAV does not know."""
    try:
        return list(frame.side_data)
    except ValueError:
        return []


def _transfer(frame: Any, side_data: Any) -> str:
    """The declared transfer characteristic. Dolby Vision that declares none has no picture without its metadata."""
    name = tag_name(TRANSFERS, frame.color_trc)
    kinds = {data.type.name for data in side_data}
    if name == UNSPECIFIED and not kinds.isdisjoint({"DOVI_METADATA", "DOVI_RPU_BUFFER"}):
        return DOLBY_VISION
    return name


def _orientation(frame: Any, side_data: Any) -> tuple[int, bool]:
    """Quarter turns counter-clockwise and whether the frame is mirrored before, from its display matrix.

    The matrix maps a coded point by x' = ax + cy, y' = bx + dy (y points down). Other angles are rounded.
    """
    matrix = next((data for data in side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return round(frame.rotation / 90) % 4, False
    a, b, _, c, d = (float(number) for number in np.frombuffer(matrix, dtype="<i4")[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a = -a
    if a == 0 and c == 0:
        return 0, False
    return round(math.degrees(math.atan2(c, a)) / 90) % 4, mirrored
