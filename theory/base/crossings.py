"""Where a curve first reaches a level: one piece of code for horizons, escape times, onsets and learning times."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def first_reached(reached: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Index along the last axis (..., n) at which it is first true; -1 where it never is."""
    reached = np.asarray(reached, dtype=bool)
    if reached.shape[-1] == 0:
        return np.full(reached.shape[:-1], -1)
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), -1)


def first_crossing(
    x: npt.ArrayLike, y: npt.ArrayLike, level: npt.ArrayLike, *, rising: bool = False, never: float = np.inf
) -> Any:
    """Value of x where y first is at most a level (`rising`: at least), linear between the points.

    Parameters
    ----------
    x : array_like, shape (..., n)
        Flow times, or another quantity at the same points, whose value at the crossing is wanted.
    y : array_like, shape (..., n)
        The curve. A jump from or to what is not finite counts at its later point; nan reaches nothing.
    level : array_like, shape (...)
        One level for each curve, or one for all.
    rising : bool
        Whether the level is reached from below.
    never : float
        What stands for no crossing.

    Returns
    -------
    float or ndarray, shape (...)
        x at the first point where y starts beyond the level.
    """
    y, level = np.asarray(y, dtype=float), np.asarray(level, dtype=float)
    x = np.broadcast_to(np.asarray(x, dtype=float), y.shape)
    reached = y >= level[..., None] if rising else y <= level[..., None]
    if y.shape[-1] == 0:
        return np.full(reached.shape[:-1], never)[()]
    found = first_reached(reached)
    (x0, y0), (x1, y1) = ((_at(x, found - back), _at(y, found - back)) for back in (1, 0))
    with np.errstate(all="ignore"):
        between = (x1 - x0) / (y1 - y0) * (level - y0) + x0
    sharp = (found == 0) | (y1 == level) | ~np.isfinite(y0) | ~np.isfinite(y1)
    return np.where(found < 0, never, np.where(sharp, x1, between))[()]


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Entries (...) of values (..., n) at one index each; the first for those before it."""
    values = np.broadcast_to(values, (*index.shape, values.shape[-1]))
    return np.take_along_axis(values, np.maximum(index, 0)[..., None], -1)[..., 0]
