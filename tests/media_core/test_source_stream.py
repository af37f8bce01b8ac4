"""One reading of a source: pictures and sound in step, whatever the container, and what goes wrong is counted."""

from __future__ import annotations

import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.decode import read_frames, read_wav
from lipforcing_core.media.encode import VideoWriter
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.picture import to_picture
from lipforcing_core.media.soundtrack import SoundTrack
from lipforcing_core.media.source_stream import SourceStream
from lipforcing_core.media.timeline import Jumps, StreamClock

from .conftest import counter_frame, tone
from .sources import (
    HEIGHT,
    WIDTH,
    X264,
    converted,
    events_of,
    ffmpeg,
    flash_and_beep,
    luma_of,
    number_in,
    read_numbers,
    write_numbers,
    write_pictures,
)

HALF_A_FRAME_S = 0.02
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


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_and_beep(tmp_path_factory.mktemp("master") / "master.mkv")


def in_step(path: Path, events_s: list[float], *, sound_path: Path | None = None) -> None:
    """Flashes are where they belong to one frame, and every beep begins within half a frame of its flash."""
    flashes, beeps = events_of(path, sound_path=sound_path)
    assert flashes == pytest.approx(events_s, abs=0.041)
    assert beeps == pytest.approx(flashes, abs=HALF_A_FRAME_S)


@pytest.mark.parametrize("name", FORMS)
def test_flash_and_beep_stay_together(master: Path, tmp_path: Path, name: str) -> None:
    path = converted(master, tmp_path / name, *FORMS[name])
    in_step(path, [1.0, 2.6])
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
    in_step(converted(master, path, *kept, *cut), [1.0, 2.6])


def test_a_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    """A second of sound is missing from 1.024 s on; what comes after it is where it belongs."""
    sound_S = tone(4.0)
    blocks = [i for i in range(63) if not 16 <= i < 32]
    kept = np.concatenate([sound_S[1024 * i : 1024 * (i + 1)] for i in blocks])
    frames = (counter_frame(k) for k in range(100))
    path = write_pictures(
        tmp_path / "a.mkv", frames, range(0, 4000, 40), sound=kept, sound_times=[1024 * i for i in blocks]
    )
    with SourceStream(path) as source:
        list(source.pictures())
        heard = source.tracks[0].folded
        assert source.sounding_frames == 100
    assert heard is not None
    wanted = sound_S.copy()
    wanted[16 * 1024 : 32 * 1024] = 0
    assert len(heard.waveform_S) == len(wanted)
    np.testing.assert_allclose(heard.waveform_S, wanted, atol=2e-4)


@pytest.mark.parametrize(("num_samples", "frames"), [(16_000, 25), (16_001, 26), (15_361, 25), (15_360, 24)])
def test_a_frame_that_has_begun_to_sound_counts(num_samples: int, frames: int, tmp_path: Path) -> None:
    sound_S = np.full(num_samples, 0.1, np.float32)
    with SourceStream(write_numbers(tmp_path / "a.mkv", list(range(0, 1200, 40)), sound=sound_S)) as source:
        assert len(list(source.pictures())) == 30
        assert source.sounding_frames == frames


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


def sound_track(blocks_at: list[tuple[int, np.ndarray]], rate: int = 16_000) -> np.ndarray:
    """What a track makes of blocks of mono sound, each due at a sample."""
    track = SoundTrack(SimpleNamespace(), StreamClock("sound", Jumps()))
    for start, block_S in blocks_at:
        frame = av.AudioFrame.from_ndarray(block_S[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
        track.add(frame)
    folded = track.finish()
    assert folded is not None
    return folded.waveform_S


def test_sound_that_overlaps_is_left_out() -> None:
    """The second half is stamped a quarter of a second too early: that much of it is dropped."""
    sound_S = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    heard = sound_track([(0, sound_S[:10_000]), (6_000, sound_S[10_000:])])
    np.testing.assert_allclose(heard, np.concatenate([sound_S[:10_000], sound_S[14_000:]]), atol=1e-4)


def test_an_overlap_longer_than_a_block_goes_on_into_the_next_one() -> None:
    sound_S = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    late = [(6_000 + i, sound_S[10_000 + i : 11_000 + i]) for i in range(0, 10_000, 1000)]
    heard = sound_track([(0, sound_S[:10_000]), *late])
    np.testing.assert_allclose(heard, np.concatenate([sound_S[:10_000], sound_S[14_000:]]), atol=1e-4)


@pytest.mark.parametrize(
    ("off", "length"), [(1500, 12_000), (1700, 13_700), (-1500, 12_000), (-1700, 10_300)]
)
def test_only_a_tenth_of_a_second_is_a_gap(off: int, length: int) -> None:
    """Blocks of 6000 samples at 16 kHz, the second off by some; a tenth of a second is 1600 samples."""
    block_S = np.full(6000, 0.25, np.float32)
    assert len(sound_track([(0, block_S), (6000 + off, block_S)])) == length


def test_small_errors_do_not_add_up_unseen() -> None:
    """Every block of 1600 samples lasts 1 % longer by its stamps: after 20 s that is 0.2 s, so silence came in."""
    block_S = np.full(1600, 0.25, np.float32)
    heard = sound_track([(1616 * i, block_S) for i in range(200)])
    assert len(heard) == pytest.approx(1616 * 200, abs=1700)
    assert (heard[320:] == 0).sum() == len(heard) - 1600 * 200


def test_the_rate_may_change_within_a_track() -> None:
    """A second at 16 kHz, then, stamped in its own samples, a second at 48 kHz that follows."""
    track = SoundTrack(SimpleNamespace(), StreamClock("sound", Jumps()))
    for rate in (16_000, 48_000):
        times = np.arange(rate) / rate
        wave = (0.5 * np.sin(2 * np.pi * 200 * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = (
            rate,
            Fraction(1, 16_000),
            0 if rate == 16_000 else 16_000,
        )
        track.add(frame)
    folded = track.finish()
    assert folded is not None
    wanted = 0.5 * np.sin(2 * np.pi * 200 * np.arange(32_000) / 16_000)
    assert len(folded.waveform_S) == 32_000
    np.testing.assert_allclose(folded.waveform_S[:31_900], wanted[:31_900], atol=0.02)


def test_rounded_time_stamps_of_sound_leave_no_seams(tmp_path: Path) -> None:
    """Matroska keeps milliseconds; a tone of 44.1 kHz comes through them as one smooth tone."""
    times = np.arange(44_100 * 3) / 44_100
    sound_S = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    path = write_numbers(tmp_path / "a.mkv", list(range(0, 3000, 40)), sound=sound_S, sound_rate=44_100)
    with SourceStream(path) as source:
        list(source.pictures())
        heard = source.tracks[0].folded
    assert heard is not None
    assert len(heard.waveform_S) == pytest.approx(48_000, abs=2)
    inner = heard.waveform_S[200:-200]
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(200, 200 + len(inner)) / 16_000)
    np.testing.assert_allclose(inner, wanted, atol=2e-3)


@pytest.mark.parametrize("other", [(), ("-vf", "scale=128:64"), ("-ac", "2", "-ar", "44100")])
def test_two_recordings_joined_stay_in_step(master: Path, tmp_path: Path, other: tuple[str, ...]) -> None:
    """``cat a.ts b.ts``: time stamps jump back, and size or sound may change; 4 s of each."""
    ts = (*X264, "-c:a", "aac")
    first = converted(master, tmp_path / "a.ts", *ts)
    second = converted(master, tmp_path / "b.ts", *ts, *other)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    in_step(joined, [1.0, 2.6, 5.0, 6.6])
    _, _, breaks = read_numbers_of_any(joined)
    assert breaks == pytest.approx([100], abs=2)


def read_numbers_of_any(path: Path) -> tuple[list[tuple[int, int]], int, list[int]]:
    """The sizes of all pictures, how many are invented, and which break."""
    with SourceStream(path) as source:
        pictures = [(p.shown.form.size, p.invented, p.index if p.breaks else None) for p in source.pictures()]
    sizes = [size for size, _, _ in pictures]
    return sizes, sum(p[1] for p in pictures), [index for *_, index in pictures if index is not None]


def test_another_size_begins_at_the_splice(master: Path, tmp_path: Path) -> None:
    first = converted(master, tmp_path / "a.ts", *X264, "-c:a", "aac")
    second = converted(master, tmp_path / "b.ts", *X264, "-c:a", "aac", "-vf", "scale=128:64")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    sizes, num_invented, breaks = read_numbers_of_any(joined)
    assert len(breaks) == 1
    assert sizes == [(WIDTH, HEIGHT)] * breaks[0] + [(128, 64)] * (len(sizes) - breaks[0])
    assert len(sizes) == pytest.approx(200, abs=3)
    assert num_invented <= 2


def test_another_size_breaks_where_the_time_stamps_go_on(master: Path, tmp_path: Path) -> None:
    first = converted(master, tmp_path / "a.ts", *X264, "-an")
    later = ("-an", "-vf", "scale=128:64", "-output_ts_offset", "4")
    second = converted(master, tmp_path / "b.ts", *X264, *later)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    sizes, num_invented, breaks = read_numbers_of_any(joined)
    assert (len(sizes), num_invented, breaks) == (200, 0, [100])


@pytest.mark.parametrize("where", ["both", "picture", "sound"])
def test_time_stamps_that_jump_ahead(tmp_path: Path, where: str) -> None:
    """After 2 s of 4 the stamps of one stream or of both are two hours ahead: nothing is invented or moved."""
    hours = 7200
    times = [40 * k + (1000 * hours if k >= 50 and where != "sound" else 0) for k in range(100)]
    sound_S = np.zeros(64_000, np.float32)
    for event in (16_000, 48_000):
        sound_S[event : event + 640] = 0.8
    ahead = 0 if where == "picture" else hours
    starts = [1024 * i + (16_000 * ahead if 1024 * i >= 32_000 else 0) for i in range(63)]
    frames = (np.full((HEIGHT, WIDTH, 3), 240 if k in (25, 75) else 20, np.uint8) for k in range(100))
    path = write_pictures(tmp_path / "a.nut", frames, times, sound=sound_S, sound_times=starts)
    in_step(path, [1.0, 3.0])
    sizes, num_invented, breaks = read_numbers_of_any(path)
    assert (len(sizes), num_invented) == (100, 0)
    assert breaks == ([] if where == "sound" else [50])


def test_a_separate_sound_file_is_heard_from_its_start(master: Path, tmp_path: Path) -> None:
    """As VoxCeleb2 keeps it: the picture in an mp4 without sound, the sound in an m4a."""
    picture = converted(master, tmp_path / "a.mp4", *X264, "-an")
    sound = converted(master, tmp_path / "a.m4a", "-c:a", "aac", "-vn")
    in_step(picture, [1.0, 2.6], sound_path=sound)
    with SourceStream(picture, sound_path=sound) as source:
        assert source.sounding_frames is None
        list(source.pictures())
        assert source.sounding_frames == pytest.approx(100, abs=2)


def test_two_files_have_a_start_each(master: Path, tmp_path: Path) -> None:
    """A transport stream starts at 1.4 s of its own clock, the sound beside it at 0."""
    picture = converted(master, tmp_path / "a.ts", *X264, "-an")
    in_step(picture, [1.0, 2.6], sound_path=converted(master, tmp_path / "a.wav", "-vn"))


def test_a_separate_sound_file_replaces_the_sound_of_the_picture(master: Path, tmp_path: Path) -> None:
    silent = converted(master, tmp_path / "a.mkv", *X264, "-af", "volume=0")
    in_step(silent, [1.0, 2.6], sound_path=converted(master, tmp_path / "a.wav", "-vn"))


def test_a_missing_sound_file_is_named(master: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.m4a.*no such file"):
        SourceStream(master, sound_path=tmp_path / "none.m4a")


def test_every_sound_track_is_collected_with_its_flags(master: Path, tmp_path: Path) -> None:
    path = converted(
        master, tmp_path / "a.mkv", "-map", "0:v", "-map", "0:a", "-map", "0:a", *X264, "-c:a", "aac",
        "-filter:a:0", "volume=0", "-metadata:s:a:1", "language=fra",
        "-disposition:a:0", "0", "-disposition:a:1", "default",
    )  # fmt: skip
    with SourceStream(path) as source:
        list(source.pictures())
        tracks = source.tracks
    assert [track.is_default for track in tracks] == [False, True]
    assert [track.language for track in tracks][1] == "fra"
    loudest = [float(np.abs(track.folded.waveform_S).max()) for track in tracks if track.folded is not None]
    assert loudest[0] == 0.0
    assert loudest[1] > 0.5


def test_no_sound_is_no_track(tmp_path: Path) -> None:
    with SourceStream(write_numbers(tmp_path / "a.mp4", list(range(0, 400, 40)))) as source:
        assert len(list(source.pictures())) == 10
        assert source.tracks == []
        assert source.sounding_frames == 0


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
    in_step(path, [1.0, 2.6])


def test_a_file_without_a_picture_is_refused(master: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no video"):
        SourceStream(converted(master, tmp_path / "a.m4a", "-vn", "-c:a", "aac"))


def test_a_truncated_file_gives_what_is_there(master: Path, tmp_path: Path) -> None:
    whole = converted(master, tmp_path / "a.mkv", *X264, "-g", "10", "-c:a", "aac")
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    sizes, num_invented, _ = read_numbers_of_any(cut)
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
    sizes, _, _ = read_numbers_of_any(path)
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


def test_a_slow_but_honest_source_is_read(tmp_path: Path) -> None:
    """One picture a second for 20 s: every second one index of its own and 24 repeated ones."""
    path = write_numbers(tmp_path / "a.mp4", list(range(0, 20_000, 1000)))
    numbers, invented, _ = read_numbers(path)
    assert numbers[: 19 * 25] == [k for k in range(19) for _ in range(25)]
    assert len([index for index in invented if index < 19 * 25]) == 19 * 24


@pytest.mark.parametrize("missing", ["picture", "sound"])
def test_a_long_hole_in_one_stream_leaves_it_in_step(tmp_path: Path, missing: str) -> None:
    """From 2 to 16 s one stream has nothing while the other goes on: that is no jump of its time stamps."""
    gone = [k for k in range(450) if missing == "picture" and 50 <= k < 400]
    kept = [k for k in range(450) if k not in gone]
    frames = (np.full((HEIGHT, WIDTH, 3), 240 if k in (25, 425) else 20, np.uint8) for k in kept)
    sound_S = np.zeros(18 * 16_000, np.float32)
    for event in (16_000, 17 * 16_000):
        sound_S[event : event + 640] = 0.8
    blocks = [i for i in range(282) if missing == "picture" or not 32 <= i < 250]
    left = np.concatenate([sound_S[1024 * i : 1024 * (i + 1)] for i in blocks])
    path = write_pictures(
        tmp_path / "a.mkv", frames, [40 * k for k in kept], sound=left, sound_times=[1024 * i for i in blocks]
    )
    in_step(path, [1.0, 17.0])
    _, num_invented, breaks = read_numbers_of_any(path)
    assert num_invented == len(gone)
    assert breaks == ([50, 400] if gone else [])


def test_pictures_that_last_for_hours_are_no_hours(tmp_path: Path) -> None:
    """Where the header is honest of itself but a length is not: 20 pictures after one of two hours."""
    times = [*range(0, 800, 40), *(7_200_000 + 40 * k for k in range(20))]
    numbers, invented, breaks = read_numbers(write_numbers(tmp_path / "a.mkv", times))
    assert numbers == list(range(40))
    assert (invented, breaks) == ([], [20])


def test_frames_without_time_stamps_follow_each_other(tmp_path: Path) -> None:
    """A raw H.264 stream has none of its own."""
    path = write_numbers(tmp_path / "a.mp4", list(range(0, 2000, 40)))
    raw = converted(path, tmp_path / "a.h264", "-c", "copy")
    assert read_numbers(raw)[0] == list(range(50))


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
