"""Containers as people send them: phone-rotated, with uneven frame times, of odd size, or cut off."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path

import numpy as np

from lipforcing_core.base.products import atomic_path
from lipforcing_core.media.encode import REPRODUCIBLE

_ODD_CUT = (1, 3)


class Packaging(StrEnum):
    """How a finished clip is put into its file."""

    PLAIN = "plain"
    VARIABLE_RATE = "variable_rate"
    """Some frames are missing; the others keep their times."""
    ROTATED = "rotated"
    """Stored lying on its side, with the rotation to show it upright in the metadata."""
    ODD_SIZE = "odd_size"
    """Width and height are odd numbers (and colour is not subsampled, as H.264 then demands)."""
    TRUNCATED = "truncated"
    """The second half of the file is missing, and with it the index."""

    def turn(self, frame: np.ndarray) -> np.ndarray:
        """The frame as it is stored."""
        return np.ascontiguousarray(np.rot90(frame)) if self is Packaging.ROTATED else frame

    def kept_frames(self, num_frames: int) -> list[int]:
        """Indices of the drawn frames that are in the file."""
        if self is Packaging.VARIABLE_RATE:
            return [k for k in range(num_frames) if k % 7 != 3 and k % 11 != 5]
        return list(range(num_frames))

    def picture_size(self, size: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        if self is Packaging.ODD_SIZE:
            return size - _ODD_CUT[0], size - _ODD_CUT[1]
        return size, size


def package(clip: Path, out: Path, packaging: Packaging) -> None:
    """Put a plain clip into its final file, written atomically. Raises MediaError where ffmpeg fails."""
    with atomic_path(out) as temporary:
        if packaging is Packaging.PLAIN:
            shutil.copyfile(clip, temporary)
        elif packaging is Packaging.TRUNCATED:
            late_index = clip.with_name("late_index.mp4")
            _convert(clip, late_index, {}, {"c": "copy"})
            content = late_index.read_bytes()
            temporary.write_bytes(content[: len(content) // 2])
        elif packaging is Packaging.ROTATED:
            _convert(clip, temporary, {"display_rotation": "-90"}, {"c": "copy"})
        elif packaging is Packaging.ODD_SIZE:
            crop = f"crop=iw-{_ODD_CUT[0]}:ih-{_ODD_CUT[1]}:0:0:exact=1"
            _convert(clip, temporary, {}, {"vf": f"format=yuv444p,{crop}", **_ENCODER})
        else:
            select = "select='not(eq(mod(n,7),3))*not(eq(mod(n,11),5))'"
            _convert(clip, temporary, {}, {"vf": select, "fps_mode": "vfr", **_ENCODER})


_ENCODER = {
    "c:a": "copy",
    "c:v": "libx264",
    "crf": "12",
    "preset": "veryfast",
    "threads": "1",
    **REPRODUCIBLE,
}


def _convert(source: Path, out: Path, reading: dict[str, str], writing: dict[str, str]) -> None:
    import ffmpeg

    from lipforcing_core.media.ffmpeg import file_argument, input_file, run_ffmpeg

    options = {"fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact", **writing}
    run_ffmpeg(ffmpeg.output(input_file(source, **reading), file_argument(out), **options), source)
