"""Decode video to RGB frames and sound to a mono waveform.

Frames are upright (the display rotation is applied) RGB uint8 [H, W, 3]. YUV is converted with the matrix and
range the file declares; a file that declares none is read as BT.601 limited range, as ffmpeg does.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from lipforcing_core.base.errors import BadInputError, MediaError, SurroundingsError
from lipforcing_core.base.failures import has_room, surroundings_problem
from lipforcing_core.base.names import shown_name
from lipforcing_core.media.clock import SAMPLE_RATE
from lipforcing_core.media.ffmpeg import ffmpeg_complaint, first_line, input_file, run_ffmpeg
from lipforcing_core.media.streams import best_video_stream

# The scaler's default is quick and darkens by one to two levels; with these flags the mean error is 0.03.
EXACT_COLOUR = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)

DECODER_THREADS = 2
"""A decoder with a thread for every core holds a frame for each of them (25 MB at 4K in 10 bits) and gains nothing:
with two it is ahead of whatever looks at its frames."""

NO_VIDEO = "has no video"
"""The problem of a file that can be opened but holds no moving picture."""


def iter_frames(path: Path | str, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """Yield frames ``start`` to ``stop`` (exclusive; None for the end) in order, one in memory at a time.

    Each is RGB uint8 [H, W, 3]. Raises MediaError with the decoder's message where the file cannot be read.
    """
    with opened_video(path) as (container, stream), decoder_errors(path):
        for index, frame in enumerate(container.decode(stream)):
            if stop is not None and index >= stop:
                return
            if index >= start:
                yield to_rgb(frame)


def read_frames(path: Path | str, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Frames ``start`` to ``stop`` as one RGB uint8 array [F, H, W, 3]; MediaError if there are none."""
    frames = list(iter_frames(path, start, stop))
    if not frames:
        raise MediaError(path, f"has no frames from {start} to {'its end' if stop is None else stop}")
    return np.stack(frames)


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The sound of a file as a mono waveform: float32 [S] in [-1, 1] at ``sample_rate``.

    Sample 0 is the start of the file's time line: sound that begins after the picture is preceded by silence.
    Several channels are mixed down. Raises MediaError if the file has no sound or cannot be read.
    """
    waveform = _read_plain_wav(path, sample_rate)
    if waveform is not None:
        return waveform
    sound = input_file(path).audio.filter("aresample", sample_rate, **{"async": 1, "first_pts": 0})
    output = sound.output("pipe:", format="f32le", acodec="pcm_f32le", ac=1, ar=sample_rate)
    try:
        data, message = run_ffmpeg(output, path)
    except MediaError as error:
        if "matches no streams" in error.decoder_message:
            raise MediaError(path, "has no sound") from None
        raise
    if not data:
        raise MediaError(path, "has no sound that can be decoded", first_line(message))
    return np.clip(np.frombuffer(data, dtype="<f4").astype(np.float32), -1.0, 1.0)


def read_wav(path: Path | str, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Samples ``start`` to ``stop`` of a 16-bit mono WAV file as float32 [S]; only those are read."""
    try:
        with wave.open(str(path), "rb") as stream:
            if stream.getnchannels() != 1 or stream.getsampwidth() != 2:
                raise MediaError(path, "is not a 16-bit mono WAV file")
            total = stream.getnframes()
            stop = total if stop is None else min(stop, total)
            stream.setpos(min(start, total))
            data = stream.readframes(max(stop - start, 0))
    except (wave.Error, EOFError, MemoryError, OSError) as error:
        refuse_surroundings(error, path)
        raise MediaError(path, "is not a readable WAV file", str(error)) from error
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0


def read_flac(path: Path | str) -> np.ndarray:
    """All samples of a 16-bit mono FLAC file as float32 [S].

    Raises ``MediaError`` where it cannot be decoded, or has not the number of samples that its header says: the decoder
    passes over what is damaged or missing.
    """
    with open_container(path) as container, decoder_errors(path):
        declared = container.streams.audio[0].duration if container.streams.audio else None
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    samples_S = np.concatenate([np.zeros(0, np.int16), *parts])
    if declared is None or len(samples_S) != declared:
        raise MediaError(path, f"has {len(samples_S)} samples, and its header says {declared}")
    return samples_S.astype(np.float32) / 32768.0


class FrameReader:
    """Random access to the frames of a video by index, with memory for one read only.

    ``read`` seeks to the key frame before ``start`` and decodes from there; reads that follow each other go
    on without a seek. Reading backwards in chunks (ping-pong) is therefore cheap where key frames are dense,
    as in files of `VideoWriter`. Indices count frames in order of presentation.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._times = presentation_times(self.path)
        self.num_frames = len(self._times)
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames ``start`` to ``stop`` (exclusive), RGB uint8 [stop - start, H, W, 3].

        Raises BadInputError where the range is empty or leaves the file, MediaError where decoding fails.
        """
        return np.stack(list(self.frames(start, stop)))

    def frames(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames ``start`` to ``stop`` one by one, for long ranges; errors as for ``read``."""
        self._check_range(start, stop)
        with decoder_errors(self.path):
            for frame in self._decode(start, stop):
                yield to_rgb(frame)

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check_range(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.num_frames:
            raise BadInputError(
                f"{self.path}: no frames {start} to {stop} in a file of {self.num_frames} frames"
            )

    def _decode(self, start: int, stop: int) -> Iterator[Any]:
        if self._container is None or self._next != start:
            self._seek(start)
        for index in range(start, stop):
            frame = self._wanted(index)
            self._next = index + 1
            yield frame

    def _wanted(self, index: int) -> Any:
        for frame in self._frames:
            if frame.pts is not None and frame.pts >= self._times[index]:
                if frame.pts == self._times[index]:
                    return frame
                break
        raise MediaError(
            self.path, f"frame {index} is damaged or has a wrong time stamp; resample the file first"
        )

    def _seek(self, index: int) -> None:
        """Put the decoder at or before frame ``index``; try earlier key frames if a seek lands late."""
        if self._container is None:
            self._container, _ = open_video(self.path)
        stream = self._container.streams.video[0]
        back_s = 0
        while True:
            target = self._times[index] - int(back_s / stream.time_base)
            if target > self._times[0]:
                self._container.seek(target, stream=stream, backward=True, any_frame=False)
            else:
                self._container.close()
                self._container, stream = open_video(self.path)
            frames = self._container.decode(stream)
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts <= self._times[index]:
                self._frames = _chain(first, frames)
                return
            if target <= self._times[0]:
                raise MediaError(self.path, f"frame {index} cannot be reached")
            back_s = 2 * back_s + 2


def presentation_times(path: Path | str) -> list[int]:
    """Time stamps of all frames, in ticks of the stream and in order of presentation, without decoding.

    Raises MediaError where there are no frames, or where frames carry no or repeated time stamps.
    """
    with opened_video(path) as (container, stream), decoder_errors(path):
        packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
    times = sorted(p.pts for p in packets if p.pts is not None)
    if not times:
        raise MediaError(path, "has no frames")
    if len(times) != len(packets) or len(set(times)) != len(times):
        raise MediaError(path, "has frames without a time stamp of their own; resample it first")
    return times


def video_duration(path: Path | str) -> Fraction:
    """Exact time in seconds from the first frame's start to the last frame's end."""
    times = presentation_times(path)
    with opened_video(path) as (_, stream):
        rate = stream.average_rate or stream.guessed_rate
        duration_s: Fraction = (times[-1] - times[0]) * stream.time_base + 1 / rate
        return duration_s


@contextmanager
def decoder_errors(path: Path | str) -> Iterator[None]:
    """Turn the decoder's exceptions into MediaError with its message kept.

    ``SurroundingsError`` where they tell of the machine (no memory, no space) and not of the file.
    """
    try:
        yield
    except (av.error.FFmpegError, MemoryError, OSError, ValueError) as error:
        if isinstance(error, BadInputError):
            raise
        refuse_surroundings(error, path)
        raise MediaError(path, "cannot be decoded", decoder_words(error)) from error


def refuse_surroundings(error: Exception, path: Path | str) -> None:
    """Raise ``SurroundingsError`` if an exception tells of the machine and not of the file at ``path``.

    libav says of an absurd number in a header, too, that memory has run out; where there is plenty, the file is meant.
    """
    if isinstance(error, av.error.MemoryError) and has_room():
        return
    if problem := surroundings_problem(error):
        raise SurroundingsError(f"{problem} (while reading {shown_name(path)})") from error


def open_container(path: Path | str) -> Any:
    """Open a media file; raises MediaError with the decoder's words where that cannot be done."""
    path = Path(path)
    if not path.is_file():
        raise MediaError(path, "is a folder" if path.is_dir() else "there is no such file")
    if path.stat().st_size == 0:
        raise MediaError(path, "is empty (0 bytes)")
    try:
        return av.open(
            str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.error.FFmpegError, MemoryError, OSError, ValueError) as error:
        refuse_surroundings(error, path)
        raise MediaError(
            path, "is not a readable video", ffmpeg_complaint(path) or decoder_words(error)
        ) from error


def open_video(path: Path | str) -> tuple[Any, Any]:
    """Open a file for decoding and return its container and its moving picture; raises MediaError."""
    container = open_container(path)
    stream = best_video_stream(container)
    if stream is None or stream.codec_context is None:
        container.close()
        raise MediaError(path, NO_VIDEO if stream is None else "has no video that can be decoded")
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = DECODER_THREADS
    return container, stream


@contextmanager
def opened_video(path: Path | str) -> Iterator[tuple[Any, Any]]:
    """`open_video` as a context manager that closes the container."""
    container, stream = open_video(path)
    try:
        yield container, stream
    finally:
        container.close()


def to_rgb(frame: Any) -> np.ndarray:
    """A decoded frame as upright RGB uint8 [H, W, 3]."""
    image = frame.to_ndarray(format="rgb24", interpolation=EXACT_COLOUR)
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def decoder_words(error: Exception) -> str:
    """A decoder's message without the path that PyAV adds to it."""
    return getattr(error, "strerror", None) or str(error)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _read_plain_wav(path: Path | str, sample_rate: int) -> np.ndarray | None:
    """The waveform of a 16-bit mono WAV file already at the wanted rate, or None for any other file."""
    try:
        with wave.open(str(path), "rb") as stream:
            plain = (stream.getnchannels(), stream.getsampwidth(), stream.getframerate()) == (
                1,
                2,
                sample_rate,
            )
            if not plain or stream.getnframes() == 0:
                return None
    except (wave.Error, EOFError, OSError):
        return None
    return read_wav(path)
