"""Small video files with a known content: frame k carries k in a row of black and white squares."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import pytest

from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.media.ffmpeg import run_ffmpeg

from .pictures import textured

SQUARE = 16
BITS = 8


def counter_frame(number: int, width: int = 160, height: int = 96) -> np.ndarray:
    """A grey frame with ``number`` written in binary along its top edge."""
    frame = np.full((height, width, 3), 90, dtype=np.uint8)
    frame[height // 2 :, :, 0] = 180
    for bit in range(BITS):
        square = slice(bit * SQUARE, (bit + 1) * SQUARE)
        frame[:SQUARE, square] = 235 if number >> bit & 1 else 16
    return frame


def read_counter(frame: np.ndarray) -> int:
    """The number in a counter frame."""
    row = frame[SQUARE // 2, SQUARE // 2 :: SQUARE].astype(int).mean(axis=1)[:BITS]
    return sum(1 << bit for bit, level in enumerate(row) if level > 128)


def tone(seconds: float, frequency: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * 16000)) / 16000)).astype(
        np.float32
    )


@pytest.fixture(scope="session")
def counter_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make (once for equal arguments) a counter video with or without a tone."""
    folder = tmp_path_factory.mktemp("counter")

    def make(
        num_frames: int = 60,
        rate: Fraction = Fraction(25),
        sound_s: float | None = None,
        size: tuple[int, int] = (160, 96),
    ) -> Path:
        name = f"{num_frames}-{rate.numerator}-{rate.denominator}-{sound_s}-{size[0]}x{size[1]}"
        path = folder / f"{name}.mp4"
        if path.exists():
            return path
        picture = path if sound_s is None else folder / f"{name}-silent.mp4"
        with VideoWriter(picture, width=size[0], height=size[1], frame_rate=rate) as writer:
            for k in range(num_frames):
                writer.write(counter_frame(k, *size))
        if sound_s is not None:
            mux(picture, tone(sound_s), path)
        return path

    return make


def convert(source: Path, out: Path, **options: Any) -> Path:
    """Run ffmpeg on a file with output options."""
    run_ffmpeg(ffmpeg.input(str(source)).output(str(out), **options), source)
    return out


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flashes and beeps at 1.0 and 2.6 s of four seconds."""
    from .sources import flash_and_beep

    return flash_and_beep(tmp_path_factory.mktemp("master") / "master.mkv")


@pytest.fixture(scope="module")
def coloured_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A picture in H.264, which sites chroma at the left, with options for the output."""
    folder = tmp_path_factory.mktemp("coloured")
    count = iter(range(1000))

    def make(
        width: int = 160, height: int = 96, content: Callable[..., np.ndarray] = textured, **options: Any
    ) -> Path:
        path = folder / f"{next(count)}.mp4"
        raw = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=25)
        settings: dict[str, Any] = {"pix_fmt": "yuv420p", "crf": 1, "colorspace": "bt709", **options}
        run_ffmpeg(raw.output(str(path), **settings), path, stdin=content(width, height).tobytes() * 3)
        return path

    return make
