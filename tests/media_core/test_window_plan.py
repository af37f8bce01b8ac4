"""The plan of training windows: tables by hand, and what holds for clips of every length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.window_plan import (
    ReferenceKind,
    hidden_latents,
    is_replanned,
    plan_windows,
    reference_kind,
    with_references,
)

DISJOINT, PARTIAL, NONE = ReferenceKind.DISJOINT, ReferenceKind.PARTIAL, ReferenceKind.NONE

PUBLISHED: dict[int, list[tuple[int, list[int], ReferenceKind]]] = {
    81: [(0, [], NONE)],
    92: [(0, [], NONE), (11, [], NONE)],
    93: [(0, [12], PARTIAL), (12, [0], PARTIAL)],
    125: [(0, [44], PARTIAL), (44, [0], PARTIAL)],
    161: [(0, [80], PARTIAL), (80, [0], PARTIAL)],
    162: [(0, [81], DISJOINT), (81, [0], DISJOINT)],
    200: [(0, [81, 119], DISJOINT), (81, [0], DISJOINT), (119, [0], DISJOINT)],
    243: [(0, [81, 162], DISJOINT), (81, [0, 162], DISJOINT), (162, [0, 81], DISJOINT)],
    250: [
        (0, [81, 162, 169], DISJOINT),
        (81, [0, 162, 169], DISJOINT),
        (162, [0, 81], DISJOINT),
        (169, [0, 81], DISJOINT),
    ],
}
"""First frame of every target of 81 frames, those of its references, and their kind, by the length of the clip."""


@pytest.mark.parametrize("num_frames", PUBLISHED)
def test_windows_of_81_frames(num_frames: int) -> None:
    plan = plan_windows(num_frames, window_frames=81, stride_frames=81)
    found = [(row.target.start, [other.start for other in row.references], row.kind) for row in plan]
    assert found == PUBLISHED[num_frames]
    assert {window.num_frames for row in plan for window in (row.target, *row.references)} == {81}
    assert reference_kind(num_frames) == PUBLISHED[num_frames][0][2]


@pytest.mark.parametrize(
    ("num_frames", "last"), [(125, 88), (161, 128), (162, 128), (200, 160), (243, 208), (250, 216)]
)
def test_the_dense_windows_of_nano_are_those_that_they_always_were(num_frames: int, last: int) -> None:
    """33 frames every 8, from the first version on: up to 7 frames at the end are in no window."""
    plan = plan_windows(num_frames, window_frames=33, stride_frames=8)
    assert [row.target.start for row in plan] == list(range(0, last + 1, 8))
    assert {row.kind for row in plan} == {DISJOINT}
    for row in plan:
        apart = [start for start in range(0, last + 1, 8) if abs(start - row.target.start) >= 33]
        assert [other.start for other in row.references] == apart
    assert not is_replanned(num_frames, window_frames=33, stride_frames=8)


def test_a_stride_of_half_a_window_is_dense() -> None:
    starts = {
        stride: [row.target.start for row in plan_windows(50, window_frames=21, stride_frames=stride)]
        for stride in (10, 11)
    }
    assert starts == {10: [0, 10, 20], 11: [0, 11, 22, 29]}


def test_the_farthest_window_is_taken_where_none_is_apart() -> None:
    """Targets of 21 frames at 0, 12, 20 and 30, 41 frames being too few for two of them beside the second."""
    plan = with_references([0, 12, 20, 30], 21)
    assert [(row.target.start, [r.start for r in row.references], row.kind) for row in plan] == [
        (0, [30], DISJOINT),
        (12, [30], PARTIAL),
        (20, [0], PARTIAL),
        (30, [0], DISJOINT),
    ]
    both = with_references([0, 15, 30], 21)[1]
    assert (both.kind, [r.start for r in both.references]) == (PARTIAL, [0, 30]), "they share 6 frames each"
    assert [r.start for r in with_references([0, 40, 90], 21)[1].references] == [0, 90]
    assert with_references([0, 11], 21)[0].references == ()


@pytest.mark.parametrize(
    ("target", "reference", "first", "stop"),
    [
        (
            0,
            44,
            0,
            10,
        ),  # frames 44 to 80 are the latents 0 (one frame) and 1 to 9 (36 frames) of the reference
        (44, 0, 11, 21),  # latent 11 holds the frames 41 to 44, and the target begins with 44
        (45, 0, 12, 21),
        (0, 80, 0, 1),
        (80, 0, 20, 21),
        (0, 12, 0, 18),
        (0, 13, 0, 18),
        (12, 0, 3, 21),
    ],
)
def test_latents_that_show_the_target_are_hidden(target: int, reference: int, first: int, stop: int) -> None:
    hidden = hidden_latents(Segment(target, target + 81), Segment(reference, reference + 81))
    assert hidden == slice(first, stop)


@pytest.mark.parametrize("reference", [0, 81])
def test_nothing_is_hidden_of_a_disjoint_reference(reference: int) -> None:
    hidden = hidden_latents(Segment(81 - reference, 162 - reference), Segment(reference, reference + 81))
    assert not list(range(21))[hidden]


def test_which_clips_have_other_windows_than_in_the_first_version() -> None:
    replanned = [n for n in range(60, 330) if is_replanned(n, window_frames=81, stride_frames=81)]
    assert replanned == [n for n in range(82, 330) if n not in (162, 243, 324)]
    assert [n for n in range(60, 330) if is_replanned(n, window_frames=33, stride_frames=8)] == list(
        range(60, 105)
    ), "a window in the middle of so short a clip has none apart"
    assert is_replanned(93, window_frames=81, stride_frames=12), "the same windows, but partial references"
    assert not is_replanned(9, window_frames=9, stride_frames=3)


@pytest.mark.parametrize(("window", "stride"), [(80, 81), (82, 81), (0, 8), (-3, 8), (81, 0)])
def test_impossible_windows_are_refused(window: int, stride: int) -> None:
    with pytest.raises(
        BadInputError, match=f"windows of {window} frames every {stride} frames are impossible"
    ):
        plan_windows(100, window_frames=window, stride_frames=stride)


def test_a_clip_shorter_than_the_window_is_refused() -> None:
    with pytest.raises(BadInputError, match="a clip of 80 frames holds no training window of 81"):
        plan_windows(80, window_frames=81, stride_frames=81)


def test_a_clip_shorter_than_the_window_has_no_reference() -> None:
    assert reference_kind(80) is NONE
    assert reference_kind(33, window_frames=33, stride_frames=8) is NONE


def test_a_clip_is_called_after_its_worst_window() -> None:
    """The window at 60 has 60 frames before it and 59 behind, the others have a whole window."""
    kinds = [row.kind for row in plan_windows(200, window_frames=81, stride_frames=60)]
    assert kinds == [DISJOINT, PARTIAL, DISJOINT]
    assert reference_kind(200, window_frames=81, stride_frames=60) is PARTIAL


clips = st.tuples(st.integers(2, 25), st.integers(1, 120), st.integers(0, 400))
"""Latents of a window, stride, and frames that a clip has beyond one window."""


@given(clips)
def test_what_holds_for_every_clip(clip: tuple[int, int, int]) -> None:
    latents, stride, more = clip
    window = 4 * latents - 3
    num_frames = window + more
    plan = plan_windows(num_frames, window_frames=window, stride_frames=stride)
    assert plan == plan_windows(num_frames, window_frames=window, stride_frames=stride)
    targets = [row.target for row in plan]
    assert targets[0].start == 0
    assert all(0 < b.start - a.start <= stride for a, b in pairwise(targets)), "in order, no two equal"
    dense = 2 * stride <= window
    left_out = num_frames - targets[-1].stop
    assert (0 <= left_out < stride) if dense else left_out == 0
    if stride <= window:
        covered = {frame for target in targets for frame in range(target.start, target.stop)}
        assert covered == set(range(targets[-1].stop)), "every frame is in a target"
    for row in plan:
        assert row.target not in row.references
        shared = [row.target.num_frames - abs(r.start - row.target.start) for r in row.references]
        apart = [t for t in targets if t.stop <= row.target.start or t.start >= row.target.stop]
        assert (row.kind is DISJOINT) == bool(apart)
        room = max(row.target.start, num_frames - row.target.stop)
        if row.kind is DISJOINT:
            assert list(row.references) == apart
        elif row.kind is PARTIAL:
            assert 1 <= max(shared) == min(shared) <= window - 12
            assert dense or (room < window and max(shared) == window - room), "no window shares less"
            for reference in row.references:
                check_hidden(row.target, reference, latents)
        else:
            assert row.references == ()
            assert max(abs(t.start - row.target.start) for t in targets) < 12
            assert dense or room < 12


def check_hidden(target: Segment, reference: Segment, latents: int) -> None:
    """Latent by latent: those that share a frame with the target are hidden, and at least three are shown."""
    spans = [(0, 1), *((4 * n - 3, 4 * n + 1) for n in range(1, latents))]
    showing = [
        n
        for n, (first, stop) in enumerate(spans)
        if reference.start + first < target.stop and reference.start + stop > target.start
    ]
    assert list(range(latents))[hidden_latents(target, reference)] == showing
    assert latents - len(showing) >= 3
