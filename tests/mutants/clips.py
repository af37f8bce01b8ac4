"""Small clips in the usual containers and codecs, from which damaged files are made."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np

from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.rig import PuppetScript, render
from lipforcing_core.puppets.speech import synthesise

SIZE = 160
NUM_FRAMES = 50
RATE = 25


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A container with a codec for the picture, and one for the sound or none.

    channels: of the sound. fragmented: whether an MP4 is written in fragments.
    """

    container: str
    picture: str
    sound: str | None
    channels: int = 1
    fragmented: bool = False

    @property
    def name(self) -> str:
        parts = (self.container, "fragments" if self.fragmented else "", self.picture, self.sound or "mute")
        return "-".join(filter(None, parts))


KINDS = (
    Kind(container="mp4", picture="h264", sound="aac"),
    Kind(container="mp4", picture="h264", sound="aac", fragmented=True),
    Kind(container="mp4", picture="mpeg4", sound=None),
    Kind(container="mov", picture="mpeg4", sound="pcm_s16le"),
    Kind(container="mov", picture="h264", sound="aac", channels=2),
    Kind(container="mkv", picture="h264", sound="pcm_s16le", channels=2),
    Kind(container="mkv", picture="mpeg4", sound="mp3"),
    Kind(container="webm", picture="vp9", sound="opus"),
    Kind(container="webm", picture="vp9", sound=None),
    Kind(container="avi", picture="mpeg4", sound="pcm_s16le"),
    Kind(container="ts", picture="h264", sound="aac"),
    Kind(container="ts", picture="mpeg4", sound="mp2"),
)

_FORMATS = {"mkv": "matroska", "ts": "mpegts"}
_ENCODERS = {"h264": "libx264", "vp9": "libvpx-vp9", "opus": "libopus", "mp3": "libmp3lame"}
_FAST = {
    "libx264": {"preset": "ultrafast", "g": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "g": "12"},
    "mpeg4": {"g": "12"},
}


@lru_cache
def pictures_FHW3(seed: int) -> np.ndarray:
    """Two seconds of a puppet that speaks, RGB uint8."""
    portrait = portrait_names()[seed % len(portrait_names())]
    script = PuppetScript(portrait=portrait, seed=seed, num_frames=NUM_FRAMES, size=SIZE)
    return np.stack(list(render(script, synthesise(seed, NUM_FRAMES / RATE))))


@lru_cache
def sound_S(seed: int) -> np.ndarray:
    """What it says: float32 at 48 kHz."""
    speech = synthesise(seed, NUM_FRAMES / RATE).waveform
    places = np.arange(NUM_FRAMES * 48_000 // RATE) / 3
    return np.interp(places, np.arange(len(speech)), speech).astype(np.float32)


@lru_cache
def clip(kind: Kind, seed: int = 0) -> bytes:
    """The bytes of a whole clip of a kind; another seed is another puppet with other words."""
    file = io.BytesIO()
    options = {"fflags": "+bitexact"}
    if kind.fragmented:
        options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
    name = _FORMATS.get(kind.container, kind.container)
    with av.open(file, "w", format=name, options=options) as container:
        picture = _picture_stream(container, kind)
        sound = _sound_stream(container, kind)
        packets = list(_packets(picture, sound, kind.channels, seed))
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            container.mux(packet)
    return file.getvalue()


def _picture_stream(container: Any, kind: Kind) -> Any:
    encoder = _ENCODERS.get(kind.picture, kind.picture)
    stream = container.add_stream(encoder, rate=RATE, options=_FAST[encoder] | {"flags": "+bitexact"})
    stream.width = stream.height = SIZE
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _sound_stream(container: Any, kind: Kind) -> Any | None:
    if kind.sound is None:
        return None
    layout = "stereo" if kind.channels == 2 else "mono"
    encoder = _ENCODERS.get(kind.sound, kind.sound)
    return container.add_stream(encoder, rate=48_000, layout=layout, options={"flags": "+bitexact"})


def _packets(picture: Any, sound: Any | None, channels: int, seed: int) -> Iterator[Any]:
    for number, rgb_HW3 in enumerate(pictures_FHW3(seed)):
        frame = av.VideoFrame.from_ndarray(rgb_HW3, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        yield from picture.encode(frame)
    yield from picture.encode()
    if sound is None:
        return
    samples = np.rint(sound_S(seed) * 32767).astype("<i2")
    for start in range(0, len(samples), 960):
        block = np.repeat(samples[start : start + 960], channels)[None]
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=sound.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        yield from sound.encode(frame)
    yield from sound.encode()
