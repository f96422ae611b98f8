"""Functions of one variable as numpy functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.special
import sympy as sp

from .stable import stable_pieces

MODULES = [{"expit": scipy.special.expit, "softplus": lambda x: np.logaddexp(0.0, x)}, "scipy", "numpy"]


@lru_cache(maxsize=256)
def numpy_function(function: sp.Lambda) -> Callable[[Any], Any]:
    """A scalar sympy function as a numpy function of arrays.

    Raises
    ------
    ValueError
        If it is made of something that has no numerical form; the message names it.
    """
    (x,) = function.variables
    parts = stable_pieces(function.expr, x)
    values = [sp.lambdify(x, part.expr, MODULES) for part in parts]
    if len(parts) == 1:
        return values[0]
    edges = [(float(part.low), float(part.high)) for part in parts]

    def by_pieces(z: Any) -> np.ndarray:
        z = np.asarray(z, dtype=float)
        found = np.full(z.shape, np.nan)  # which a place that is nan keeps
        for value, (low, high) in zip(values, edges, strict=True):
            inside = (z > low) & (z <= high)
            found[inside] = value(z[inside])
        found[z == -np.inf] = values[0](-np.inf)
        return found

    return by_pieces
