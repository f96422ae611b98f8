"""The guess of a first step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import float64

from ...kernel.cache import compiled
from ...kernel.calls._operands import numbers
from .arithmetic import rms
from .registers import ATOL, CALLS, CUR, F1, HALT, ORDER, RTOL, T1, T

if TYPE_CHECKING:
    from ...kernel.problem import Problem

TRIES = 20  # of a step to where the right-hand side is finite


@compiled(float64(F1, F1, float64, float64))
def size_of(x, y, rtol, atol):
    """RMS of x relative to the tolerance at state y."""
    return rms(numbers(x), numbers(y), x.size, rtol, atol)


def first_step(problem: Problem, y: np.ndarray, k: np.ndarray, ctl: np.ndarray, cnt: np.ndarray) -> float:
    """Guess a first step (Hairer, Norsett, Wanner I, II.4); k[0] holds f(t, y), k[1] is overwritten.

    In units of the time scale |y| / |f|: a flow that is slow because its weights are small starts with as long a step
    as the same flow in faster time.
    """
    old, new, f0, f1 = y[cnt[CUR]], y[1 - cnt[CUR]], k[0], k[1]
    t, rtol, atol = float(ctl[T]), ctl[RTOL], ctl[ATOL]
    span = float(ctl[T1]) - t
    d0, d1, d2 = size_of(old, old, rtol, atol), size_of(f0, old, rtol, atol), math.inf
    h = span if d1 == 0.0 else 0.01 * d0 / d1
    h = min(1e-6 if d0 < 1e-5 else h, span)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(TRIES):
            np.multiply(f0, h, out=new)
            new += old
            problem(t + h, new, f1)
            cnt[CALLS] += 1
            f1 -= f0
            d2 = size_of(f1, old, rtol, atol) / h if h > 0.0 else math.nan
            if math.isfinite(d2) or cnt[HALT] == 1:
                break
            h *= 0.1
    scale = d0 / d1 if d0 >= 1e-5 and d1 > 0.0 and math.isfinite(d0 / d1) else 1.0
    top = max(d1 * scale, d2 * scale * scale)
    h2 = max(1e-6, 1e-3 * h) if top <= 1e-15 else scale * (0.01 / top) ** (1.0 / int(cnt[ORDER]))
    return min(100.0 * h, h2, span)
