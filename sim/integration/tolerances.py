"""Tolerances of an integration: the relative one unless said, the absolute one from the weights at its start."""

from __future__ import annotations

import numpy as np

from ...theory.base.errors import FieldError
from ..kernel.problem import Problem
from ..ode.asked import LEAST_ATOL

RTOL = 1e-6


def default_atol(problem: Problem, y0: np.ndarray, rtol: float) -> float:
    """Absolute tolerance 1e-3 rtol x the RMS entry of the smallest moving weight that is not zero.

    Entries of a random matrix that happen to be near zero need no relative accuracy of their own; the
    matrix does.
    """
    return float(default_atols(problem, y0[None], rtol)[0])


def default_atols(problem: Problem, starts: np.ndarray, rtol: float) -> np.ndarray:
    """`default_atol` of each of many states (batch, n)."""
    named = problem.unpack(starts)
    sizes = np.stack([_rms(named[name]) for name in problem.layout])
    smallest = np.where(sizes > 0.0, sizes, np.inf).min(axis=0)
    chosen = 1e-3 * rtol * np.where(np.isfinite(smallest), smallest, 1.0)
    if (chosen < LEAST_ATOL).any():
        member = int(np.argmin(smallest))
        name = min(problem.layout, key=lambda n: _rms(named[n])[member] or np.inf)
        raise FieldError(
            f"start[{name!r}]",
            f"has entries of about {smallest[member]:.0e}, which float64 cannot follow to a relative accuracy of "
            f"rtol = {rtol:g}: start at 1e-290 or above, or set `atol`.",
        )
    return chosen


def _rms(w: np.ndarray) -> np.ndarray:
    """Root mean square of each of many matrices, scaled so that squares of tiny or huge entries survive."""
    rows = np.ascontiguousarray(w).reshape(len(w), -1)
    top = np.abs(rows).max(axis=1, initial=0.0)
    scaled = rows / np.where(top > 0.0, top, 1.0)[:, None]
    return top * np.sqrt(np.mean(scaled**2, axis=1))
