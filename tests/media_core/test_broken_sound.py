"""Sound whose header lies, or that has many channels: it is heard or said to be broken, at no absurd cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.media.source_stream import SourceStream
from tests.mutants.clips import KINDS, clip
from tests.mutants.fields import fields_of

from .sources import converted, events_of, flash_and_beep


def changed(name: str, field: str, value: bytes, folder: Path) -> Path:
    """A clip of a kind with another value in one field of its header."""
    (kind,) = [kind for kind in KINDS if kind.name == name]
    data = bytearray(clip(kind))
    (place, *_) = [f for f in fields_of(kind.container, bytes(data)) if f.name == field]
    assert place.width == len(value)
    data[place.start : place.start + place.width] = value
    path = folder / f"a.{kind.container}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "field", "value", "words"),
    [
        ("mov-mpeg4-pcm_s16le", "sowt rate", b"\x00\x01\x00\x00", "sound of 1 samples a second"),
        ("mov-mpeg4-pcm_s16le", "sowt rate", b"\x07\xcf\x00\x00", "sound of 1999 samples a second"),
        ("mov-mpeg4-pcm_s16le", "sowt channels", b"\x00\xff", "Invalid argument"),
        ("mkv-h264-pcm_s16le", "Channels", b"\xff", "Invalid argument"),
        ("mkv-h264-pcm_s16le", "SamplingFrequency", b"\x40\x24" + bytes(6), "sound of 10 samples a second"),
        (
            "mkv-h264-pcm_s16le",
            "SamplingFrequency",
            b"\x41\xcd\xcd\x65" + bytes(4),
            "sound of 1000000000 samples a second",
        ),
    ],
)
def test_sound_that_cannot_be_meant_is_left_out_and_said(
    name: str, field: str, value: bytes, words: str, tmp_path: Path
) -> None:
    """A second of 16 000 samples at one a second would be hours of sound, and gigabytes of memory."""
    with SourceStream(changed(name, field, value, tmp_path)) as source:
        assert sum(1 for _ in source.pictures()) >= 25, (
            "libav stops at the end of the sound that it looks for"
        )
        assert [track.folded for track in source.tracks] == [None]
        assert words in source.complaint
        assert source.num_damaged > 0


@pytest.mark.parametrize("channels", ["08", "0c", "40"])
def test_many_channels_are_heard(channels: str, tmp_path: Path) -> None:
    """Two seconds of two channels are declared as more; nothing is read beyond what is there."""
    path = changed("mkv-h264-pcm_s16le", "Channels", bytes.fromhex(channels), tmp_path)
    with SourceStream(path) as source:
        assert sum(1 for _ in source.pictures()) == 50
        (track,) = source.tracks
        assert track.folded is not None
        assert len(track.folded.waveform_S) == pytest.approx(32_000, rel=0.05)


def test_speech_in_the_centre_of_eight_channels_stays_in_step(tmp_path: Path) -> None:
    plain = flash_and_beep(tmp_path / "a.mkv", events_s=(1.0, 2.6))
    path = converted(plain, tmp_path / "b.mkv", "-c:v", "copy", "-af", "pan=7.1|FC=c0", "-c:a", "pcm_s16le")
    flashes, beeps = events_of(path)
    assert flashes == pytest.approx([1.0, 2.6])
    assert beeps == pytest.approx([1.0, 2.6], abs=0.005)
