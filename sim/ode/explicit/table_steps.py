"""The compiled loop of explicit Runge-Kutta methods: stages, error norm, steps towards a pole.

One compiled form serves every table: besides what `registers` explains, ``whole`` is all of it (`RungeKutta.whole`),
and ``fitted`` where its rows go that lead towards a pole (see `approach`): what writes them is compiled for those who
need it, and called by address. Importing compiles the loop or loads it.
"""

from __future__ import annotations

import math
from typing import Any

from numba import int64, types
from numba.extending import intrinsic

from ...kernel.cache import compiled
from ...kernel.calls._operands import call_at, numbers, row
from ...kernel.inner import inlined
from ..codes import RUNNING, UNDERFLOW
from .acceptance import GO, HALTED, good, landing, pause, settle
from .approach import NONE, believed, bend, distance
from .arithmetic import combine, finish, growth
from .registers import (
    ATOL,
    BUDGET,
    CALLS,
    CUR,
    ERRORS,
    F1,
    F2,
    FIT,
    FIT_SIGNATURE,
    FITTED,
    FIXED,
    HALT,
    I1,
    MIDDLE,
    NEEDS_NEW,
    NORM,
    RHS_ARGS,
    RTOL,
    STAGES,
    SWAP,
    TABLE,
    TAU,
    TAU_END,
    WHOLE,
    H,
    T,
    call_rhs,
    places,
)

# of `advance`: the next step leads towards a pole, and nothing is there to write its rows
UNFITTED = UNDERFLOW + 1


@intrinsic
def _fit(typing_context, address, whole, h, tau, fitted):
    """Carry out `pole_rows.fit`."""
    kinds = FIT_SIGNATURE.args

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
def _look_ahead(new, k, rows, part, ctl, cnt, h, yy, yf, buf):
    """Distance of a pole from the end of a good step, if its slopes speak of one and the whole state goes there."""
    if cnt[MIDDLE] == 0 or cnt[FIXED] == 1:
        return NONE
    first, middle, last = row(k, rows[0]), row(k, rows[cnt[MIDDLE]]), row(k, rows[cnt[STAGES]])
    early, late, total, along = bend(first, middle, last, new, ctl[NORM], buf)
    tau = distance(early, late, total, along, part, h)
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
            ctl[TAU_END] = _look_ahead(new, k, rows, table[4][cnt[MIDDLE]], ctl, cnt, h, yy, yf, buf)
        settle(ctl, cnt, log, t_new, h, err, yy, yf)
