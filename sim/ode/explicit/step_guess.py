"""The compiled guess of a first step; importing compiles it or loads it."""

from __future__ import annotations

import math

from numba import float64

from ...kernel.cache import compiled
from ...kernel.calls._operands import numbers, row
from .arithmetic import rms
from .registers import ATOL, CALLS, CUR, F1, F2, HALT, I1, ORDER, RHS_ARGS, RTOL, T1, T, call_rhs


@compiled(float64(*RHS_ARGS, F2, F2, F1, I1))
def first_step(rhs, floats, ints, work, y, k, registers, counters):
    """Guess a first step (Hairer, Norsett, Wanner I, II.4); k[0] holds f(t, y), k[1] is overwritten.

    In units of the time scale |y| / |f|: a flow that is slow because its weights are small starts with as long a step
    as the same flow in faster time.
    """
    ctl, cnt = numbers(registers), numbers(counters)
    old, new, f0, f1 = row(y, cnt[CUR]), row(y, 1 - cnt[CUR]), row(k, 0), row(k, 1)
    span, rtol, atol, t = ctl[T1] - ctl[T], ctl[RTOL], ctl[ATOL], ctl[T]
    d0, d1 = rms(old, old, rtol, atol), rms(f0, old, rtol, atol)
    h = span if d1 == 0.0 else 0.01 * d0 / d1
    if d0 < 1e-5:
        h = 1e-6
    h = min(h, span)
    d2 = math.inf
    for _ in range(20):  # a right-hand side that is not finite that far away
        for i in range(old.size):
            new[i] = old[i] + h * f0[i]
        call_rhs(rhs, t + h, new, f1, floats, ints, work)
        cnt[CALLS] += 1
        for i in range(old.size):
            f1[i] -= f0[i]
        d2 = rms(f1, old, rtol, atol) / h
        if math.isfinite(d2) or cnt[HALT] == 1:
            break
        h *= 0.1
    scale = d0 / d1 if d0 >= 1e-5 and d1 > 0.0 and math.isfinite(d0 / d1) else 1.0
    top = max(d1 * scale, d2 * scale * scale)
    h2 = max(1e-6, 1e-3 * h) if top <= 1e-15 else scale * (0.01 / top) ** (1.0 / cnt[ORDER])
    return min(100.0 * h, h2, span)
