"""Several videos as one, side by side under one sound: small enough to be embedded in a page, playable in a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.decode import iter_frames
from lipforcing_core.media.encode import VideoWriter, mux

CRF = 25
PRESET = "slow"
SIDE_PX = 200

_BACKGROUND = 24


def side_by_side(
    videos: Sequence[Path],
    sound: Path,
    out: Path,
    *,
    side_px: int = SIDE_PX,
    gap_px: int = 4,
    max_frames: int | None = None,
    comment: str = "synthetic video",
) -> None:
    """Write ``out``: the videos in one row, each scaled into a square, under the sound of ``sound``.

    All videos run at 25 frames/s; the row is as long as the shortest of them, and the sound is cut or padded to that.
    H.264 in yuv420p with AAC sound, which every browser plays. Equal inputs give equal bytes.

    Args:
        videos: files with a picture, in the order of the columns.
        sound: a media file with sound, or a WAV file.
        out: the final name, ending in ``.mp4``, written atomically.
        side_px: the side of a column in pixels, even; a picture that is not square is centred in it.
        gap_px: the space between columns in pixels, even.
        max_frames: where the row ends at the latest.
        comment: the tag that says what the file is; generated media must be marked as such.

    Raises ``BadInputError`` without videos or for odd sizes, and ``MediaError`` for a file that cannot be read.
    """
    if not videos:
        raise BadInputError(f"{out}: a row of videos needs at least one video")
    if side_px < 2 or side_px % 2 or gap_px < 0 or gap_px % 2:
        raise BadInputError(f"{out}: side_px={side_px} and gap_px={gap_px} must be even")
    width = len(videos) * side_px + (len(videos) - 1) * gap_px
    with TemporaryDirectory(prefix="lipforcing-") as scratch:
        silent = Path(scratch) / "row.mp4"
        with VideoWriter(silent, width=width, height=side_px, crf=CRF, preset=PRESET) as writer:
            for frames in zip(*(iter_frames(video, 0, max_frames) for video in videos), strict=False):
                writer.write(_row([_square(frame, side_px) for frame in frames], gap_px))
        mux(silent, sound, out, metadata={"comment": comment})


def _row(squares: list[np.ndarray], gap_px: int) -> np.ndarray:
    side = len(squares[0])
    gap = np.full((side, gap_px, 3), _BACKGROUND, dtype=np.uint8)
    return np.hstack(list(_between(squares, gap)))


def _between(squares: list[np.ndarray], gap: np.ndarray) -> Iterator[np.ndarray]:
    for index, square in enumerate(squares):
        if index:
            yield gap
        yield square


def _square(frame: np.ndarray, side: int) -> np.ndarray:
    """The whole frame, as large as fits into a square, on a dark ground."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame, (new_width, new_height), interpolation=cv2.INTER_AREA)
    square = np.full((side, side, 3), _BACKGROUND, dtype=np.uint8)
    top, left = (side - new_height) // 2, (side - new_width) // 2
    square[top : top + new_height, left : left + new_width] = small
    return square
