"""What may be asked of an integration: its interval, tolerances, step sizes, start and the times to save."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...theory.base.arrays import real_array
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, got, is_integer, is_real, positive, real
from .record import MOST_TIMES

MOST = float(np.finfo(np.float64).max)  # of what float64 holds
# Below, an error estimate is the rounding of its own sum, and a step that keeps to it may be none at all.
LEAST_RTOL, LEAST_ATOL = 1e-14, float(np.finfo(np.float64).tiny)
ROUNDING = 8.0 * float(np.finfo(np.float64).eps)  # of a flow time that was computed: 0.1 * 3 is not 0.3


def interval(t0: float, t1: float, empty: bool = True) -> tuple[float, float]:
    """Start and end as numbers; `empty` allows them to be equal."""
    t0, t1 = _time("t0", t0), _time("t1", t1)
    if t1 < t0 or (t1 == t0 and not empty):
        relation = "not lie before" if empty else "lie after"
        raise FieldError("t1", f"must {relation} the start t0 = {t0!r}, got {t1!r}.")
    if t1 - t0 > MOST:
        raise FieldError("t1", f"must lie within {MOST:.4g} of the start t0 = {t0!r}, got {t1!r}.")
    return t0, t1


def _time(name: str, value: Any) -> float:
    try:
        return real(name, value)
    except FieldError:
        raise FieldError(name, f"must be a finite flow time, {got(value)}.") from None


def step_size(name: str, value: Any) -> float | None:
    """Size of a step in flow time; None if none is given."""
    if value is None:
        return None
    try:
        return positive(name, value)
    except FieldError:
        raise FieldError(name, f"must be a positive flow time or None, {got(value)}.") from None


def relative_tolerance(rtol: Any) -> float:
    """`rtol` as a number that float64 arithmetic can keep to."""
    if not is_real(rtol) or not 0.0 < rtol < 1.0:
        raise FieldError("rtol", f"must lie in (0, 1), {got(rtol)}.")
    if float(rtol) < LEAST_RTOL:
        raise FieldError(
            "rtol",
            f"must be at least {LEAST_RTOL:g}, what float64 arithmetic can keep to, got {brief(rtol)}.",
        )
    return float(rtol)


def checked_tolerances(rtol: Any, atol: Any) -> tuple[float, float]:
    """Tolerances as numbers."""
    if not is_real(atol) or not 0.0 < atol <= MOST:
        raise FieldError("atol", f"must be positive and finite, {got(atol)}.")
    if float(atol) < LEAST_ATOL:
        raise FieldError(
            "atol", f"must be at least {LEAST_ATOL:.3g}, the least normal number, got {brief(atol)}."
        )
    return relative_tolerance(rtol), float(atol)


def start_state(y0: Any, n: int) -> np.ndarray:
    """The start as an array (n,)."""
    y0 = real_array("y0", y0)
    if y0.shape != (n,) or n == 0:
        raise FieldError("y0", f"must have shape ({n},) with at least one entry, got {y0.shape}.")
    return y0


def save_times(save_at: Any, t0: float, t1: float) -> np.ndarray:
    """Times to save: as given, so many evenly over the interval, or 101 if none are given."""
    if save_at is None or is_integer(save_at):
        number = 101 if save_at is None else _number_of_times(save_at)
        return _even_times(t0, t1, number, whole=save_at is not None)
    times = real_array("save_at", save_at, finite=False)
    if times.ndim != 1 or not np.all(np.isfinite(times)):
        raise FieldError("save_at", "must be a one-dimensional array of finite flow times.")
    times = _within(times, t0, t1)
    if np.any(np.diff(times) <= 0.0):
        raise FieldError("save_at", "must increase strictly; sort it and drop repeated times.")
    if times.size and (times[0] < t0 or times[-1] > t1):
        outside = times[0] if times[0] < t0 else times[-1]
        raise FieldError("save_at", f"must lie within [t0, t1] = [{t0!r}, {t1!r}], got {float(outside)!r}.")
    return times


def _even_times(t0: float, t1: float, number: int, whole: bool) -> np.ndarray:
    """Even times, fewer where flow time resolves no more of them, which is refused if the `whole` number was asked."""
    if t1 == t0 or number == 1:
        return np.array([t1])
    times = np.linspace(t0, t1, number)
    apart = np.append(True, times[1:] > times[:-1])
    if whole and not apart.all():
        raise FieldError(
            "save_at",
            f"asks for {number} times, but flow time resolves {apart.sum()} in [{t0!r}, {t1!r}]: ask for those.",
        )
    return times[apart]


def _number_of_times(number: Any) -> int:
    if not 1 <= number <= MOST_TIMES:
        raise FieldError(
            "save_at", f"must be from 1 to {MOST_TIMES:,} as a number of times, got {brief(number)}."
        )
    return int(number)


def _within(times: np.ndarray, t0: float, t1: float) -> np.ndarray:
    """Times that lie outside by the rounding of a sum or a product, such as 0.1 * 3 for 0.3, put on the end."""
    slack = ROUNDING * max(abs(t0), abs(t1))
    times = np.where((times < t0) & (times >= t0 - slack), t0, times)
    return np.where((times > t1) & (times <= t1 + slack), t1, times)
