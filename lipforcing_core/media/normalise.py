"""Bring any video to the house's form without a lossy encode: 25 fps, upright, even size, 16 kHz mono.

One ffmpeg run decodes the source once. The picture is stored lossless (x264, qp 0) as yuv420p, BT.709,
limited range; only sources of another colour form, pixel shape or frame rate change at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.media.clock import FPS, SAMPLE_RATE
from lipforcing_core.media.decode import presentation_times, read_wav
from lipforcing_core.media.ffmpeg import file_argument, first_line, input_file, run_ffmpeg
from lipforcing_core.media.probe import probe


@dataclass(frozen=True, kw_only=True)
class NormalisedInfo:
    """What `normalise` wrote. ``num_samples`` is 0 without sound; ``decoder_message`` holds complaints."""

    num_frames: int
    num_samples: int
    width: int
    height: int
    decoder_message: str = ""


def normalise(src: Path | str, video_out: Path | str, audio_out: Path | str | None) -> NormalisedInfo:
    """Write ``src`` as 25 fps lossless H.264 to ``video_out`` and as 16 kHz mono WAV to ``audio_out``.

    Frame 0 and sample 0 are the start of the source's time line: whichever starts later is preceded by its
    first frame or by silence, so the two stay in step. A variable rate becomes constant by repeating or
    dropping frames. Interlaced frames are deinterlaced. An odd size loses its last row or column.
    ``audio_out`` may be None, and is not written for a source without sound. Raises MediaError.
    """
    src, video_out = Path(src), Path(video_out)
    info = probe(src)
    wants_sound = audio_out is not None and info.has_audio
    with atomic_path(video_out) as video_temporary:
        source = input_file(src)
        output = _video_output(source, video_temporary)
        if not wants_sound:
            _, message = run_ffmpeg(output, src)
        else:
            assert audio_out is not None
            with atomic_path(audio_out) as audio_temporary:
                both = ffmpeg.merge_outputs(output, _audio_output(source, audio_temporary))
                _, message = run_ffmpeg(both, src)
                if not audio_temporary.is_file():
                    raise MediaError(src, "its sound cannot be decoded", first_line(message))
        num_frames = len(presentation_times(video_temporary))
        stored = probe(video_temporary)
    return NormalisedInfo(
        num_frames=num_frames,
        num_samples=len(read_wav(audio_out)) if wants_sound and audio_out is not None else 0,
        width=stored.width,
        height=stored.height,
        decoder_message=first_line(message),
    )


def _video_output(source: Any, path: Path) -> Any:
    # ffmpeg has already turned the picture upright when it reaches the first filter.
    picture = (
        source.video.filter("bwdif", mode="send_frame", deint="interlaced")
        .filter("fps", fps=int(FPS), start_time=0)
        .filter(
            "scale",
            w="max(2,trunc(iw*sar/2)*2)",
            h="max(2,trunc(ih/2)*2)",
            out_color_matrix="bt709",
            out_range="tv",
            flags="bicubic+accurate_rnd+full_chroma_int",
        )
        .filter("setsar", 1)
    )
    return picture.output(
        file_argument(path),
        vcodec="libx264",
        preset="ultrafast",
        qp=0,
        g=int(FPS),
        threads=1,
        pix_fmt="yuv420p",
        colorspace="bt709",
        color_primaries="bt709",
        color_trc="bt709",
        color_range="tv",
        fps_mode="cfr",
        video_track_timescale=12800,
        map_metadata=-1,
    )


def _audio_output(source: Any, path: Path) -> Any:
    sound = source.audio.filter("aresample", SAMPLE_RATE, **{"async": 1, "first_pts": 0})
    return sound.output(file_argument(path), acodec="pcm_s16le", ac=1, ar=SAMPLE_RATE, map_metadata=-1)
