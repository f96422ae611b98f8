"""Values and slopes of the polynomial through the states at some times, as sums of these states."""

from __future__ import annotations

import numpy as np


def lagrange(times: np.ndarray, t: float) -> np.ndarray:
    """Weights of values at `times` (m,) in their polynomial at t."""
    apart = times[:, None] - times
    np.fill_diagonal(apart, 1.0)
    far = np.repeat((t - times)[None], len(times), axis=0)
    np.fill_diagonal(far, 1.0)
    return np.prod(far / apart, axis=1)


def slope_weights(times: np.ndarray) -> np.ndarray:
    """Weights of values at `times` (m,) in the slope of their polynomial at the first."""
    apart = times[:, None] - times
    np.fill_diagonal(apart, 1.0)
    weights = np.zeros(len(times))
    for j in range(1, len(times)):
        others = np.delete(np.arange(1, len(times)), j - 1)
        weights[j] = np.prod((times[0] - times[others]) / apart[j, others]) / apart[j, 0]
    weights[0] = -weights.sum()
    return weights
