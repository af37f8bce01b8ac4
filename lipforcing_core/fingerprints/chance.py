"""How alike two motions may be by chance, given how few independent values they have.

Neighbouring steps resemble each other, and the blocks of a head that only turns move together. Two such motions have
few independent values, and a correlation of 0.6 between them means little. How many there are follows from the
participation ratio of the columns and from the correlation time of the rows (Bartlett, "Some Aspects of the
Time-Correlation Problem in Regard to Tests of Significance", 1935).
"""

from __future__ import annotations

import numpy as np

CHANCE_SIGMAS = 3.5
"""A correlation counts from so many standard deviations of Fisher's z on; its best shift was chosen among dozens."""
MOST_ASKED = 0.9
_LAGS = 7
_LEAST_ROWS = 3


def independent_share(rows_NK: np.ndarray) -> float:
    """Independent values for each row of a sequence: 1 / rows to K.

    The participation ratio of the columns is (sum of eigenvalues)^2 / sum of their squares: 1 if all move together, K
    if each moves alone. The correlation time is 1 + 2 sum r_k^2 over the first lags, with the correlation r_k of the
    rows with those k steps later.
    """
    rows_NK = rows_NK.astype(np.float64)
    covariance_KK = rows_NK.T @ rows_NK
    squares = float(np.square(covariance_KK).sum())
    if squares == 0:
        return 1.0
    participation = float(np.trace(covariance_KK)) ** 2 / squares
    time = 1.0
    for lag in range(1, min(_LAGS, len(rows_NK) - _LEAST_ROWS) + 1):
        early, late = rows_NK[:-lag], rows_NK[lag:]
        energy = float(np.square(early).sum() * np.square(late).sum())
        if energy > 0:
            time += 2 * float((early * late).sum()) ** 2 / energy
    return participation / time


def least_correlation(independent: float) -> float:
    """The correlation of two sequences of so many independent values that chance does not reach: 0 to ``MOST_ASKED``.

    The inverse of Fisher's z at ``CHANCE_SIGMAS`` standard deviations, each 1 / sqrt(n - 3).
    """
    return float(min(np.tanh(CHANCE_SIGMAS / np.sqrt(max(independent - 3, 1.0))), MOST_ASKED))
