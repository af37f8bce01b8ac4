"""One reading of a source: pictures and sound in step, whatever the container, and what goes wrong is counted."""

from __future__ import annotations

import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.decode import read_frames, read_wav
from lipforcing_core.media.encode import VideoWriter
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.picture import to_picture
from lipforcing_core.media.source_stream import SourceStream
from lipforcing_core.media.timeline import GapLimits

from .conftest import counter_frame
from .sources import (
    HEIGHT,
    WIDTH,
    X264,
    assert_in_step,
    converted,
    ffmpeg,
    luma_of,
    number_in,
    read_numbers,
    sizes_of,
    write_numbers,
)

VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M")
FORMS = {
    "aac.mp4": (*X264, "-c:a", "aac"),
    "aac-b-frames.mp4": (*X264, "-bf", "3", "-c:a", "aac"),
    "mp3.mp4": (*X264, "-c:a", "libmp3lame"),
    "opus.mp4": (*X264, "-c:a", "libopus"),
    "pcm.mov": (*X264, "-c:a", "pcm_s16le"),
    "aac.mkv": (*X264, "-c:a", "aac"),
    "mp3.mkv": (*X264, "-c:a", "libmp3lame"),
    "opus.mkv": (*X264, "-c:a", "libopus"),
    "flac.mkv": (*X264, "-c:a", "flac"),
    "sound-first.mp4": ("-map", "0:a", "-map", "0:v", *X264, "-c:a", "aac"),
    "sound-first.mkv": ("-map", "0:a", "-map", "0:v", *X264, "-bf", "3", "-c:a", "libopus"),
    "aac.ts": (*X264, "-c:a", "aac"),
    "mp3.ts": (*X264, "-c:a", "libmp3lame"),
    "opus.webm": (*VP8, "-c:a", "libopus"),
    "mp3.avi": (*X264, "-bf", "0", "-c:a", "libmp3lame"),
    "pcm.avi": (*X264, "-bf", "0", "-c:a", "pcm_s16le"),
    "b-frames.avi": (*X264, "-bf", "2", "-c:a", "pcm_s16le"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "3", "-c:a", "pcm_s16le"),
    "aac.flv": (*X264, "-c:a", "aac", "-ar", "44100"),
    "44100.mp4": (*X264, "-c:a", "aac", "-ar", "44100"),
    "8000.mkv": (*X264, "-c:a", "pcm_s16le", "-ar", "8000"),
    "stereo.mp4": (*X264, "-c:a", "aac", "-ac", "2"),
}


@pytest.mark.parametrize("name", FORMS)
def test_flash_and_beep_stay_together(master: Path, tmp_path: Path, name: str) -> None:
    path = converted(master, tmp_path / name, *FORMS[name])
    assert_in_step(path, [1.0, 2.6])
    assert len(read_numbers(path)[0]) in ((100,) if path.suffix in (".mp4", ".mov", ".mkv") else (100, 101))


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("late", ["sound", "picture"])
def test_what_starts_late_is_in_step_all_the_same(
    master: Path, tmp_path: Path, container: str, late: str
) -> None:
    """0.6 s are cut from the start of one stream, the other keeps its own."""
    path = tmp_path / f"a.{container}"
    kept = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-copyts", "-start_at_zero")
    cut = ("-af", "atrim=start=0.6") if late == "sound" else ("-vf", "trim=start=0.6")
    assert_in_step(converted(master, path, *kept, *cut), [1.0, 2.6])


def test_pictures_that_come_too_fast_are_counted(tmp_path: Path) -> None:
    """Twenty pictures at 50 a second go to the indices 0 to 10, two to each from 1 to 9."""
    with SourceStream(write_numbers(tmp_path / "a.mkv", list(range(0, 400, 20)))) as source:
        assert len(list(source.pictures())) == 11
        assert source.num_dropped == 9


def test_the_first_complaint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong afterwards mostly follows from it."""

    class Packet:
        def __init__(self, stream: Any, words: str) -> None:
            self.stream, self._words = stream, words

        def decode(self) -> list[Any]:
            raise av.error.InvalidDataError(1, self._words)

    with SourceStream(write_numbers(tmp_path / "a.mkv", [0, 40])) as source:
        packets = [Packet(source._video, words) for words in ("first", "second")]
        monkeypatch.setattr(source, "_packets", lambda *_: iter(packets))
        assert list(source.pictures()) == []
        assert (source.complaint, source.num_damaged) == ("first", 2)


@pytest.mark.parametrize("flag", [("-disposition:v:0", "attached_pic"), ("-disposition:v:0", "0")])
@pytest.mark.parametrize("order", ["first", "last"])
def test_a_cover_picture_is_passed_over(
    master: Path, tmp_path: Path, flag: tuple[str, str], order: str
) -> None:
    cover = tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=320x200", "-frames:v", "1", cover)
    maps = ("-map", "1:v", "-map", "0") if order == "first" else ("-map", "0", "-map", "1:v")
    flag = flag if order == "first" else (flag[0].replace("0", "1"), flag[1])
    path = tmp_path / "a.mp4"
    moving = 1 if order == "first" else 0
    ffmpeg(
        "-i", master, "-i", cover, *maps, f"-c:v:{moving}", "libx264", f"-c:v:{1 - moving}", "png",
        "-preset", "ultrafast", "-c:a", "aac", *flag, path,
    )  # fmt: skip
    assert_in_step(path, [1.0, 2.6])


def test_a_file_without_a_picture_is_refused(master: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no video"):
        SourceStream(converted(master, tmp_path / "a.m4a", "-vn", "-c:a", "aac"))


def test_a_truncated_file_gives_what_is_there(master: Path, tmp_path: Path) -> None:
    whole = converted(master, tmp_path / "a.mkv", *X264, "-g", "10", "-c:a", "aac")
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    sizes, num_invented, _ = sizes_of(cut)
    assert 20 < len(sizes) < 90
    assert num_invented <= 1


def test_damaged_packets_are_counted_and_passed_over(tmp_path: Path) -> None:
    """Whole packets of the picture are overwritten; the pictures around them are where they were."""
    path = write_numbers(tmp_path / "a.mp4", list(range(0, 4000, 40)), codec="mjpeg")
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for damaged in (30, 31):
        place, size = places[damaged]
        data[place : place + size] = bytes(size)
    path.write_bytes(data)
    with SourceStream(path) as source:
        pictures = [(number_in(luma_of(p.shown.frame)), p.invented) for p in source.pictures()]
        assert source.num_damaged == 2
        assert source.complaint
    wanted = [(29, True) if k in (30, 31) else (k, False) for k in range(100)]
    assert pictures == wanted


def test_flipped_bytes_do_not_end_the_pass(master: Path, tmp_path: Path) -> None:
    path = converted(master, tmp_path / "a.mp4", *X264, "-g", "10", "-c:a", "aac", "-movflags", "+faststart")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    start = data.index(b"mdat") + 4
    for place in rng.integers(start, len(data), size=60):
        data[place] ^= 0xFF
    path.write_bytes(data)
    sizes, _, _ = sizes_of(path)
    assert len(sizes) > 60


def test_one_changed_byte_that_declares_hours_is_refused_at_once(tmp_path: Path) -> None:
    """The 40 frames of 1.6 s declare 11 hours after a change of one byte in ``stts``."""
    path = write_numbers(tmp_path / "a.mp4", list(range(0, 1600, 40)))
    data = bytearray(path.read_bytes())
    place = (
        data.index(b"stts") + 4 * 4
    )  # the name, the flags, the number of entries, the frames of the first one
    assert data[place : place + 4] == (640).to_bytes(4, "big")
    data[place] = 1
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"hours for 40 frames; its header is wrong"):
        SourceStream(path)


def test_an_interlaced_source_is_deinterlaced_as_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=50:duration=2", "-vf", "interlace=scan=tff",
        "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-flags", "+ildct+ilme", path,
    )  # fmt: skip
    raw = ffmpeg(
        "-i",
        path,
        "-vf",
        "bwdif=mode=send_frame:deint=interlaced",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-",
    )
    wanted = np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT * WIDTH * 3 // 2)[:, : HEIGHT * WIDTH]
    with SourceStream(path) as source:
        lumas = [luma_of(p.shown.frame).copy() for p in source.pictures()]
    assert len(lumas) == 50
    difference = np.abs(np.stack(lumas).reshape(50, -1).astype(int) - wanted)
    assert difference.max() <= 4  # versions of the filter round differently at the border
    assert (difference > 0).mean() < 1e-3


def test_a_rotated_source_is_upright(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "a.mp4", list(range(0, 400, 40)))
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", path, "-c", "copy", turned)
    with SourceStream(turned) as source:
        pictures = [to_picture(p.shown.frame, p.shown.form) for p in source.pictures()]
    assert len(pictures) == 10
    assert pictures[7].shape == (WIDTH, HEIGHT, 3)
    back = np.rot90(pictures[7], -1)
    assert np.abs(back.astype(int) - counter_frame(7)).mean() < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", ()),
        ("30.mp4", ("-r", "30")),
        ("ten-bits.mkv", ("-pix_fmt", "yuv420p10le")),
        ("444.mkv", ("-pix_fmt", "yuv444p")),
        ("stereo.mp4", ("-ac", "2", "-ar", "44100")),
        ("odd.mkv", ("-vf", "crop=159:95:0:0", "-pix_fmt", "yuv444p")),
    ],
)
def test_an_ordinary_file_is_what_normalise_makes_of_it(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    """The same number of pictures, the same sound within rounding, the same colours within a few levels."""
    path = tmp_path / name
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25:duration=2,gblur=sigma=4", "-f", "lavfi", "-i",
        "sine=frequency=300:duration=2:sample_rate=48000", *X264, "-qp", "4",
        "-c:a", "flac" if ".mkv" in name else "aac",
        *options, "-shortest", path,
    )  # fmt: skip
    info = normalise(path, tmp_path / "n.mp4", tmp_path / "n.wav")
    pictures = read_frames(tmp_path / "n.mp4")
    with SourceStream(path) as source:
        ours = np.stack([to_picture(p.shown.frame, p.shown.form) for p in source.pictures()])
        heard = source.tracks[0].folded
    assert len(ours) == info.num_frames
    assert np.abs(ours.astype(int) - pictures).mean() < 3
    assert heard is not None
    wanted = read_wav(tmp_path / "n.wav")
    shorter = min(len(wanted), len(heard.waveform_S))
    assert abs(len(wanted) - len(heard.waveform_S)) <= 640
    np.testing.assert_allclose(heard.waveform_S[400 : shorter - 400], wanted[400 : shorter - 400], atol=5e-3)


def test_memory_does_not_grow_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1500 pictures of a minute at most three are held at any time, and no packet gives more than 24 frames."""
    path = tmp_path / "minute.mp4"
    with VideoWriter(path, width=64, height=48, preset="ultrafast") as writer:
        for k in range(1500):
            writer.write(np.full((48, 64, 3), k % 200, np.uint8))
    decoded: list[int] = []
    decode = SourceStream._decoded

    def counted(source: SourceStream, packet: Any) -> list[Any]:
        frames = decode(source, packet)
        decoded.append(len(frames))
        return frames

    monkeypatch.setattr(SourceStream, "_decoded", counted)
    alive: set[int] = set()
    most = 0
    with SourceStream(path) as source:
        for shown in source.pictures():
            if id(shown.shown) not in alive:
                alive.add(id(shown.shown))
                weakref.finalize(shown.shown, alive.discard, id(shown.shown))
            most = max(most, len(alive))
    assert sum(decoded) == 1500
    assert max(decoded) <= 24
    assert most <= 3


def test_the_time_of_a_frame_is_that_of_the_file(tmp_path: Path) -> None:
    with SourceStream(write_numbers(tmp_path / "a.mkv", list(range(0, 3000, 40)))) as source:
        assert source.frame_s == Fraction(1, 25)
        assert float(source.declared_s) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    ("gaps", "length", "breaks"),
    [
        (GapLimits(), 90, [20, 70]),
        (GapLimits(max_hole_frames=50), 90, []),
        (GapLimits(max_gap_s=Fraction(1)), 40, [20]),
        (GapLimits(max_gap_s=Fraction(2)), 90, [20, 70]),
    ],
)
def test_what_becomes_of_two_seconds_without_a_picture_is_said(
    gaps: GapLimits, length: int, breaks: list[int], tmp_path: Path
) -> None:
    """They are filled and stand apart, or are filled within the shot, or two recordings are joined there."""
    times = [40 * k for k in (*range(20), *range(70, 90))]
    with SourceStream(write_numbers(tmp_path / "a.mkv", times), gaps=gaps) as source:
        pictures = [(shown.index, shown.breaks) for shown in source.pictures()]
    assert [index for index, _ in pictures] == list(range(length))
    assert [index for index, breaks in pictures if breaks] == breaks
