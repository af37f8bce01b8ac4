"""What a video file is: size, rate, rotation, codecs, sound."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.decode import decoder_errors, open_video


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Facts about one file.

    ``width`` and ``height`` are those on display, after rotation. ``frame_rate`` is the average.
    ``num_frames`` counts the packets in the file, None where they cannot all be read. ``duration_s`` is what
    the file declares for its picture; a truncated file may hold less. ``rotation_deg`` is counter-clockwise.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    is_variable_rate: bool
    num_frames: int | None
    duration_s: Fraction
    rotation_deg: int
    video_codec: str
    has_audio: bool
    audio_codec: str | None
    sample_rate: int | None
    num_channels: int | None


def probe(path: Path | str) -> VideoInfo:
    """Read a file's facts. Raises MediaError if it is missing, empty, unreadable, or without a picture."""
    path = Path(path)
    container, stream = open_video(path)
    try:
        with decoder_errors(path):
            first = next(container.decode(stream), None)
        if first is None:
            raise MediaError(path, "has no frame that can be decoded")
        times, complete = _packet_times(path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        if rate <= 0:
            raise MediaError(path, "declares no frame rate")
        rotation = round(first.rotation / 90) * 90 % 360
        width, height = _square_pixel_size(first, stream)
        sound = container.streams.audio[0] if container.streams.audio else None
        context = sound.codec_context if sound is not None else None
        return VideoInfo(
            path=path,
            width=height if rotation in (90, 270) else width,
            height=width if rotation in (90, 270) else height,
            frame_rate=Fraction(rate),
            is_variable_rate=_is_variable(times),
            num_frames=len(times) if complete and times else None,
            duration_s=_declared_duration(container, stream, len(times), rate),
            rotation_deg=rotation,
            video_codec=stream.codec_context.name,
            has_audio=context is not None and bool(context.sample_rate),
            audio_codec=context.name if context is not None else None,
            sample_rate=context.sample_rate or None if context is not None else None,
            num_channels=sound.channels or None if context is not None and sound is not None else None,
        )
    finally:
        container.close()


def _square_pixel_size(frame: Any, stream: Any) -> tuple[int, int]:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return (round(frame.width * aspect), frame.height) if aspect != 1 else (frame.width, frame.height)


def _packet_times(path: Path) -> tuple[list[int], bool]:
    """Sorted time stamps of the picture's packets, and whether the file could be read to its end."""
    times: list[int] = []
    container, stream = open_video(path)
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                stamp = packet.pts if packet.pts is not None else packet.dts
                times.append(stamp if stamp is not None else len(times))
    except av.error.FFmpegError:
        return sorted(times), False
    finally:
        container.close()
    return sorted(times), True


def _is_variable(times: list[int]) -> bool:
    """Whether a step between frames differs from the usual one by more than a quarter (and two ticks)."""
    if len(times) < 3:
        return False
    steps = np.diff(np.asarray(times, dtype=np.float64))
    usual = float(np.median(steps))
    return bool(np.any(np.abs(steps - usual) > max(usual / 4, 2)))


def _declared_duration(container: Any, stream: Any, num_frames: int, rate: Fraction) -> Fraction:
    if stream.duration:
        duration_s: Fraction = Fraction(stream.duration) * stream.time_base
        return duration_s
    if container.duration:
        return Fraction(container.duration, av.time_base)
    return Fraction(num_frames) / rate
