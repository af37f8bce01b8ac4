"""What a corpus says officially about a file: which times of it count, where the face is, what it was cut from.

Times and lengths are exact. Text holds them as ``Fraction`` writes them (``30``, ``61/2``), so that they survive JSON
and a content key of them never depends on rounding.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+|\d+/[1-9]\d*|\d+(\.\d*)?[eE][+-]?\d{1,3}")
_LONGEST_NUMBER = 40
_RANGE = re.compile(r"\s*(?P<start>[\d./]+)\s*-\s*(?P<stop>[\d./]+)\s*")
_BOX = re.compile(r"\s*(?P<sides>[^@]+?)\s*(?:@\s*(?P<frame_height>\d{1,5}))?\s*")


def exact(value: Any) -> Fraction:
    """A number of an annotation, at least 0, exactly as it is written; raises ``ValueError`` for what is none."""
    if isinstance(value, Fraction | Decimal) and math.isfinite(value) and value >= 0:
        return Fraction(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number, at least 0")
    text = str(value).strip()  # the shortest text that gives the same float: what the file holds
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError("must be a number, at least 0")
    return Fraction(text)


def _as_text(value: Any) -> str:
    return str(exact(value))


Exact = Annotated[str, BeforeValidator(_as_text)]
"""A number, at least 0, as the text of a fraction."""


class _Official(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CropBox(_Official):
    """A part of the picture, in pixels of a picture that is ``frame_height`` pixels high.

    x and y are the left and the upper edge, counted from the upper left corner of the upright picture. A file of
    another height is the same picture at another scale: ``pixels`` converts. Without ``frame_height`` they are pixels
    of the file itself. As text: ``x y width height``, or ``x y width height @frame_height``.
    """

    x: Exact
    y: Exact
    width: Exact
    height: Exact
    frame_height: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = _BOX.fullmatch(value)
        sides = found["sides"].replace(",", " ").split() if found else []
        if found is None or len(sides) != 4:
            raise ValueError("a crop is written x y width height, with @frame_height behind it if need be")
        return {
            **dict(zip(("x", "y", "width", "height"), sides, strict=True)),
            "frame_height": found["frame_height"],
        }

    @model_validator(mode="after")
    def _holds_something(self) -> CropBox:
        if not (exact(self.width) and exact(self.height)):
            raise ValueError("width and height of a crop must be more than 0")
        return self

    def pixels(self, frame_width: int, frame_height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom edge in a picture of this size; right and bottom are the first pixels outside.

        Parts of pixels are taken in, and what lies outside the picture is left out. Raises ``ValueError`` where nothing
        is left.
        """
        scale = Fraction(frame_height, self.frame_height or frame_height)
        x, y, width, height = (exact(side) * scale for side in (self.x, self.y, self.width, self.height))
        left, top = math.floor(x), math.floor(y)
        right, bottom = min(math.ceil(x + width), frame_width), min(math.ceil(y + height), frame_height)
        if left >= right or top >= bottom:
            raise ValueError(f"the crop lies outside the picture of {frame_width} x {frame_height} pixels")
        return left, top, right, bottom


class TimeRange(_Official):
    """Times of a file that count, in seconds from its start: from ``start_s`` up to, not including, ``stop_s``.

    ``crop`` is the part of the picture that counts meanwhile; None where the corpus names none for this range.
    """

    start_s: Exact
    stop_s: Exact
    crop: CropBox | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            found = _RANGE.fullmatch(value)
            if found is None:
                raise ValueError("a range is written start-stop, in seconds")
            return {"start_s": found["start"], "stop_s": found["stop"]}
        if isinstance(value, list | tuple) and len(value) == 2:
            return {"start_s": value[0], "stop_s": value[1]}
        return value

    @model_validator(mode="after")
    def _goes_forward(self) -> TimeRange:
        if self.start >= self.stop:
            raise ValueError(
                f"a range must end after it starts, and this goes from {self.start_s} to {self.stop_s} s"
            )
        return self

    @property
    def start(self) -> Fraction:
        """The first second that counts."""
        return Fraction(self.start_s)

    @property
    def stop(self) -> Fraction:
        """The first second that counts no more."""
        return Fraction(self.stop_s)


def _ranges(value: Any) -> Any:
    """Ranges that are written in one text, separated by semicolons."""
    return [part for part in value.split(";") if part.strip()] if isinstance(value, str) else value


def _in_order(ranges: tuple[TimeRange, ...]) -> tuple[TimeRange, ...]:
    """The ranges by their start; raises ``ValueError`` where there are none or two share a moment."""
    if not ranges:
        raise ValueError("there is no range")
    ordered = tuple(sorted(ranges, key=lambda r: (r.start, r.stop)))
    for first, second in pairwise(ordered):
        if second.start < first.stop:
            raise ValueError(
                f"the ranges {first.start_s}-{first.stop_s} and {second.start_s}-{second.stop_s} overlap"
            )
    return ordered


TimeRanges = Annotated[tuple[TimeRange, ...], BeforeValidator(_ranges), AfterValidator(_in_order)]
"""Ranges in order, none of which overlap. As text: ``12.5-20; 30-45``."""


class Origin(_Official):
    """What a file was cut from, where the corpus publishes cut files: of no effect on the work, for data cards.

    ``address``: of the whole video. ``start_s`` and ``stop_s``: seconds in it. ``crop``: the part of its picture.
    ``face_shares``: x, y, width and height of the face in shares of the width and the height of its picture, the union
    over all frames.
    """

    address: str | None = None
    start_s: Exact | None = None
    stop_s: Exact | None = None
    crop: CropBox | None = None
    face_shares: tuple[Exact, Exact, Exact, Exact] | None = None
