"""The compiled loop of explicit Runge-Kutta methods: stages, error norm, first step, dense output.

One compiled form serves every table: besides what `registers` explains, ``whole`` is all of it (`RungeKutta.whole`),
and ``fitted`` where its rows go that lead towards a pole (see `approach`): what writes them is compiled for those who
need it, and called by address. Importing compiles the loop or loads it.
"""

from __future__ import annotations

import math
from typing import Any

from numba import float64, int64, types
from numba.extending import intrinsic

from ...kernel.cache import compiled
from ...kernel.calls._operands import call_at, numbers, place, row
from ...kernel.inner import inlined
from ..codes import RUNNING, UNDERFLOW
from .acceptance import GO, HALTED, good, landing, pause, settle
from .approach import NONE, believed, bend, distance
from .arithmetic import BLOCK, accumulate, block_from, combine, finish, growth, rms
from .registers import (
    ATOL,
    BUDGET,
    CALLS,
    CUR,
    ERRORS,
    F1,
    F2,
    FIT,
    FITTED,
    FIXED,
    HALT,
    I1,
    MIDDLE,
    NEEDS_NEW,
    NORM,
    ORDER,
    RHS_ARGS,
    RTOL,
    STAGES,
    SWAP,
    T1,
    TABLE,
    TAU,
    TAU_END,
    H,
    T,
    call_rhs,
    places,
)

WHOLE = types.Tuple((F2, F2, F1))
UNFITTED = (
    UNDERFLOW + 1
)  # of `advance`: the next step leads towards a pole, and nothing is there to write its rows


@intrinsic
def _fit(typing_context, address, whole, h, tau, fitted):
    """Carry out `pole_rows.fit`."""
    kinds = WHOLE, float64, float64, FITTED

    def build(context, builder, signature, args):
        return call_at(context, builder, kinds, args)

    return types.none(int64, *kinds), build


fit_at: Any = _fit  # type checkers see its first argument, which numba supplies


@inlined()
def _trial(rhs, floats, ints, work, y, k, rows, table, ctl, cnt, buf, t_new, h):
    """One trial step into the spare row of `y`; returns the error norm (tolerance = 1), or `HALTED`."""
    old, new = row(y, cnt[CUR]), row(y, 1 - cnt[CUR])
    s, t, c = cnt[STAGES], ctl[T], table[4]
    for i in range(1, s):
        combine(new, old, k, rows, table, i, h)
        at = min(t + c[i] * h, t_new)  # never outside the interval
        call_rhs(rhs, at, new, row(k, rows[i]), floats, ints, work)
        if cnt[HALT] == 1:
            cnt[CALLS] += i
            return HALTED
    cnt[CALLS] += s - 1
    needs_new = cnt[NEEDS_NEW] == 1
    if needs_new:
        combine(new, old, k, rows, table, s, h)
        call_rhs(rhs, t_new, new, row(k, rows[s]), floats, ints, work)
        cnt[CALLS] += 1
    return finish(new, old, k, rows, table, h, ctl[RTOL], ctl[ATOL], s, cnt[ERRORS], not needs_new, buf)


@inlined()
def _look_ahead(k, rows, part, ctl, cnt, h, yy, yf, buf):
    """Distance of a pole from the end of a good step, if its slopes speak of one and the whole state goes there."""
    if cnt[MIDDLE] == 0 or cnt[FIXED] == 1:
        return NONE
    first, middle, last = row(k, rows[0]), row(k, rows[cnt[MIDDLE]]), row(k, rows[cnt[STAGES]])
    early, late = bend(first, middle, last, ctl[NORM], buf)
    tau = distance(early, late, part, h)
    return tau if believed(tau, yy, yf) else NONE


@compiled(int64(*RHS_ARGS, F2, F2, I1, TABLE, FITTED, WHOLE, F1, I1, F2, F2))
def advance(rhs, floats, ints, work, y, k, order, plain, fitted, whole, registers, counters, log, buf):
    """Take steps until t reaches ``ctl[STOP]``, or ``cnt[BUDGET]`` steps were tried, or the solution ends."""
    rows, ctl, cnt = numbers(order), numbers(registers), numbers(counters)
    s = cnt[STAGES]
    while True:
        code = pause(ctl, cnt)
        if code != GO:
            return code
        if ctl[TAU] != NONE and cnt[FIT] == 0:
            return UNFITTED
        t_new = landing(ctl, ctl[H])
        if math.isnan(t_new):
            return UNDERFLOW
        h = t_new - ctl[T]  # the step that t really takes; matters where h is a few ulp of t
        if cnt[SWAP] == 1:
            rows[0], rows[s] = rows[s], rows[0]
            cnt[SWAP] = 0
        cnt[BUDGET] -= 1
        table = places(plain)
        if ctl[TAU] != NONE:
            fit_at(cnt[FIT], whole, h, ctl[TAU], fitted)
            table = places(fitted[0])
        err = _trial(rhs, floats, ints, work, y, k, rows, table, ctl, cnt, buf, t_new, h)
        if err == HALTED:
            return RUNNING
        yy = yf = 0.0
        if good(cnt, err):
            new = row(y, 1 - cnt[CUR])
            if cnt[NEEDS_NEW] == 0:
                call_rhs(rhs, t_new, new, row(k, rows[s]), floats, ints, work)
                cnt[CALLS] += 1
            yy, yf = growth(new, row(k, rows[s]), ctl[NORM], buf)
            ctl[TAU_END] = _look_ahead(k, rows, table[4][cnt[MIDDLE]], ctl, cnt, h, yy, yf, buf)
        settle(ctl, cnt, log, t_new, h, err, yy, yf)


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


@compiled(types.void(F2, F1, F2, I1, I1, F2, float64))
def interpolate(out, y, k, order, columns, weights, h):
    """Write y + h * sum_j weights_ij k_{col_j} to out_i: points of the dense output, block by block."""
    n, rows, col, first = y.size, numbers(order), numbers(columns), int64(0)
    for lo in range(0, n, BLOCK):
        m, base = block_from(lo, n), place(y, lo)
        for i in range(out.shape[0]):
            point = place(row(out, i), lo)
            for j in range(m):
                point[j] = base[j]
            accumulate(point, m, k, rows, col, numbers(row(weights, i)), first, columns.size, h, lo)
