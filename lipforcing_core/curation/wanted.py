"""Which times and which part of the picture of a source count, as its corpus says officially."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import sha256_once
from lipforcing_core.curation.official import CropBox, TimeRange
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.media.clock import FPS


class CropOutsideError(BadInputError):
    """The part of the picture that a corpus names is not in the picture."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be cut out of a source. sound: the file that its sound is in, where that is another one."""

    facts: SourceFacts = field(default_factory=SourceFacts)
    sound: Path | None = None

    @classmethod
    def of(cls, facts: SourceFacts, root: Path | str) -> Wanted:
        """What the facts of a source ask for; ``root`` is the folder of the corpus."""
        return cls(facts=facts, sound=Path(root) / facts.audio if facts.audio else None)

    def identity(self) -> list[Any]:
        """What of it decides about the work, for content keys; empty where all of a file counts."""
        ranges, crop = self.facts.ranges, self.facts.crop
        if ranges is None and crop is None and self.sound is None:
            return []
        return [ranges, crop, None if self.sound is None else sha256_once(self.sound)]

    def range_of(self, frame: int) -> int | None:
        """The number of the range that a frame at 25 fps lies in; None outside all, 0 where all of the file counts.

        A range begins with its first whole frame and ends with its last.
        """
        ranges = self.facts.ranges
        if ranges is None:
            return 0
        for number, span in enumerate(ranges):
            if math.ceil(span.start * FPS) <= frame < math.floor(span.stop * FPS):
                return number
        return None

    def box(self, frame: int, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """The part of the picture that counts in a frame, in pixels (left, top, right, bottom); None for all of it.

        Raises ``CropOutsideError`` where it lies outside a picture of this width and height.
        """
        crop = self._crop(frame)
        try:
            return None if crop is None else crop.pixels(*size)
        except ValueError as error:
            raise CropOutsideError(str(error)) from error

    def _crop(self, frame: int) -> CropBox | None:
        ranges, number = self.facts.ranges, self.range_of(frame)
        span: TimeRange | None = ranges[number] if ranges is not None and number is not None else None
        return span.crop if span is not None and span.crop is not None else self.facts.crop
