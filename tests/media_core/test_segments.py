from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.segments import Segment, SegmentPlanner


def planned(
    shots: Iterable[tuple[int, int]], *, min_frames: int = 125, max_frames: int = 250
) -> tuple[list[Segment], list[Segment]]:
    """What is kept and what is rejected of shots that are known as a whole."""
    kept: list[Segment] = []
    rejected: list[Segment] = []
    for start, stop in shots:
        own_kept, own_rejected = SegmentPlanner(start, min_frames=min_frames, max_frames=max_frames).finish(
            stop
        )
        kept += own_kept
        rejected += own_rejected
    return kept, rejected


def test_long_shots_are_divided_evenly_and_short_ones_rejected() -> None:
    kept, rejected = planned([(0, 124), (124, 374), (374, 675)])
    assert rejected == [Segment(0, 124)]
    assert kept == [Segment(124, 374), Segment(374, 524), Segment(524, 675)]


def test_rest_is_rejected_where_no_even_division_fits() -> None:
    kept, rejected = planned([(0, 230)], min_frames=90, max_frames=100)
    assert kept == [Segment(0, 100), Segment(100, 200)]
    assert rejected == [Segment(200, 230)]


def test_exact_bounds_are_kept() -> None:
    assert planned([(0, 125)])[0] == [Segment(0, 125)]
    assert planned([(0, 250)])[0] == [Segment(0, 250)]
    assert planned([(0, 251)])[0] == [Segment(0, 125), Segment(125, 251)]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 900), max_size=6),
    st.integers(1, 200),
    st.integers(0, 200),
)
def test_every_frame_is_in_exactly_one_segment(lengths: list[int], shortest: int, extra: int) -> None:
    edges = [0]
    for length in lengths:
        edges.append(edges[-1] + length)
    shots = list(pairwise(edges))
    kept, rejected = planned(shots, min_frames=shortest, max_frames=shortest + extra)
    frames = sorted(f for s in kept + rejected for f in range(s.start, s.stop))
    assert frames == list(range(edges[-1]))
    assert all(shortest <= s.num_frames <= shortest + extra for s in kept)
    assert all(s.num_frames < shortest for s in rejected)


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(BadInputError, match="impossible"):
        SegmentPlanner(0, min_frames=5, max_frames=4)


@given(
    st.integers(0, 500),
    st.lists(st.integers(0, 180), max_size=30),
    st.integers(1, 200),
    st.integers(0, 200),
)
@settings(deadline=None)
def test_segments_do_not_depend_on_the_steps_in_which_a_shot_comes(
    start: int, steps: list[int], shortest: int, extra: int
) -> None:
    bounds = {"min_frames": shortest, "max_frames": shortest + extra}
    planner = SegmentPlanner(start, **bounds)
    kept, stop = [], start
    for step in steps:
        stop += step
        kept += planner.certain(stop)
    assert all(segment.stop <= stop for segment in kept)
    rest, rejected = planner.finish(stop)
    assert (kept + rest, rejected) == SegmentPlanner(start, **bounds).finish(stop)


def test_a_segment_is_certain_once_another_one_is() -> None:
    planner = SegmentPlanner(10, min_frames=100, max_frames=250)
    assert planner.certain(10 + 349) == []
    assert planner.certain(10 + 350) == [Segment(10, 260)]
    assert planner.certain(10 + 599) == []
    assert planner.finish(10 + 600) == ([Segment(260, 510), Segment(510, 610)], [])


def test_a_shot_may_end_before_what_is_certain() -> None:
    """The sound may end earlier than the picture: nothing is left, and nothing is taken back."""
    planner = SegmentPlanner(0, min_frames=100, max_frames=200)
    assert planner.certain(300) == [Segment(0, 200)]
    assert planner.finish(200) == ([], [])
    assert SegmentPlanner(7).finish(7) == ([], [])
    assert SegmentPlanner(7).finish(3) == ([], [])


def test_a_segment_knows_its_length() -> None:
    segment = Segment(50, 175)
    assert (segment.num_frames, segment.seconds) == (125, 5)
