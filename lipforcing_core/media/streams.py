"""Which stream of a container is its moving picture, and when a stream begins."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

_STILL = av.stream.Disposition.attached_pic | av.stream.Disposition.still_image


def best_video_stream(container: Any) -> Any | None:
    """The moving picture of a file; None if there is none.

    Cover pictures are none, flagged as such or not: of several streams, those of a single frame or of less than half
    the longest duration are passed over. Of the rest the one flagged as default is taken, or else the first.
    """
    streams = [s for s in container.streams.video if not s.disposition & _STILL]
    if len(streams) > 1:
        longest_s = max(_length_s(stream) for stream in streams)
        moving = [s for s in streams if s.frames != 1 and 2 * _length_s(s) >= longest_s]
        flagged = [s for s in moving if s.disposition & av.stream.Disposition.default]
        streams = flagged or moving or streams
    return streams[0] if streams else None


def start_s(stream: Any) -> Fraction:
    """When the first frame or sample of a stream is due, in seconds of the file's own clock; 0 if it does not say."""
    return Fraction(0) if stream.start_time is None else stream.start_time * Fraction(stream.time_base)


def _length_s(stream: Any) -> Fraction:
    return Fraction(0) if not stream.duration else stream.duration * Fraction(stream.time_base)


class PresentationStamps:
    """Time stamps for the frames of a container that stores none, which is AVI; elsewhere they stay as they are.

    libav makes some up that are late by as much as the decoder may delay, by one or two frames against the sound.
    Frames leave the decoder in order of presentation, one for every packet that it takes, so each is due where the
    packet was that let it go, less the delay of the first one.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._is_wanted = container.format.name == "avi"
        self._start = stream.start_time or 0
        self._delay: int | None = None

    def correct(self, frame: Any) -> None:
        """Give a frame its own time stamp, or none where it follows directly on the one before."""
        if not self._is_wanted:
            return
        if frame.dts is None:
            frame.pts = None
            return
        if self._delay is None:
            self._delay = frame.dts - self._start
        frame.pts = frame.dts - self._delay


class PixelAspects:
    """The shape of the pixels of each frame of a stream, which changes where a 4:3 recording follows one of 16:9.

    Most containers state one shape for the whole file, and players keep to it. In a transport or program stream the
    coded picture states it. The decoder tells of a new shape up to some frames before the first frame that has it,
    which is the next key frame.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._may_change = stream.container.format.name in ("mpegts", "mpeg")
        self._shape = pixel_aspect(stream)

    def of(self, frame: Any) -> Fraction:
        """The width of a pixel against its height in the next frame."""
        if self._may_change and frame.key_frame:
            self._shape = pixel_aspect(self._stream.codec_context, self._shape)
        return self._shape


def pixel_aspect(stream: Any, undeclared: Fraction = Fraction(1)) -> Fraction:
    """The width of a pixel against its height, as a stream or its decoder tells it."""
    aspect = stream.sample_aspect_ratio
    return Fraction(aspect) if aspect and aspect > 0 else undeclared
