"""Where two sequences of features fit best: the correlation at every shift of one against the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class BestFit:
    """The best shift of two sequences.

    correlation: -1 to 1. shift: the row of the first sequence at which row 0 of the second lies. length: rows of the
    overlap.
    """

    correlation: float
    shift: int
    length: int


def best_fit(a_NK: np.ndarray, b_MK: np.ndarray, *, min_rows: int, floor: float) -> BestFit | None:
    """The shift at which two float sequences correlate most over at least ``min_rows`` rows.

    A correlation is the sum of products over the overlap divided by the root of both sums of squares. Shifts at which
    either mean of squares is below ``floor`` do not count. None where no shift is left.
    """
    num_a, num_b = len(a_NK), len(b_MK)
    if min(num_a, num_b) < min_rows:
        return None
    shifts = np.arange(min_rows - num_b, num_a - min_rows + 1)
    start_a, start_b = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    length = np.minimum(num_a - start_a, num_b - start_b)
    products = _diagonal_sums(a_NK @ b_MK.T)[shifts + num_b - 1]
    energy_a, energy_b = _sums(a_NK, start_a, length), _sums(b_MK, start_b, length)
    loud = np.minimum(energy_a, energy_b) >= floor * length * a_NK.shape[1]
    if not loud.any():
        return None
    correlation = np.where(loud, products / np.sqrt(np.maximum(energy_a * energy_b, 1e-12)), -2.0)
    best = int(np.argmax(correlation))
    return BestFit(
        correlation=float(min(correlation[best], 1.0)), shift=int(shifts[best]), length=int(length[best])
    )


def _diagonal_sums(table_NM: np.ndarray) -> np.ndarray:
    """Sums along the diagonals: entry s + M - 1 is the sum of all [n, m] with n - m = s."""
    num_a, num_b = table_NM.shape
    padded = np.zeros((num_a, num_a + num_b), dtype=np.float32)
    padded[:, :num_b] = table_NM[:, ::-1]
    # Read in rows that are one shorter, each row moves by one to the right, so diagonals come to stand upright.
    skewed = padded.ravel()[: num_a * (num_a + num_b - 1)].reshape(num_a, num_a + num_b - 1)
    sums: np.ndarray = skewed.sum(axis=0)
    return sums


def _sums(rows_NK: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(np.square(rows_NK, dtype=np.float64).sum(axis=1))])
    sums: np.ndarray = total[start + length] - total[start]
    return sums
