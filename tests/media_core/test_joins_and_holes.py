"""Recordings that were joined, time stamps that jump or are missing, and holes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.source_stream import SourceStream

from .sources import (
    HEIGHT,
    WIDTH,
    X264,
    assert_in_step,
    converted,
    joined,
    read_numbers,
    sizes_of,
    write_numbers,
    write_pictures,
)


@pytest.mark.parametrize("other", [(), ("-vf", "scale=128:64"), ("-ac", "2", "-ar", "44100")])
def test_two_recordings_joined_stay_in_step(master: Path, tmp_path: Path, other: tuple[str, ...]) -> None:
    """``cat a.ts b.ts``: time stamps jump back, and size or sound may change; 4 s of each."""
    ts = (*X264, "-c:a", "aac")
    first = converted(master, tmp_path / "a.ts", *ts)
    second = converted(master, tmp_path / "b.ts", *ts, *other)
    path = joined(first, second, tmp_path / "joined.ts")
    assert_in_step(path, [1.0, 2.6, 5.0, 6.6])
    _, _, breaks = sizes_of(path)
    assert breaks == pytest.approx([100], abs=2)


def test_another_size_begins_at_the_splice(master: Path, tmp_path: Path) -> None:
    first = converted(master, tmp_path / "a.ts", *X264, "-c:a", "aac")
    second = converted(master, tmp_path / "b.ts", *X264, "-c:a", "aac", "-vf", "scale=128:64")
    sizes, num_invented, breaks = sizes_of(joined(first, second, tmp_path / "joined.ts"))
    assert len(breaks) == 1
    assert sizes == [(WIDTH, HEIGHT)] * breaks[0] + [(128, 64)] * (len(sizes) - breaks[0])
    assert len(sizes) == pytest.approx(200, abs=3)
    assert num_invented <= 2


@pytest.mark.parametrize("codec", [X264, ("-c:v", "mpeg2video")])
@pytest.mark.parametrize("interlaced", [(), ("-flags", "+ilme+ildct")])
def test_pixels_of_another_shape_begin_at_the_splice(
    master: Path, tmp_path: Path, codec: tuple[str, ...], interlaced: tuple[str, ...]
) -> None:
    """The coded size is the same, 160 x 96, once for a screen of 16:9 and then for one of 4:3: nothing is stretched."""
    ts = (*codec, *interlaced, "-bf", "2", "-an", "-vf")
    first = converted(master, tmp_path / "a.ts", *ts, "setdar=16/9")
    second = converted(master, tmp_path / "b.ts", *ts, "setdar=4/3")
    sizes, _, breaks = sizes_of(joined(first, second, tmp_path / "joined.ts"))
    assert len(breaks) == 1
    assert sizes == [(170, HEIGHT)] * breaks[0] + [(128, HEIGHT)] * (len(sizes) - breaks[0])
    assert breaks[0] == pytest.approx(100, abs=2)


def test_a_container_that_states_the_shape_of_pixels_is_believed(master: Path, tmp_path: Path) -> None:
    """As by players: an MP4 file has one shape, whatever its coded pictures say."""
    coded = converted(master, tmp_path / "a.mp4", *X264, "-an", "-vf", "setsar=2")
    path = converted(coded, tmp_path / "b.mp4", "-c", "copy", "-aspect", f"{WIDTH}:{HEIGHT}")
    sizes, _, _ = sizes_of(path)
    assert set(sizes) == {(WIDTH, HEIGHT)}


def test_another_size_breaks_where_the_time_stamps_go_on(master: Path, tmp_path: Path) -> None:
    first = converted(master, tmp_path / "a.ts", *X264, "-an")
    later = ("-an", "-vf", "scale=128:64", "-output_ts_offset", "4")
    second = converted(master, tmp_path / "b.ts", *X264, *later)
    sizes, num_invented, breaks = sizes_of(joined(first, second, tmp_path / "joined.ts"))
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
    assert_in_step(path, [1.0, 3.0])
    sizes, num_invented, breaks = sizes_of(path)
    assert (len(sizes), num_invented) == (100, 0)
    assert breaks == ([] if where == "sound" else [50])


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
    assert_in_step(path, [1.0, 17.0])
    _, num_invented, breaks = sizes_of(path)
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


@pytest.mark.parametrize(
    ("name", "times", "late"),
    [("a.mkv", [0] * 60, 59), ("a.ts", [0] * 60, 59), ("a.mkv", [0] * 30 + [40] * 30, 58)],
)  # fmt: skip
def test_pictures_that_all_have_the_same_time_are_refused(
    name: str, times: list[int], late: int, tmp_path: Path
) -> None:
    """Nobody knows when they are due: they are 60, and would be shown as one or two."""
    path = write_numbers(tmp_path / name, times)
    words = f"useless time stamps: {late} of its 60 pictures are stamped no later than one before"
    with pytest.raises(MediaError, match=words):
        sizes_of(path)


@pytest.mark.parametrize("bframes", [0, 2])
def test_a_table_of_lengths_that_are_all_zero_is_refused(bframes: int, tmp_path: Path) -> None:
    """Some would be read as two seconds a frame, and some, whose order is stored apart, as the time of one frame."""
    path = write_numbers(tmp_path / "a.mp4", [40 * k for k in range(50)])
    path = converted(path, tmp_path / "b.mp4", "-c:v", "libx264", "-bf", str(bframes))
    content = bytearray(path.read_bytes())
    table = content.index(b"stts")
    num_entries = int.from_bytes(content[table + 8 : table + 12], "big")
    for entry in range(num_entries):
        length = table + 16 + 8 * entry
        content[length : length + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(MediaError, match="useless time stamps: all of its 50 frames are due at once"):
        sizes_of(path)


@pytest.mark.parametrize("fast", [2, 4, 8, 16])
def test_a_fast_camera_on_a_slow_clock_is_read(
    fast: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stamps of 25 a second for 50 to 400 pictures a second: of those with one time the last is shown."""
    path = write_numbers(tmp_path / "a.mkv", [40 * (k // fast) for k in range(12 * fast)])
    monkeypatch.setattr(SourceStream, "frame_s", Fraction(1, 25 * fast))  # what the writer tells is 1/25
    numbers, invented, _ = read_numbers(path)
    assert (numbers, invented) == ([fast * k + fast - 1 for k in range(12)], [])


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_one_picture_has_no_time_in_common_with_another(name: str, tmp_path: Path) -> None:
    assert read_numbers(write_numbers(tmp_path / name, [0]))[0] == [0]
