"""More digits than a float has, for the few steps of a closed form that cancel; part of `smallinit.theory.exact`."""

from __future__ import annotations

from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt
from mpmath.ctx_mp import MPContext

from ..base.errors import FieldError

Array = npt.NDArray[np.float64]
_threads = local()


def digits(bits: int) -> Any:
    """Arithmetic of mpmath with so many bits, of this thread alone: its functions change their own precision."""
    if not hasattr(_threads, "context"):
        _threads.context = MPContext()
    _threads.context.prec = bits
    return _threads.context


def times(t: npt.ArrayLike, name: str = "t") -> Array:
    """Flow times as an array of floats.

    Raises
    ------
    FieldError
        If one is not finite, or negative.
    """
    found = np.asarray(t, dtype=float)
    if not np.isfinite(found).all():
        raise FieldError(name, f"must hold finite numbers, got {found[~np.isfinite(found)][0]}.")
    if (found < 0.0).any():
        raise FieldError(name, f"must not be negative, got {found.min():g}.")
    return found


def decayed(t: Array, rate: float) -> Array:
    """(1 - exp(-rate t)) / rate, the integral of exp(-rate t); t where nothing decays."""
    x = rate * t
    near = np.abs(x) < 1e-8  # and where the rate itself is lost in the product
    with np.errstate(all="ignore"):
        return np.where(near, t * (1.0 - 0.5 * x), -np.expm1(-x) / rate)
