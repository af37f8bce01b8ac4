"""The protocol of an evaluation: everything that moves a metric more than methods do, pinned and named."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key

SIZES = (256, 512)

MIN_SCORED_FRAMES = 25
"""One second: fewer frames are no sample of how somebody speaks."""


class CropMode(StrEnum):
    """How the face is cut from the frames."""

    GT_ALIGNED = "gt_box_aligned"  # aligned once, on the truth; the same transforms cut truth and prediction
    INDEPENDENT_ALIGNED = (
        "independent_aligned"  # each aligned on its own: what a method does to detection counts
    )
    PRECROPPED = (
        "precropped"  # the files are aligned crops already: nothing is detected, they are only resized
    )


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is compared, and how it was cut.

    size: side of the square crop in pixels, 256 or 512. start_frame, num_frames: the window that is scored; with
    num_frames None it is the rest of the truth as far as the driving audio goes, and a prediction must be as long; a
    number must be at least 25.
    alignment: backend id of the face detector, or "none" for precropped files. scored_codec: codec of the files that
    are scored, which is part of a metric's definition. reinsertion: whether predictions were pasted back into the
    frame before scoring.
    """

    name: str
    crop_mode: CropMode
    size: int
    alignment: str
    scored_codec: str
    reinsertion: str
    start_frame: int = 0
    num_frames: int | None = None
    audio_source: str = "driving audio file, 16 kHz mono"
    resize_filter: str = "area to the crop's scale, then one bilinear warp"
    version: int = 1

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise BadInputError(f"a protocol's crop size is 256 or 512, not {self.size}")
        if self.start_frame < 0:
            raise BadInputError(f"protocol {self.name}: a window cannot start at frame {self.start_frame}")
        if self.num_frames is not None:
            check_num_frames(self.num_frames, MIN_SCORED_FRAMES)
        if (self.crop_mode is CropMode.PRECROPPED) != (self.alignment == "none"):
            raise BadInputError(
                f"protocol {self.name}: alignment {self.alignment!r} does not go with crop mode {self.crop_mode}"
            )

    @property
    def id(self) -> str:
        """Name and content key: two protocols that differ anywhere have different ids."""
        return f"{self.name}-{content_key(self)}"

    @property
    def frame_window(self) -> str:
        """The scored frames in words."""
        stop = "end" if self.num_frames is None else str(self.start_frame + self.num_frames)
        return f"{self.start_frame}:{stop}"

    @property
    def description(self) -> str:
        """One sentence for tables."""
        return (
            f"{self.crop_mode} crops of {self.size} px ({self.alignment}), frames {self.frame_window}, "
            f"{self.reinsertion}, {self.scored_codec}"
        )


def check_num_frames(num_frames: int, smallest: int) -> None:
    """Raise ``BadInputError`` where a window that somebody asks for is too short to be scored."""
    if num_frames < smallest:
        raise BadInputError(
            f"a window of {num_frames} frames is too short to be scored; ask for at least {smallest}"
        )


def gt_box_aligned(*, detector_id: str, size: int = 256, num_frames: int | None = None) -> Protocol:
    """The house protocol: one alignment from the truth for all, predictions pasted back and encoded as we do."""
    return Protocol(
        name="gt_box_aligned",
        crop_mode=CropMode.GT_ALIGNED,
        size=size,
        num_frames=num_frames,
        alignment=detector_id,
        scored_codec="H.264 yuv420p, CRF 13",
        reinsertion="pasted back into the full frame",
    )


def precropped(*, size: int = 256, num_frames: int | None = None) -> Protocol:
    """For truths that are aligned crops, as curation makes them: nothing is detected, and nothing pasted elsewhere."""
    return Protocol(
        name="precropped",
        crop_mode=CropMode.PRECROPPED,
        size=size,
        num_frames=num_frames,
        alignment="none",
        scored_codec="H.264 yuv420p, CRF 13",
        reinsertion="pasted back into the aligned crop",
    )
