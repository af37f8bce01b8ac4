"""Sources with a known content for the one reading of a source: numbered pictures, flashes and beeps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from lipforcing_core.media.source_stream import SourceStream

from .conftest import BITS, SQUARE, counter_frame

TICKS = 1000
"""Ticks of a second in which the times of pictures are given."""
WIDTH, HEIGHT = 160, 96
HALF_A_FRAME_S = 0.02
X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def write_pictures(
    path: Path,
    frames: Iterable[np.ndarray],
    times: Iterable[int],
    *,
    ticks: int = TICKS,
    sound: np.ndarray | None = None,
    sound_rate: int = 16_000,
    sound_times: Iterable[int] | None = None,
    codec: str = "libx264",
) -> Path:
    """Write RGB frames with exactly these times in ``ticks`` of a second, and blocks of 1024 samples of sound.

    sound_times: the sample at which each block of sound is due; without it they follow each other from 0.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.codec_context.time_base = Fraction(1, ticks)
        video.time_base = Fraction(1, ticks)
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.options = {"preset": "ultrafast", "qp": "4", "bf": "0"} if codec == "libx264" else {}
        audio = None
        if sound is not None:
            audio = container.add_stream("pcm_s16le", rate=sound_rate, layout="mono")
        packets = []
        for number, (rgb, time) in enumerate(zip(frames, times, strict=True)):
            if number == 0:
                video.height, video.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, ticks)
            packets += video.encode(frame)
        packets += video.encode()
        if audio is not None and sound is not None:
            packets += _sound_packets(audio, sound, sound_rate, sound_times)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _sound_packets(stream: Any, sound_S: np.ndarray, rate: int, times: Iterable[int] | None) -> list[Any]:
    whole = np.rint(sound_S * 32767).astype("<i2")
    blocks = [whole[i : i + 1024] for i in range(0, len(whole), 1024)]
    starts = list(times) if times is not None else [1024 * i for i in range(len(blocks))]
    packets = []
    for block, start in zip(blocks, starts, strict=True):
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += stream.encode(frame)
    return packets


def write_numbers(path: Path, times: list[int], **options: Any) -> Path:
    """A picture with the number k in it at the k-th of these times, in milliseconds unless ``ticks`` says otherwise."""
    return write_pictures(path, (counter_frame(k) for k in range(len(times))), times, **options)


def flash_and_beep(
    path: Path, *, seconds: float = 4.0, events_s: Iterable[float] = (1.0, 2.6), rate: int = 25
) -> Path:
    """Dark pictures and silence, but for a white picture and 40 ms of a loud tone at the same instants; lossless."""
    times = [Fraction(k, rate) for k in range(round(seconds * rate))]
    sound_S = np.zeros(round(seconds * 48_000), dtype=np.float32)
    beep = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(1920) / 48_000)
    events = [Fraction(event).limit_denominator(1000) for event in events_s]
    for event in events:
        start = int(event * 48_000)
        sound_S[start : start + 1920] = beep
    frames = (
        np.full(
            (HEIGHT, WIDTH, 3), 240 if any(0 <= t - e < Fraction(1, rate) for e in events) else 20, np.uint8
        )
        for t in times
    )
    return write_pictures(path, frames, range(len(times)), ticks=rate, sound=sound_S, sound_rate=48_000)


def ffmpeg(*arguments: str | Path) -> bytes:
    """Run the ffmpeg that comes with the package; what it writes to standard output."""
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *(str(argument) for argument in arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def converted(source: Path, out: Path, *options: str) -> Path:
    """The file written anew by ffmpeg with output options."""
    ffmpeg("-i", source, *options, out)
    return out


def joined(first: Path, second: Path, out: Path) -> Path:
    """``cat first second > out``."""
    out.write_bytes(first.read_bytes() + second.read_bytes())
    return out


def numbers_of_filter_fps(path: Path) -> list[int]:
    """The numbers that ffmpeg's own filter ``fps`` shows at 25 frames a second, from the start of the file on."""
    raw = ffmpeg(
        "-i", path, "-an", "-vf", "fps=25:start_time=0", "-fps_mode", "passthrough", "-pix_fmt", "gray",
        "-f", "rawvideo", "-",
    )  # fmt: skip
    return [number_in(luma) for luma in np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)]


def number_in(luma_HW: np.ndarray) -> int:
    """The number in a luma plane of ``counter_frame``."""
    row = luma_HW[SQUARE // 2, SQUARE // 2 :: SQUARE][:BITS]
    return sum(1 << bit for bit, level in enumerate(row) if level > 110)


def luma_of(frame: Any) -> np.ndarray:
    """The luma plane of a decoded planar frame of 8 bits."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def read_numbers(path: Path) -> tuple[list[int], list[int], list[int]]:
    """What one reading of a file shows: the numbers, the indices that are invented, those that break."""
    with SourceStream(path) as source:
        numbers, invented, breaks = [], [], []
        for expected, shown in enumerate(source.pictures()):
            assert shown.index == expected
            numbers.append(number_in(luma_of(shown.shown.frame)))
            if shown.invented:
                invented.append(shown.index)
            if shown.breaks:
                breaks.append(shown.index)
    return numbers, invented, breaks


def events_of(
    path: Path, *, sound_path: Path | None = None, track: int = 0
) -> tuple[list[float], list[float]]:
    """Seconds at which flashes and beeps of a file begin, by one reading of it."""
    levels = []
    with SourceStream(path, sound_path=sound_path) as source:
        for shown in source.pictures():
            levels.append(float(luma_of(shown.shown.frame).mean()))
        folded = source.tracks[track].folded
    assert folded is not None
    return _onsets(np.array(levels) > 128, 25.0, 2), beeps_in(folded.waveform_S)


def assert_in_step(path: Path, events_s: list[float], *, sound_path: Path | None = None) -> None:
    """Flashes are where they belong to one frame, and every beep begins within half a frame of its flash."""
    flashes, beeps = events_of(path, sound_path=sound_path)
    assert flashes == pytest.approx(events_s, abs=0.041)
    assert beeps == pytest.approx(flashes, abs=HALF_A_FRAME_S)


def sizes_of(path: Path) -> tuple[list[tuple[int, int]], int, list[int]]:
    """The sizes of all pictures, how many are invented, and which break."""
    with SourceStream(path) as source:
        pictures = [(p.shown.form.size, p.invented, p.index if p.breaks else None) for p in source.pictures()]
    sizes = [size for size, _, _ in pictures]
    return sizes, sum(p[1] for p in pictures), [index for *_, index in pictures if index is not None]


def beeps_in(waveform_S: np.ndarray) -> list[float]:
    """Seconds at which beeps begin in 16 kHz sound."""
    return _onsets(np.abs(waveform_S) > 0.2, 16_000.0, 4800)


def _onsets(on: np.ndarray, rate: float, apart: int) -> list[float]:
    """Where something is on that was off for ``apart`` steps."""
    onsets: list[float] = []
    last = -apart - 1
    for position in np.flatnonzero(on):
        if position - last > apart:
            onsets.append(position / rate)
        last = position
    return onsets
