"""Write frames to H.264 files, waveforms to WAV files, and put the two together.

The same frames give the same bytes, on any processor: one encoder thread, no wall-clock metadata, and x264 in its
processor-independent mode. Every file appears under its final name only when it is complete.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.media.clock import FPS, SAMPLE_RATE
from lipforcing_core.media.decode import EXACT_COLOUR, decoder_errors, opened_video, video_duration
from lipforcing_core.media.ffmpeg import file_argument, input_file, run_ffmpeg

KEY_FRAME_INTERVAL = 50
REPRODUCIBLE = {"x264-params": "cpu-independent=1"}
"""Without this x264's macroblock-tree look-ahead gives, now and then, other bytes for the same frames, even in one
process (seen with its AVX-512 code), and other bytes on other processors always. It costs no measurable time."""
_BT709 = 1
_LIMITED_RANGE = 1


class VideoWriter:
    """Encode RGB frames to an H.264 MP4 (yuv420p, BT.709, limited range) that appears when it is closed.

    Use as a context manager; leaving it by an exception removes the unfinished file.

    Args:
        path: final name, ending in ``.mp4``, ``.mkv`` or ``.mov``.
        width, height: frame size in pixels, both even.
        crf: x264 quality, 0 (lossless) to 51.
        preset: x264 preset.
        x264_parameters: what differs from the preset, as x264's ``name=value`` joined by colons.
        frame_rate: frames a second, exact.
        metadata: container tags, for example ``{"comment": "synthetic ..."}``.
        threads: encoder threads; another number may give other bytes.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width: int,
        height: int,
        crf: int = 13,
        preset: str = "veryfast",
        x264_parameters: str = "",
        frame_rate: Fraction = FPS,
        metadata: Mapping[str, str] | None = None,
        threads: int = 1,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise BadInputError(f"{path}: a video needs an even width and height, got {width}x{height}")
        self.path = Path(path)
        self.width, self.height = width, height
        self.num_frames = 0
        self._cleanup = ExitStack()
        temporary = self._cleanup.enter_context(atomic_path(self.path))
        try:
            self._container = av.open(str(temporary), "w", options={"movflags": "+faststart"})
            self._container.metadata.update(metadata or {})
            self._stream = self._new_stream(crf, preset, x264_parameters, frame_rate, threads)
        except BaseException as error:
            self._cleanup.__exit__(type(error), error, error.__traceback__)
            raise

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, RGB uint8 [height, width, 3]."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise BadInputError(
                f"{self.path}: expected a frame {self.height}x{self.width}x3 of uint8, "
                f"got {frame.dtype} {frame.shape}"
            )
        self.write_yuv(to_yuv(frame))

    def write_yuv(self, picture: Any) -> None:
        """Append one frame that `to_yuv` has made; it must have the size of the video."""
        picture.pts = self.num_frames
        picture.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def close(self) -> None:
        """Finish the file and move it to its final name; raises BadInputError if no frame was written."""
        if self.num_frames == 0:
            self.abort()
            raise BadInputError(f"{self.path}: a video needs at least one frame")
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
        except BaseException as error:
            self._cleanup.__exit__(type(error), error, error.__traceback__)
            raise
        self._cleanup.close()

    def abort(self) -> None:
        """Drop the unfinished file, and at once: also where closing it fails, as on a full disk."""
        with suppress(av.error.FFmpegError, OSError):
            self._container.close()
        unfinished = InterruptedError("the video was not finished")
        with suppress(InterruptedError):
            self._cleanup.__exit__(InterruptedError, unfinished, None)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _new_stream(
        self, crf: int, preset: str, x264_parameters: str, frame_rate: Fraction, threads: int
    ) -> Any:
        options = {"crf": str(crf), "preset": preset, "flags": "+bitexact", **REPRODUCIBLE}
        if x264_parameters:
            options["x264-params"] += f":{x264_parameters}"
        stream = self._container.add_stream("libx264", rate=frame_rate, options=options)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        context.gop_size = KEY_FRAME_INTERVAL
        context.thread_count = threads
        context.time_base = 1 / frame_rate
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED_RANGE
        return stream


def to_yuv(frame: np.ndarray) -> Any:
    """An RGB uint8 [H, W, 3] frame as a decoded one in the form that is encoded: yuv420p, BT.709, limited range."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=_BT709,
        dst_color_range=_LIMITED_RANGE,
        interpolation=EXACT_COLOUR,
        threads=1,
    )


def write_wav(path: Path | str, waveform: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Write a mono waveform, float [S] in [-1, 1], as a 16-bit WAV file (values outside are clipped)."""
    samples_S = _in_16_bits(path, waveform)
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(sample_rate)
        stream.writeframes(samples_S.tobytes())


def write_flac(path: Path | str, waveform: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Write what ``write_wav`` would as a FLAC file: the same samples in some 60 % of the space."""
    samples_S = _in_16_bits(path, waveform)
    with atomic_path(path) as temporary, av.open(temporary, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=sample_rate, layout="mono", format="s16")
        if samples_S.size:
            frame = av.AudioFrame.from_ndarray(samples_S[None], format="s16", layout="mono")
            frame.sample_rate = sample_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _in_16_bits(path: Path | str, waveform: np.ndarray) -> np.ndarray:
    if waveform.ndim != 1:
        raise BadInputError(f"{path}: expected a mono waveform [S], got shape {waveform.shape}")
    samples_S: np.ndarray = np.clip(np.rint(np.asarray(waveform, dtype=np.float64) * 32768.0), -32768, 32767)
    return samples_S.astype("<i2")


def mux(
    video_path: Path | str,
    audio: np.ndarray | Path | str,
    out: Path | str,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Put sound under a video: the picture is copied untouched, the sound becomes AAC of exactly its length.

    Args:
        video_path: the picture.
        audio: a mono 16 kHz waveform, float [S], or a media file with sound (its rate and channels are kept).
        out: final name, written atomically.
        metadata: container tags, for example ``{"comment": "synthetic ..."}``.

    Sound shorter than the picture is followed by silence, longer sound is cut. Raises MediaError.
    """
    import ffmpeg

    duration_s = video_duration(video_path)
    stdin: bytes | None = None
    if isinstance(audio, np.ndarray):
        stdin = np.asarray(audio, dtype="<f4").tobytes()
        sound = ffmpeg.input("pipe:", format="f32le", ar=SAMPLE_RATE, ac=1).audio
    else:
        sound = input_file(audio).audio.filter("aresample", **{"async": 1, "first_pts": 0})
    sound = sound.filter("apad").filter("atrim", end=f"{float(duration_s):.6f}")
    # ffmpeg reads only the "g" (global) of the specifier; the number keeps the options apart.
    tags = {f"metadata:g:{i}": f"{key}={value}" for i, (key, value) in enumerate((metadata or {}).items())}
    with atomic_path(out) as temporary:
        output = ffmpeg.output(
            input_file(video_path).video,
            sound,
            file_argument(temporary),
            vcodec="copy",
            acodec="aac",
            audio_bitrate="128k",
            movflags="+faststart",
            map_metadata=-1,
            **{"flags:a": "+bitexact"},
            **tags,
        )
        run_ffmpeg(output, video_path, stdin=stdin)
        _check_lengths(temporary, duration_s)


def _check_lengths(path: Path, duration_s: Fraction) -> None:
    """Raise MediaError unless the sound of a finished file is as long as its picture, to one frame."""
    with opened_video(path) as (container, _), decoder_errors(path):
        sound = container.streams.audio[0]
        length_s = sound.duration * sound.time_base if sound.duration else Fraction(0)
    if abs(length_s - duration_s) >= 1 / FPS:
        raise MediaError(
            path, f"has {float(length_s):.3f} s of sound under {float(duration_s):.3f} s of picture"
        )
