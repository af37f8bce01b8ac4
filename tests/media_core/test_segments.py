from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.segments import Segment, plan_segments


def test_long_shots_are_divided_evenly_and_short_ones_rejected() -> None:
    kept, rejected = plan_segments([(0, 124), (124, 374), (374, 675)])
    assert rejected == [Segment(0, 124)]
    assert kept == [Segment(124, 374), Segment(374, 524), Segment(524, 675)]


def test_rest_is_rejected_where_no_even_division_fits() -> None:
    kept, rejected = plan_segments([(0, 230)], min_frames=90, max_frames=100)
    assert kept == [Segment(0, 100), Segment(100, 200)]
    assert rejected == [Segment(200, 230)]


def test_exact_bounds_are_kept() -> None:
    assert plan_segments([(0, 125)])[0] == [Segment(0, 125)]
    assert plan_segments([(0, 250)])[0] == [Segment(0, 250)]
    assert plan_segments([(0, 251)])[0] == [Segment(0, 125), Segment(125, 251)]


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
    kept, rejected = plan_segments(shots, min_frames=shortest, max_frames=shortest + extra)
    frames = sorted(f for s in kept + rejected for f in range(s.start, s.stop))
    assert frames == list(range(edges[-1]))
    assert all(shortest <= s.num_frames <= shortest + extra for s in kept)
    assert all(s.num_frames < shortest for s in rejected)


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(BadInputError, match="impossible"):
        plan_segments([(0, 10)], min_frames=5, max_frames=4)
