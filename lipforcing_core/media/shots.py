"""Find the cuts of a video while it is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.media import picture
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.source_stream import Picture, SourceStream

ADAPTIVE_THRESHOLD = 2.0
MIN_CONTENT_CHANGE = 15.0
MIN_SHOT_FRAMES = 12
WINDOW = 2
"""The detector compares the change at a frame with those of so many frames before and after it."""
SEARCH_WIDTH = 256
"""Pictures are reduced to this width first, as PySceneDetect does by itself."""


@dataclass(frozen=True, kw_only=True)
class ShotPicture:
    """A picture, and whether it is the first or the last one of its shot."""

    picture: Picture
    starts: bool
    ends: bool


class CutDetector:
    """PySceneDetect's adaptive detector, frame by frame.

    A frame is a cut where its change against the frame before is ``threshold`` times that of its neighbours and at
    least ``min_content_change`` (0 to 255). Cuts closer than ``min_shot_frames`` are one.
    """

    def __init__(
        self,
        *,
        threshold: float = ADAPTIVE_THRESHOLD,
        min_content_change: float = MIN_CONTENT_CHANGE,
        min_shot_frames: int = MIN_SHOT_FRAMES,
    ) -> None:
        from scenedetect import AdaptiveDetector

        self._detector = AdaptiveDetector(
            adaptive_threshold=threshold,
            min_content_val=min_content_change,
            min_scene_len=min_shot_frames,
            window_width=WINDOW,
        )
        self._seen = 0
        self._size: tuple[int, int] | None = None

    def cut_at(self, small_HW3: np.ndarray) -> int | None:
        """Take the next frame, RGB uint8; the number of a frame at which a shot begins, ``WINDOW`` frames ago, or
        None. Frames of another size than the first one are brought to its size."""
        from scenedetect import FrameTimecode

        self._seen += 1
        self._size = self._size or small_HW3.shape[1::-1]
        if small_HW3.shape[1::-1] != self._size:
            small_HW3 = cv2.resize(small_HW3, self._size, interpolation=cv2.INTER_AREA)
        found = self._detector.process_frame(
            FrameTimecode(self._seen - 1, fps=float(FPS)), cv2.cvtColor(small_HW3, cv2.COLOR_RGB2BGR)
        )
        return found[0].frame_num if found else None


def divide(pictures: Iterable[Picture], detector: CutDetector) -> Iterator[ShotPicture]:
    """Say of every picture whether a shot begins or ends with it, three pictures late.

    A shot also begins where a picture does not continue the one before: after a hole, a jump of the time stamps, or a
    change of form.
    """
    waiting: deque[tuple[Picture, bool]] = deque()
    for shown in pictures:
        waiting.append((shown, shown.breaks or shown.index == 0))
        cut = detector.cut_at(_small(shown))
        if cut is not None and cut >= waiting[0][0].index:
            place = cut - waiting[0][0].index
            waiting[place] = (waiting[place][0], True)
        if len(waiting) > WINDOW + 1:
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[tuple[Picture, bool]]) -> ShotPicture:
    shown, starts = waiting.popleft()
    return ShotPicture(picture=shown, starts=starts, ends=waiting[0][1] if waiting else True)


def _small(shown: Picture) -> np.ndarray:
    width, height = shown.shown.form.size
    longest = round(max(width, height) * min(1.0, SEARCH_WIDTH / width))
    return picture.reduced(shown.shown.frame, shown.shown.form, longest).rgb_HW3


def detect_shots(path: Path | str) -> list[tuple[int, int]]:
    """Shots of a video as half-open ranges of frames at 25 fps that cover it from 0 to its end; raises MediaError."""
    starts, num_frames = [], 0
    with SourceStream(path) as source:
        for shown in divide(source.pictures(), CutDetector()):
            num_frames += 1
            if shown.starts:
                starts.append(shown.picture.index)
    return list(pairwise([*starts, num_frames]))
