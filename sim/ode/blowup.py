"""Recognising a blow-up in finite time from the last accepted steps."""

from __future__ import annotations

import math

import numpy as np

_WINDOW = 6  # steps over which the extrapolated root must stand still
_DRIFT = 0.2  # how far it may move, relative to the time those steps take
_FALL = 100.0  # factor by which the growth time must have fallen
_HUGE = 300.0  # log norm beyond which a run may end by overflow instead of by its step size


def blow_up_time(history: np.ndarray, resolution: float) -> float | None:
    """Estimate the time at which the state becomes infinite, or None where it does not.

    With ``|y| ~ (t* - t)^-p`` the growth time ``r = |y|^2 / (y . f)`` falls linearly, ``r = (t* - t) / p``,
    and its root is t*. Exponential growth (r constant), double exponential growth (the root runs ahead of
    t), decay (r < 0), and a solution that stays finite while its slope does not (the root approaches too
    slowly) all fail that test.

    Parameters
    ----------
    history : ndarray, shape (m, 3)
        Flow time, growth time and log norm of the last accepted steps, oldest first.
    resolution : float
        Spacing of floating-point numbers at the times in question.

    Returns
    -------
    float or None
        Blow-up time t* in flow time.
    """
    t, r, log_norm = history.T
    if len(t) < _WINDOW + 2 or not np.all(r[-_WINDOW:] > 0.0):
        return None
    steps = np.diff(t, prepend=-math.inf)
    # rounding of t spoils the slope of r over the very last steps
    clean = np.flatnonzero((steps > 1e4 * resolution) & (r > 0.0) & np.isfinite(r))[-_WINDOW - 1 :]
    if len(clean) < _WINDOW + 1:
        return None
    tc, rc = t[clean], r[clean]
    slopes = np.diff(rc) / np.diff(tc)
    if np.any(slopes >= 0.0):
        return None
    roots = tc[1:] - rc[1:] / slopes
    drift = float(np.ptp(roots))
    star = float(t[-1] - r[-1] / slopes[-1])
    positive = r[np.isfinite(r) & (r > 0.0)]
    standing = drift <= _DRIFT * float(tc[-1] - tc[0])
    grown = float(log_norm[-1] - np.min(log_norm)) >= math.log(2.0) and np.max(positive) >= _FALL * r[-1]
    close = star - t[-1] <= 1e6 * resolution or log_norm[-1] > _HUGE
    return star if standing and grown and close else None
