"""The aligned crop of every followed face, from the moment its place is certain until its segment is written."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.mouth_cover import mouth_likeness
from lipforcing_core.curation.results import TrackFacts
from lipforcing_core.faces.align import FILL_VALUE, square_matrix
from lipforcing_core.faces.follow import Placement
from lipforcing_core.faces.sightings import FaceState
from lipforcing_core.media.affine import invert_matrix
from lipforcing_core.media.encode import VideoWriter, to_yuv
from lipforcing_core.media.picture import Box, plane_values
from lipforcing_core.media.plane_warp import warped_luma, warped_yuv
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.source_stream import Shown

CLIP_SIZE = 512
LIPS_XYXY = (159, 303, 343, 371)
"""Where the lips are in the aligned crop of 512 pixels.

On 13 real clips, one frame in 15, SCRFD's mouth corners lie at x 159 and 343 in the mean (16 and 19 pixels of standard
deviation between clips, 4 to 14 within one) and at y 326 (8 between clips); YuNet's are 4 pixels further apart and 15
higher. The outer edges of the lips, where the redness (a* of CIELAB) of the 50 columns in the middle is halfway between
that of the skin and its peak, lie at y 303 and 371 (10 and 14 between clips) on the 12 clips without a red chin; the
lower one moves down by 5 to 20 where the mouth is widest open.
The puppets' true corners lie at x 131 to 156 and 356 to 380, y 276 to 315, and their chins below y 409.
"""
SAME_PICTURE, SAME_BLOCK = 0.25, 1.0
"""Faces at one place whose 64-pixel luma differs by less than so many levels, on average over all of it and over every
block of 8 x 8, are one picture shown twice.

Of repeats that were encoded again all are found at x264's CRF 18, nine of ten at 28 and half at 33. Of 1700 frames of
twelve real talks 2 % count, most of which their makers repeated: one in 25 of two clips, one in six of another. The
blocks tell a speaker who stands still from a picture that does: without them 15 % of one talk counted at CRF 36.
"""
SMALL = 64
X264_PRESET, X264_PARAMETERS = "ultrafast", "8x8dct=1:partitions=i8x8:bframes=3"
"""Against ``superfast`` this halves the CPU time of the encode (2.3 and 4.6 ms a frame) and of every decode after it
(0.9 and 1.8 ms), at the same quality (50.8 and 51.0 dB on a real face) in files that are a tenth smaller."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One frame of one face, ready to be encoded, and what is measured on it.

    lips_outside: share of the lips' area beyond the borders of the picture, 0 to 1. small_HW: its luma at 64 pixels.
    look_HW: the luma of the source at its place, at 64 pixels. repeats: whether it shows the same as the crop before.
    """

    yuv: Any
    placement: Placement
    lips_outside: float
    small_HW: np.ndarray
    look_HW: np.ndarray
    repeats: bool = False


class CropRow:
    """The crops of one face of a shot, in order; frames before it comes into sight count, and have none."""

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self._start = start
        self._crops: deque[Crop | None] = deque()

    @property
    def stop(self) -> int:
        """The frame after the last one that is here."""
        return self._start + len(self._crops)

    @property
    def last(self) -> Crop | None:
        """The crop of the last frame, if there is one and it has not been forgotten."""
        return self._crops[-1] if self._crops else None

    def add(self, crop: Crop | None) -> None:
        """Append the crop of the next frame."""
        self._crops.append(crop)

    def drop(self, stop: int) -> None:
        """Forget the frames before ``stop``."""
        while self._crops and self._start < stop:
            self._crops.popleft()
            self._start += 1

    def part(self, segment: Segment) -> list[Crop | None]:
        """The crops of the frames of a segment."""
        first = segment.start - self._start
        return list(islice(self._crops, first, first + segment.num_frames))


def cut_out(shown: Shown, placement: Placement, before: Crop | None = None) -> Crop:
    """The aligned crop of a face, cut from only the part of the frame that it shows.

    before: the crop of the frame before, with which this one is compared at the place of that one: the places of one
    picture differ from frame to frame, since they are smoothed over time.
    """
    to_square = square_matrix(placement.matrix_23, CLIP_SIZE)
    yuv = warped_yuv(shown.frame, shown.form, to_square, CLIP_SIZE, grey=FILL_VALUE)
    return Crop(
        yuv=yuv,
        placement=placement,
        lips_outside=_share_outside(to_square, LIPS_XYXY, (0, 0, *shown.form.size)),
        small_HW=_small_luma(yuv),
        look_HW=_look(shown, placement),
        repeats=before is not None and _same(before.look_HW, _look(shown, before.placement)),
    )


def write_track(
    row: CropRow,
    segment: Segment,
    folder: Path,
    *,
    crf: int,
    picture_xyxy: Box | None = None,
) -> TrackFacts | None:
    """Encode a face's crops of a segment, once, with where they were; None where no frame of it shows the face.

    picture_xyxy: the picture within its bars, where it has some; lips under a bar are outside it. Files that are there
    already, of an attempt that was killed later on, are left as they are.
    """
    crops = row.part(segment)
    known = [crop for crop in crops if crop is not None and crop.placement.state is not FaceState.ABSENT]
    if not known:
        return None
    clip, alignment = folder / f"{row.number}.mp4", folder / f"{row.number}.npz"
    places = _places(crops)
    if not (clip.is_file() and alignment.is_file()):
        np.savez(
            alignment,
            matrices_F23=np.stack([place.matrix_23 for place in places]),
            usable_F=np.array([place.state is not FaceState.ABSENT for place in places]),
            boxes_F4=np.stack([place.box_4 for place in places]),
            start_frame=segment.start,
        )
        with VideoWriter(
            clip,
            width=CLIP_SIZE,
            height=CLIP_SIZE,
            crf=crf,
            preset=X264_PRESET,
            x264_parameters=X264_PARAMETERS,
        ) as writer:
            for crop in crops:
                writer.write_yuv(_grey() if crop is None else crop.yuv)
    turns = [crop.placement.yaw_deg for crop in known if crop.placement.yaw_deg is not None]
    nods = [crop.placement.pitch_deg for crop in known if crop.placement.pitch_deg is not None]
    boxes_N4 = np.stack([crop.placement.box_4 for crop in known])
    # Only points hold a crop still enough to compare its mouth: by boxes alone open ones were taken for covered.
    return TrackFacts(
        number=row.number,
        detected_fraction=sum(c.placement.state is FaceState.DETECTED for c in known) / segment.num_frames,
        absent_frames=segment.num_frames - len(known),
        face_height_px=float(np.median(boxes_N4[:, 3] - boxes_N4[:, 1])),
        box_xyxy=tuple(np.median(boxes_N4, axis=0).round(1).tolist()),
        yaw_deg=float(np.median(turns)) if turns else None,
        lips_outside=max(_lips_outside(crop, picture_xyxy) for crop in known),
        mouth_likeness=mouth_likeness(np.stack([crop.small_HW for crop in known])) if turns else None,
        repeated=repeated(crops),
        clip_sha256=file_sha256(clip),
        pitch_deg=float(np.median(nods)) if nods else None,
    )


def repeated(crops: list[Crop | None]) -> list[int]:
    """The lengths of all runs of frames that show the same as the frame before them."""
    runs, length = [], 0
    for crop in crops[1:]:
        same = crop is not None and crop.repeats
        if not same and length:
            runs.append(length)
        length = length + 1 if same else 0
    return [*runs, length] if length else runs


def _look(shown: Shown, placement: Placement) -> np.ndarray:
    to_square = square_matrix(placement.matrix_23, SMALL)
    return warped_luma(shown.frame, shown.form, to_square, SMALL, grey=FILL_VALUE)


def _same(a_HW: np.ndarray, b_HW: np.ndarray) -> bool:
    difference = np.abs(a_HW - b_HW)
    blocks = difference.reshape(SMALL // 8, 8, SMALL // 8, 8).mean(axis=(1, 3))
    return bool(difference.mean() < SAME_PICTURE and blocks.max() < SAME_BLOCK)


def _places(crops: list[Crop | None]) -> list[Placement]:
    """A place for every frame; those before the face came into sight take the first there is."""
    first = next(crop.placement for crop in crops if crop is not None)
    before = Placement(state=FaceState.ABSENT, matrix_23=first.matrix_23, box_4=np.full(4, np.nan))
    return [before if crop is None else crop.placement for crop in crops]


def _grey() -> Any:
    return to_yuv(np.full((CLIP_SIZE, CLIP_SIZE, 3), FILL_VALUE, dtype=np.uint8))


def _lips_outside(crop: Crop, picture_xyxy: Box | None) -> float:
    if picture_xyxy is None:
        return crop.lips_outside
    return _share_outside(square_matrix(crop.placement.matrix_23, CLIP_SIZE), LIPS_XYXY, picture_xyxy)


def _share_outside(to_square_23: np.ndarray, box_xyxy: Box, picture_xyxy: Box) -> float:
    """The share of a box of the crop that lies beyond a part of the frame, on a grid of 16 by 16 points."""
    points_N2 = _grid_N3(box_xyxy) @ invert_matrix(to_square_23).T
    picture_22 = np.array(picture_xyxy).reshape(2, 2) - 0.5
    inside = ((points_N2 >= picture_22[0]) & (points_N2 <= picture_22[1])).all(axis=1)
    return float(1.0 - inside.mean())


@cache
def _grid_N3(box_xyxy: Box) -> np.ndarray:
    """16 by 16 points (x, y, 1) of a box, its corners included."""
    x, y = np.meshgrid(np.linspace(*box_xyxy[::2], 16), np.linspace(*box_xyxy[1::2], 16))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)


def _small_luma(yuv: Any) -> np.ndarray:
    small: np.ndarray = cv2.resize(
        plane_values(yuv.planes[0]), (SMALL, SMALL), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    return small
