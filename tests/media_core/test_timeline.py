"""The time line of 25 frames a second: against ffmpeg's own filter, and by hand where it does more."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.media.timeline import (
    MAX_CORRECTIONS,
    MAX_HOLE_FRAMES,
    Jumps,
    Placed,
    StreamClock,
    Timeline,
)

from .sources import numbers_of_filter_fps, read_numbers, write_numbers

RATES = {
    "10": Fraction(10),
    "16": Fraction(16),
    "23.976": Fraction(24000, 1001),
    "24": Fraction(24),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "60": Fraction(60),
}
HALF = Fraction(1, 2)


def on_the_line(
    times_s: list[Fraction], end_s: Fraction, max_hole_frames: int = MAX_HOLE_FRAMES
) -> list[Placed[int]]:
    """The time line of pictures that are numbered from 0."""
    timeline: Timeline[int] = Timeline(max_hole_frames)
    placed = [shown for k, time_s in enumerate(times_s) for shown in timeline.add(k, time_s)]
    return placed + list(timeline.finish(end_s))


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
def test_constant_rates_are_resampled_as_by_ffmpeg(tmp_path: Path, rate: Fraction) -> None:
    times = [k * rate.denominator for k in range(int(3 * rate))]
    path = write_numbers(tmp_path / "a.mkv", times, ticks=rate.numerator)
    assert read_numbers(path)[0] == numbers_of_filter_fps(path)


@pytest.mark.parametrize("seed", range(3))
def test_a_variable_rate_is_resampled_as_by_ffmpeg(tmp_path: Path, seed: int) -> None:
    steps = np.random.default_rng(seed).choice([7, 20, 33, 40, 41, 67, 120, 250], size=60)
    path = write_numbers(tmp_path / "a.mp4", np.cumsum(steps).tolist())
    assert read_numbers(path)[0] == numbers_of_filter_fps(path)


@pytest.mark.parametrize("delay_ms", [240, 2000])
def test_a_picture_that_starts_late_is_shown_ahead_of_its_time(tmp_path: Path, delay_ms: int) -> None:
    """As by ffmpeg, the first picture fills the time before it; here it is marked, and stands apart if that is long."""
    times = [delay_ms + 40 * k for k in range(20)]
    path = write_numbers(tmp_path / "a.mkv", times, sound=np.zeros(16_000 * 3, np.float32))
    numbers, invented, breaks = read_numbers(path)
    before = delay_ms // 40
    assert numbers == numbers_of_filter_fps(path) == [0] * before + list(range(20))
    assert invented == list(range(before))
    assert breaks == ([before] if before > MAX_HOLE_FRAMES else [])


def test_a_picture_hours_after_the_end_of_the_sound_is_not_waited_for(tmp_path: Path) -> None:
    """One wrong byte in a time stamp would otherwise invent ninety thousand pictures."""
    times = [3_600_000 + 40 * k for k in range(20)]
    path = write_numbers(tmp_path / "a.mkv", times, sound=np.zeros(16_000, np.float32))
    assert read_numbers(path) == ([*range(20)], [], [])


def test_a_hole_is_filled_marked_and_set_apart(tmp_path: Path) -> None:
    """Of 1.5 s without a picture 37.5 steps of 40 ms pass, so 37 pictures are invented."""
    times = [40 * k for k in range(25)] + [960 + 1520 + 40 * k for k in range(25)]
    path = write_numbers(tmp_path / "a.mp4", times)
    numbers, invented, breaks = read_numbers(path)
    assert numbers == [*range(25), *[24] * 37, *range(25, 50)]
    assert invented == list(range(25, 62))
    assert breaks == [25, 62]


@pytest.mark.parametrize(("hole", "breaks"), [(12, []), (13, [6, 19])])
def test_a_hole_of_half_a_second_does_not_stand_apart(hole: int, breaks: list[int]) -> None:
    indices = [*range(6), *range(6 + hole, 12 + hole)]
    placed = on_the_line([Fraction(i, 25) for i in indices], Fraction(12 + hole, 25))
    assert [shown.index for shown in placed] == list(range(12 + hole))
    assert [shown.index for shown in placed if shown.invented] == list(range(6, 6 + hole))
    assert [shown.index for shown in placed if shown.breaks] == breaks


@pytest.mark.parametrize(("limit", "breaks"), [(0, [6, 10]), (3, [6, 10]), (4, []), (100, [])])
def test_how_long_a_hole_may_be_is_said(limit: int, breaks: list[int]) -> None:
    """Four frames are missing; the last picture is held for as many frames as a hole may have."""
    times = [Fraction(i, 25) for i in (*range(6), *range(10, 16))]
    placed = on_the_line(times, Fraction(60, 25), limit)
    assert [shown.index for shown in placed if shown.breaks] == breaks
    assert len(placed) == 16 + min(limit, 44)
    late = on_the_line([Fraction(4, 25)], Fraction(5, 25), limit)
    assert [shown.index for shown in late if shown.breaks] == ([4] if breaks else [])


def test_of_pictures_for_one_index_the_last_is_shown_and_the_others_are_counted() -> None:
    timeline: Timeline[str] = Timeline()
    placed = []
    for name, time_ms in [("a", 0), ("b", 15), ("c", 40), ("d", 41), ("e", 59), ("f", 60)]:
        placed += list(timeline.add(name, Fraction(time_ms, 1000)))
    placed += list(timeline.finish(Fraction(100, 1000)))
    assert [(shown.index, shown.shown) for shown in placed] == [(0, "b"), (1, "e"), (2, "f")]
    assert timeline.num_dropped == 3


def test_a_break_survives_a_picture_that_comes_too_late_to_be_shown() -> None:
    """The first picture of the second recording lies before the last one of the first, and is dropped."""
    timeline: Timeline[str] = Timeline()
    placed = list(timeline.add("a", Fraction(0)))
    placed += list(timeline.add("b", Fraction(80, 1000)))
    placed += list(timeline.add("c", Fraction(40, 1000), breaks=True))
    placed += list(timeline.add("d", Fraction(120, 1000)))
    placed += list(timeline.add("e", Fraction(160, 1000)))
    placed += list(timeline.finish(Fraction(200, 1000)))
    breaks = [(shown.shown, shown.breaks) for shown in placed]
    assert breaks == [("a", False), ("a", False), ("b", False), ("d", True), ("e", False)]


def test_a_break_survives_the_picture_that_replaces_it() -> None:
    timeline: Timeline[str] = Timeline()
    placed = list(timeline.add("a", Fraction(0)))
    placed += list(timeline.add("b", Fraction(40, 1000), breaks=True))
    placed += list(timeline.add("c", Fraction(45, 1000)))
    placed += list(timeline.finish(Fraction(80, 1000)))
    assert [(shown.shown, shown.breaks) for shown in placed] == [("a", False), ("c", True)]


@pytest.mark.parametrize(
    ("end_ms", "shown"), [(0, 1), (40, 1), (59, 1), (60, 2), (520, 13), (560, 13), (9000, 13)]
)
def test_the_last_picture_is_shown_to_the_end_but_for_no_longer_than_half_a_second(
    end_ms: int, shown: int
) -> None:
    placed = on_the_line([Fraction(0)], Fraction(end_ms, 1000))
    assert [picture.index for picture in placed] == list(range(shown))
    assert [picture.invented for picture in placed] == [False, *[True] * (shown - 1)]
    assert not any(picture.breaks for picture in placed)


def test_nothing_comes_of_nothing() -> None:
    assert list(Timeline[int]().finish(Fraction(5))) == []


@given(st.lists(st.integers(-200, 700), min_size=1, max_size=60))
def test_every_index_comes_once_and_in_order(steps_ms: list[int]) -> None:
    times = [Fraction(sum(steps_ms[: k + 1]), 1000) for k in range(len(steps_ms))]
    placed = on_the_line(times, max(times))
    assert [shown.index for shown in placed] == list(range(len(placed)))
    own = [shown.shown for shown in placed if not shown.invented]
    assert own == sorted(set(own))


def place_all(clock: StreamClock, times_s: list[float]) -> list[tuple[float, bool]]:
    placed = [clock.place(Fraction(time_s).limit_denominator(1000), HALF) for time_s in times_s]
    return [(float(place_s), jumped) for place_s, jumped in placed]


def test_time_stamps_that_jump_go_on_where_they_were() -> None:
    """Things of half a second each: back to 0, then ahead by an hour; a gap of three seconds is none."""
    clock = StreamClock("picture", Jumps())
    placed = place_all(clock, [0, 0.5, 3.5, 0, 0.5, 3600, 3600.5])
    assert placed == [
        (0, False),
        (0.5, False),
        (3.5, False),
        (4, True),
        (4.5, False),
        (5, True),
        (5.5, False),
    ]


@pytest.mark.parametrize(("stamp_s", "jumps"), [(0.5, False), (0.499, True), (11, False), (11.001, True)])
def test_where_a_jump_begins(stamp_s: float, jumps: bool) -> None:
    """The first second is over at 1; half a second back and ten seconds ahead are still no jumps."""
    clock = StreamClock("picture", Jumps())
    assert place_all(clock, [0, 0.5, stamp_s])[2][1] is jumps


@pytest.mark.parametrize(("stamp_s", "jumps"), [(3, False), (3.001, True), (11, True)])
def test_how_far_ahead_a_jump_begins_is_said(stamp_s: float, jumps: bool) -> None:
    clock = StreamClock("picture", Jumps(max_gap_s=Fraction(2)))
    assert place_all(clock, [0, 0.5, stamp_s])[2][1] is jumps


@pytest.mark.parametrize(("stamp_s", "jumps"), [(4, False), (4.001, True)])
def test_where_another_stream_has_come_near_a_hole_is_none_of_the_jumps(stamp_s: float, jumps: bool) -> None:
    """Sound has come to 2 s, so what the picture has up to 2 s beyond that is a hole."""
    limits = Jumps(max_gap_s=Fraction(2))
    picture, sound = StreamClock("picture", limits), StreamClock("sound 1", limits)
    place_all(sound, [0, 0.5, 1.0, 1.5])
    assert place_all(picture, [0, stamp_s])[1][1] is jumps


def test_streams_that_jump_together_stay_together() -> None:
    """Sound lasts 0.2 s longer than the picture before a splice: it goes on in step after it, not at its own end."""
    jumps = Jumps()
    picture, sound = (StreamClock(name, jumps, zero_s=Fraction(100)) for name in ("picture", "sound 1"))
    assert place_all(picture, [100, 100.5, 20]) == [(0, False), (0.5, False), (1, True)]
    assert place_all(sound, [100.2, 100.7, 20.3]) == [(0.2, False), (0.7, False), (1.3, True)]


@pytest.mark.parametrize(("stamp_s", "place"), [(10, (10, False)), (10.001, (0, True)), (1e6, (0, True))])
def test_a_first_stamp_far_from_the_start_is_a_jump(stamp_s: float, place: tuple[float, bool]) -> None:
    clock = StreamClock("picture", Jumps())
    assert place_all(clock, [stamp_s])[0] == place


def test_a_picture_that_begins_after_a_minute_of_sound_stays_where_it_is() -> None:
    jumps = Jumps()
    picture, sound = StreamClock("picture", jumps), StreamClock("sound 1", jumps)
    place_all(sound, [k / 2 for k in range(110)])
    assert place_all(picture, [60, 60.5]) == [(60, False), (60.5, False)]


def test_streams_that_both_begin_late_stay_together() -> None:
    jumps = Jumps()
    picture, sound = StreamClock("picture", jumps), StreamClock("sound 1", jumps)
    assert place_all(picture, [5000, 5000.5]) == [(0, True), (0.5, False)]
    assert place_all(sound, [5000.2, 5000.7]) == [(0.2, True), (0.7, False)]


def test_a_stream_that_jumps_again_and_again_stays_cheap() -> None:
    """As where every time stamp is nonsense: what is kept to compare with does not grow."""
    jumps = Jumps()
    clock = StreamClock("picture", jumps)
    for k in range(2000):
        clock.place(Fraction(1000 * (k % 2)), HALF)
    assert len(jumps._corrections) == MAX_CORRECTIONS


def test_a_stream_that_jumps_alone_is_corrected_alone() -> None:
    jumps = Jumps()
    picture, sound = StreamClock("picture", jumps), StreamClock("sound 1", jumps)
    assert place_all(picture, [0, 0.5, 3600])[2] == (1, True)
    assert place_all(sound, [0, 0.5, 1]) == [(0, False), (0.5, False), (1, False)]


def test_the_start_of_the_file_is_subtracted() -> None:
    clock = StreamClock("picture", Jumps(), zero_s=Fraction(7))
    assert place_all(clock, [7, 7.5]) == [(0, False), (0.5, False)]


def test_several_splices_in_a_row_keep_the_streams_in_step() -> None:
    jumps = Jumps()
    picture, sound = StreamClock("picture", jumps), StreamClock("sound 1", jumps)
    pictures, sounds = [], []
    for _ in range(4):
        pictures += place_all(picture, [0, 0.5])
        sounds += place_all(sound, [0, 0.5, 1.0])
    assert [p for p, _ in pictures][::2] == [s for s, _ in sounds][::3]
