"""The guess of a first step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .registers import ATOL, CALLS, CUR, HALT, ORDER, RTOL, T1, T

if TYPE_CHECKING:
    from ...kernel.problem import Problem

TRIES = 20  # of a step to where the right-hand side is finite


def _size_of(x: np.ndarray, scale: np.ndarray, memory: np.ndarray) -> float:
    """RMS of x (n,) over what is tolerated (n,); summed up in order, as compiled loops do."""
    np.divide(x, scale, memory)
    np.multiply(memory, memory, memory)
    return math.sqrt(memory.cumsum(out=memory)[-1] / len(memory))


def first_step(problem: Problem, y: np.ndarray, k: np.ndarray, ctl: np.ndarray, cnt: np.ndarray) -> float:
    """Guess a first step (Hairer, Norsett, Wanner I, II.4); k[0] holds f(t, y), k[1] is overwritten.

    In units of the time scale |y| / |f|: a flow that is slow because its weights are small starts with as long a step
    as the same flow in faster time.
    """
    old, new, f0, f1 = y[cnt[CUR]], y[1 - cnt[CUR]], k[0], k[1]
    t, span = float(ctl[T]), float(ctl[T1]) - float(ctl[T])
    with np.errstate(all="ignore"):
        tolerated = np.abs(old)
        tolerated *= ctl[RTOL]
        tolerated += ctl[ATOL]
        d0, d1, d2 = _size_of(old, tolerated, new), _size_of(f0, tolerated, new), math.inf
    h = span if d1 == 0.0 else 0.01 * d0 / d1
    h = min(1e-6 if d0 < 1e-5 else h, span)
    with np.errstate(all="ignore"):
        for _ in range(TRIES):
            np.multiply(f0, h, out=new)
            new += old
            problem(t + h, new, f1)
            cnt[CALLS] += 1
            f1 -= f0
            d2 = _size_of(f1, tolerated, new) / h if h > 0.0 else math.nan
            if math.isfinite(d2) or cnt[HALT] == 1:
                break
            h *= 0.1
    scale = d0 / d1 if d0 >= 1e-5 and d1 > 0.0 and math.isfinite(d0 / d1) else 1.0
    top = max(d1 * scale, d2 * scale * scale)
    h2 = max(1e-6, 1e-3 * h) if top <= 1e-15 else scale * (0.01 / top) ** (1.0 / int(cnt[ORDER]))
    return min(100.0 * h, h2, span)
