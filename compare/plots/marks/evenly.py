"""Which of the saved points of a curve have a marker."""

from __future__ import annotations

import numpy as np


def evenly(n: int, most: int) -> np.ndarray:
    """Indices of points at one stride, about `most` or fewer of n, the first and the last among them.

    Rounded fractions of the range would skip a point here and there, and what is skipped looks like data that are
    missing. So the stride is a divisor of the range where one is near, and else only the last step is shorter.

    Parameters
    ----------
    n : int
        Points of the curve.
    most : int
        Steps between markers, at most.

    Returns
    -------
    ndarray
        Increasing indices (m,), with m at most most + 2.
    """
    least = max(-(-(n - 1) // most), 1)
    stride = next((s for s in range(least, 2 * least + 1) if (n - 1) % s == 0), least)
    return np.unique(np.append(np.arange(0, n, stride), max(n - 1, 0)))[:n]
