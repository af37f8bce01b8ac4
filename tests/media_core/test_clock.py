from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.media import clock


@pytest.mark.parametrize(("frames", "latents"), [(9, 3), (21, 6), (33, 9), (81, 21), (1, 1), (0, 0)])
def test_frames_and_latents_of_the_paper(frames: int, latents: int) -> None:
    assert clock.latents_for_frames(frames) == latents
    assert clock.frames_for_latents(latents) == frames


def test_durations_that_floats_would_floor_short() -> None:
    assert clock.frames_for_samples(round(1.16 * 16000)) == 29
    assert clock.frames_for_samples(51_840) == 81
    assert clock.frames_for_samples(51_839) == 80


def test_ping_pong_golden_values() -> None:
    assert [clock.ping_pong_index(i, 4) for i in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [clock.ping_pong_index(i, 1) for i in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(("i", "n"), [(0, 0), (-1, 4)])
def test_ping_pong_refuses_nonsense(i: int, n: int) -> None:
    with pytest.raises(ValueError, match="ping-pong"):
        clock.ping_pong_index(i, n)


@given(st.integers(2, 300), st.integers(0, 5000))
def test_ping_pong_moves_one_frame_at_a_time(n: int, i: int) -> None:
    here, there = clock.ping_pong_index(i, n), clock.ping_pong_index(i + 1, n)
    assert 0 <= here < n
    assert abs(here - there) == 1
    assert clock.ping_pong_index(i + 2 * n - 2, n) == here


@given(st.integers(0, 10_000))
def test_clocks_round_trip_and_chunks_cover(frames: int) -> None:
    assert clock.frames_for_samples(clock.samples_for_frames(frames)) == frames
    assert clock.frames_for_latents(clock.latents_for_frames(frames)) - frames in range(4)
    covered = clock.frames_for_latents(3 * clock.chunks_for_frames(frames))
    assert frames <= covered < frames + 12
    assert clock.seconds(frames) == Fraction(frames, 25)
