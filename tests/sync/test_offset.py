"""The offset search: known shifts, closed forms, symmetry and degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.offset import (
    Edges,
    framewise_confidence,
    mean_distances,
    offset_search,
    shift_distances,
)


def shifted(num: int, offset: int, *, width: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lips and sound of unrelated windows; the sound that belongs to lips i stands at i - offset."""
    base = np.random.default_rng(seed).standard_normal((num + 64, width))
    return base[32 : 32 + num], base[32 + offset : 32 + offset + num]


@pytest.mark.parametrize("edges", list(Edges))
@pytest.mark.parametrize("offset", [-15, -7, -1, 0, 1, 4, 15])
def test_finds_the_shift_with_its_sign(offset: int, edges: Edges) -> None:
    score = offset_search(*shifted(60, offset), backend="test", edges=edges)
    assert score.offset_frames == offset
    assert score.backend == "test"
    assert score.num_windows == 60
    assert len(score.distances) == 31


def test_equal_sequences_have_distance_zero_over_the_overlap() -> None:
    lips, sound = shifted(40, 6)
    score = offset_search(lips, sound, backend="test", edges=Edges.OVERLAP)
    # Only the constant 1e-6 in each of the 16 differences is left.
    assert score.distance == pytest.approx(4e-6)
    assert score.confidence == pytest.approx(np.median(score.distances) - 4e-6)


def test_hand_computed() -> None:
    lips = np.array([[0.0], [1.0], [2.0]])
    sound = np.array([[1.0], [2.0], [5.0]])
    padded = offset_search(lips, sound, 1, backend="test")
    # earlier sound: |0-0|, |1-1|, |2-2|; same instant: 1, 1, 3; later sound: |0-2|, |1-5|, |2-0|
    assert padded.distances == pytest.approx((0.0, 5 / 3, 8 / 3), abs=1e-5)
    assert (padded.offset_frames, padded.confidence) == (1, pytest.approx(5 / 3, abs=1e-5))
    overlap = offset_search(lips, sound, 1, backend="test", edges=Edges.OVERLAP)
    assert overlap.distances == pytest.approx((0.0, 5 / 3, 3.0), abs=1e-5)


def test_swapping_lips_and_sound_turns_the_sign() -> None:
    lips, sound = shifted(50, 5)
    forward = offset_search(lips, sound, backend="test", edges=Edges.OVERLAP)
    backward = offset_search(sound, lips, backend="test", edges=Edges.OVERLAP)
    assert backward.offset_frames == -forward.offset_frames
    assert backward.distances == pytest.approx(forward.distances[::-1], abs=1e-4)


def test_foreign_sound_scores_lower() -> None:
    lips, sound = shifted(60, 0)
    foreign = shifted(60, 0, seed=1)[1]
    own = offset_search(lips, sound, backend="test")
    other = offset_search(lips, foreign, backend="test")
    assert own.confidence > 3 * other.confidence
    assert own.distance < other.distance


def test_longer_sequence_is_cut() -> None:
    lips, sound = shifted(50, 3)
    assert offset_search(lips, sound[:40], backend="t") == offset_search(lips[:40], sound[:40], backend="t")


def test_short_clip_leaves_out_shifts_without_overlap() -> None:
    lips, sound = shifted(4, 0)
    score = offset_search(lips, sound, backend="test", edges=Edges.OVERLAP)
    assert len(score.distances) == 7
    assert score.offset_frames == 0
    single = offset_search(lips[:1], sound[:1], backend="test", edges=Edges.OVERLAP)
    assert (single.confidence, single.offset_frames, single.num_windows) == (0.0, 0, 1)


def test_identical_windows_have_no_confidence() -> None:
    constant = np.ones((40, 8))
    score = offset_search(constant, constant, backend="test", edges=Edges.OVERLAP)
    assert score.confidence == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("lips", "sound"),
    [(np.zeros((0, 4)), np.zeros((3, 4))), (np.zeros((3, 4)), np.zeros((3, 5))), (np.zeros(3), np.zeros(3))],
)
def test_refuses_what_cannot_be_compared(lips: np.ndarray, sound: np.ndarray) -> None:
    with pytest.raises(BadInputError):
        offset_search(lips, sound, backend="test")


def test_framewise_confidence_drops_where_the_sound_is_foreign() -> None:
    lips, sound = shifted(80, 0)
    sound = sound.copy()
    sound[50:] = np.random.default_rng(9).standard_normal((30, 16))
    confidence = framewise_confidence(shift_distances(lips, sound))
    assert confidence[10:40].min() > confidence[60:].max()


def test_one_window_against_every_shift() -> None:
    """Entry k of a row compares with the sound k - 15 windows later; places outside the clip hold a zero embedding."""
    lips = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])
    sound = np.array([[0.0, 0.0], [3.0, 4.0], [9.0, 12.0]])
    distances = shift_distances(lips, sound)
    assert distances.shape == (3, 31)
    want = np.full((3, 31), [[5.0], [0.0], [10.0]])  # the distance from zero
    want[0, [15, 16, 17]] = 5, 0, 10
    want[1, [14, 15, 16]] = 0, 5, 15
    want[2, [13, 14, 15]] = 10, 5, 5
    np.testing.assert_allclose(distances, want, atol=1e-5)


def test_a_difference_of_zero_counts_as_a_millionth_in_every_direction() -> None:
    """As torch's pairwise_distance: the root of 16 times 1e-12."""
    equal = np.ones((1, 16))
    assert shift_distances(equal, equal, 0)[0, 0] == pytest.approx(4e-6, rel=1e-6)


def test_mean_distances_over_padding_and_over_the_overlap() -> None:
    lips, sound = np.array([[1.0], [2.0]]), np.array([[5.0], [9.0]])
    padded = mean_distances(lips, sound, 2, edges=Edges.ZERO_PADDED)
    # sound two earlier: |1-0|, |2-0|; one earlier: |1-0|, |2-5|; same: 4, 7; one later: |1-9|, |2-0|; two later: 1, 2
    np.testing.assert_allclose(padded, [1.5, 2.0, 5.5, 5.0, 1.5], atol=1e-5)
    overlap = mean_distances(lips, sound, 2, edges=Edges.OVERLAP)
    np.testing.assert_allclose(overlap, [3.0, 5.5, 8.0], atol=1e-5)
    assert len(mean_distances(lips, sound, edges=Edges.ZERO_PADDED)) == 31


def test_offset_zero_padding_is_the_default() -> None:
    lips, sound = shifted(20, 3)
    score = offset_search(lips, sound, backend="test")
    assert score == offset_search(lips, sound, 15, backend="test", edges=Edges.ZERO_PADDED)
    assert score != offset_search(lips, sound, backend="test", edges=Edges.OVERLAP)
    assert score.confidence == pytest.approx(np.median(score.distances) - min(score.distances))
    assert score.distance == min(score.distances)


def test_fewer_windows_of_either_kind_count() -> None:
    lips, sound = shifted(50, 3)
    assert offset_search(lips[:40], sound, backend="test").num_windows == 40
    assert offset_search(lips, sound[:30], backend="test").num_windows == 30


def test_framewise_confidence_by_hand() -> None:
    distances = np.array([[3.0, 1, 2, 7], [4, 2, 6, 7], [5, 0, 4, 7]])
    # Means 4, 1, 4, 7: the best shift is the second, the lower middle one of the four means is 4.
    np.testing.assert_allclose(framewise_confidence(distances, kernel_size=1), [3, 2, 4])
    np.testing.assert_allclose(framewise_confidence(distances, kernel_size=3), [2, 3, 2])


@pytest.mark.parametrize(("length", "left"), [(4, 0), (5, 5), (7, 7)])
def test_framewise_confidence_is_filtered_over_nine_windows(length: int, left: int) -> None:
    """A burst of fewer windows than half the filter vanishes; a longer one stays."""
    distances = np.ones((40, 3))
    distances[:, 1] = 0.5
    distances[20 : 20 + length, 1] = 0.0
    confidence = framewise_confidence(distances)
    assert len(confidence) == 40
    assert (confidence > 0.75).sum() == left


@pytest.mark.parametrize(
    ("lips", "sound", "words"),
    [
        (np.zeros((0, 4)), np.zeros((3, 4)), "too short"),
        (np.zeros((3, 4)), np.zeros((0, 4)), "too short"),
        (np.zeros((3, 4)), np.zeros((3, 5)), r"\(3, 4\) and \(3, 5\) cannot be compared"),
        (np.zeros((3, 4)), np.zeros(4), "cannot be compared"),
        (np.zeros(4), np.zeros((3, 4)), "cannot be compared"),
    ],
)
def test_a_refusal_says_why(lips: np.ndarray, sound: np.ndarray, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        shift_distances(lips, sound)
