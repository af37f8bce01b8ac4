"""Independent values of sequences whose covariance is known, and what chance may reach."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.fingerprints.chance import MOST_ASKED, independent_share, least_correlation
from lipforcing_core.fingerprints.clips import MAX_PICTURE_DISTANCE, compare_pictures
from lipforcing_core.fingerprints.picture import NUM_BLOCKS, PictureFingerprint

RNG = np.random.default_rng(3)


def test_columns_that_move_alone_count_each_and_those_that_move_together_as_one() -> None:
    alone_NK = RNG.standard_normal((20_000, 6))
    assert independent_share(alone_NK) == pytest.approx(6, rel=0.02)
    together_NK = RNG.standard_normal((20_000, 1)) * np.array([1.0, -2.0, 3.0])
    assert independent_share(together_NK) == pytest.approx(1, rel=0.02)


def test_rows_that_resemble_their_neighbours_count_less() -> None:
    """Means of two: r_1 = 1/2 and no other, so the time is 1 + 2 / 4 and two rows of three count."""
    noise_N1 = RNG.standard_normal((40_001, 1))
    assert independent_share(noise_N1[1:] + noise_N1[:-1]) == pytest.approx(1 / 1.5, rel=0.03)
    assert independent_share(np.ones((30, 1))) == pytest.approx(1 / 15)  # seven lags of r = 1


def test_nothing_that_moves_is_one_value() -> None:
    assert independent_share(np.zeros((10, 4))) == 1.0


def test_the_correlation_asked_for_falls_with_the_number_of_values() -> None:
    assert least_correlation(3 + 49) == pytest.approx(np.tanh(0.5))  # 3.5 / sqrt(49)
    assert least_correlation(2) == least_correlation(0) == MOST_ASKED
    asked = [least_correlation(n) for n in (10, 30, 100, 1000)]
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] < 0.12


def sway(num_steps: int, phase: float) -> np.ndarray:
    """A head that turns to and fro: all blocks follow one sine of 1.6 s."""
    angle_T1 = 2 * np.pi * np.arange(num_steps)[:, None] / 8 + phase
    return (60 * np.sin(angle_T1) * np.linspace(-1, 1, NUM_BLOCKS)).round().astype(np.int8)


def test_a_sway_that_fits_another_is_no_copy_and_a_rich_motion_is() -> None:
    """The correlation is 0.8 in both; one has about one independent value in seven steps, the other 20 in each."""
    rich_TB = RNG.normal(scale=30, size=(30, NUM_BLOCKS))
    noise_TB = RNG.normal(scale=30, size=(30, NUM_BLOCKS))
    jerks_TB = RNG.normal(scale=30, size=(30, 1)) * np.linspace(1, -1, NUM_BLOCKS)
    pairs = {
        True: (rich_TB, 0.8 * rich_TB + 0.6 * noise_TB),
        False: (sway(30, 0.0), 0.8 * sway(30, 0.3) + jerks_TB),
    }
    for same, motions in pairs.items():
        first, second = (
            PictureFingerprint(look=0, motion_TB=np.clip(m, -127, 127).round().astype(np.int8))
            for m in motions
        )
        found = compare_pictures(first, second)
        assert found is not None
        assert found.distance < MAX_PICTURE_DISTANCE
        assert found.is_same is same
        copy = compare_pictures(first, first)
        assert copy is not None
        assert copy.is_same
