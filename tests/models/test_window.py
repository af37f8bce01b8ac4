"""Chunks and windows: the tables of the method, and what must hold for any sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.models.window import WindowConfig, plan_groups, position_of_latents


def test_windows_of_the_released_student() -> None:
    window = WindowConfig()
    assert window.chunks(21) == [(0, 3), (3, 6), (6, 9), (9, 12), (12, 15), (15, 18), (18, 21)]
    assert [window.past(3 * k) for k in range(6)] == [
        [],
        [0, 1, 2],
        [0, 3, 4, 5],
        [0, 6, 7, 8],
        [0, 9, 10, 11],
        [0, 12, 13, 14],
    ]
    first, second, steady = plan_groups(window, 21, "window")
    assert (first.query_positions, second.query_positions) == (range(3), range(3, 6))
    assert (steady.query_positions, steady.key_positions) == (range(4, 7), range(7))
    assert len(steady.queries) == 5


def test_a_remainder_enlarges_the_first_chunk() -> None:
    window = WindowConfig()
    assert window.chunks(11) == [(0, 5), (5, 8), (8, 11)]
    assert window.chunks(4) == [(0, 4)]
    assert window.chunks(2) == [(0, 2)]
    assert window.past(5) == [0, 2, 3, 4]


def test_reference_mask_of_a_first_chunk_longer_than_its_window() -> None:
    """Five latents, chunks of 3, window 4, sink 1: each sees the sink, the last three, and itself."""
    window = WindowConfig(window_latents=4)
    seen = {
        query: keys
        for group in plan_groups(window, 5, "own_window")
        for queries, keys in zip(group.queries, group.keys, strict=True)
        for query in queries
    }
    last = (0, 2, 3, 4)
    assert seen == {0: last, 1: (0, 1, 2, 3, 4), 2: last, 3: last, 4: last}
    assert position_of_latents(window, 5, "own_window") == [0, -1, 0, 1, 2]
    assert position_of_latents(WindowConfig(window_latents=5), 11, "own_window")[:5] == [0, 0, 1, 2, 3]


def test_reference_mask_of_a_sink_longer_than_the_first_chunk() -> None:
    """To the letter of the reference: the first chunk sees all of the sink. A rollout cannot."""
    window = WindowConfig(window_latents=9, sink_latents=5)
    first, *_ = plan_groups(window, 9, "own_window")
    assert (first.queries[0], first.keys[0]) == ((0, 1, 2), (0, 1, 2, 3, 4))
    first, *_ = plan_groups(window, 9, "window")
    assert first.keys[0] == (0, 1, 2)


windows = st.builds(
    lambda chunk, sink, more: WindowConfig(
        chunk_latents=chunk,
        sink_latents=sink,
        window_latents=None if more is None else chunk + sink + more,
    ),
    st.integers(1, 4),
    st.integers(0, 4),
    st.none() | st.integers(0, 6),
)


@given(windows, st.integers(1, 40))
def test_every_plan_covers_the_clip_in_order_and_looks_back_only(
    window: WindowConfig, num_latents: int
) -> None:
    chunks = window.chunks(num_latents)
    assert [i for start, stop in chunks for i in range(start, stop)] == list(range(num_latents))
    planned = [
        i for g in plan_groups(window, num_latents, "window") for queries in g.queries for i in queries
    ]
    assert planned == list(range(num_latents))
    for start, stop in chunks:
        past = window.past(start)
        assert past == sorted(set(past))
        assert all(i < start for i in past)
        if window.window_latents is not None:
            assert len(past) + window.chunk_latents <= window.window_latents
        if start:
            assert start - 1 in past or window.past_budget == window.sink_latents
        assert stop > start


@given(windows.filter(lambda w: w.window_latents is not None))
def test_the_number_of_groups_does_not_grow_with_the_clip(window: WindowConfig) -> None:
    few, many = (len(plan_groups(window, window.chunk_latents * n, "window")) for n in (20, 40))
    assert few == many
