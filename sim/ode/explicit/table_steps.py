"""The compiled loop of explicit Runge-Kutta methods: stages, error norm, steps towards a pole.

One compiled form serves every table: it is handed over as `registers` explains. What writes the rows of steps that lead
towards a pole (see `approach`) is compiled for those who need it, and called by address. Importing compiles the loop or
loads it.
"""

from __future__ import annotations

import math
from typing import Any

from numba import int64, types
from numba.extending import intrinsic

from ...kernel.cache import compiled
from ...kernel.calls._extremes import lesser
from ...kernel.calls._operands import call_at, numbers, place, shaped
from ...kernel.inner import inlined
from ..codes import RUNNING, UNDERFLOW
from .acceptance import GO, HALTED, good, landing, pause, settle
from .approach import NONE, believed, bend, distance
from .registers import (
    ATOL,
    BUDGET,
    CALLS,
    CONTROL,
    COUNTS,
    CUR,
    ERRORS,
    FIT,
    FIT_SIGNATURE,
    FITTED,
    FIXED,
    HALT,
    I1,
    LOG,
    MIDDLE,
    NEEDS_NEW,
    NORM,
    PLAIN,
    RECORD,
    ROWS,
    RTOL,
    SCRATCH,
    SHARING,
    SIZE,
    SLOPES,
    STAGES,
    STATES,
    SWAP,
    TAU,
    TAU_END,
    H,
    T,
    evaluate,
    reals,
    table_at,
    wholes,
)
from .sums.arithmetic import finish, growth
from .sums.one_row import FEW
from .sums.shared_stages import sum_stage

# of `advance`: the next step leads towards a pole, and nothing is there to write its rows
UNFITTED = UNDERFLOW + 1


@intrinsic
def _fit(typing_context, address, places, h, tau):
    """Carry out `pole_rows.fit`."""
    kinds = FIT_SIGNATURE.args

    def build(context, builder, signature, args):
        return call_at(context, builder, kinds, args)

    return types.none(int64, *kinds), build


fit_at: Any = _fit  # type checkers see its first argument, which numba supplies


@inlined()
def _trial(places, old, new, k, rows, table, sharing, ctl, cnt, buf, t_new, h):
    """One trial step into `new`; returns the error norm (tolerance = 1), or `HALTED`."""
    n, s, t, c = places[SIZE], cnt[STAGES], ctl[T], table[4]
    begun, until = sharing, place(sharing, s + 1)
    for i in range(1, s):
        sum_stage(new, old, k, n, rows, table, begun[i], until[i], i, h)
        at = lesser(t + c[i] * h, t_new)  # never outside the interval
        evaluate(places, at, new, place(k, rows[i] * n))
        if cnt[HALT] == 1:
            cnt[CALLS] += i
            return HALTED
    cnt[CALLS] += s - 1
    needs_new = cnt[NEEDS_NEW] == 1
    if needs_new:
        sum_stage(new, old, k, n, rows, table, begun[s], s + 1, s, h)
        evaluate(places, t_new, new, place(k, rows[s] * n))
        cnt[CALLS] += 1
    alike = until[s] > s + 1 and n >= FEW
    return finish(
        new, old, k, n, rows, table, h, ctl[RTOL], ctl[ATOL], s, cnt[ERRORS], not needs_new, alike, buf
    )


@inlined()
def _look_ahead(new, k, n, rows, part, ctl, cnt, h, yy, yf, buf):
    """Distance of a pole from the end of a good step, if its slopes speak of one and the whole state goes there."""
    if cnt[MIDDLE] == 0 or cnt[FIXED] == 1:
        return NONE
    first, middle, last = (
        place(k, rows[0] * n),
        place(k, rows[cnt[MIDDLE]] * n),
        place(k, rows[cnt[STAGES]] * n),
    )
    early, late, total, along = bend(first, middle, last, new, n, ctl[NORM], buf)
    tau = distance(early, late, total, along, part, h)
    return tau if believed(tau, yy, yf) else NONE


@compiled(int64(I1), _nrt=False)
def advance(listed):
    """Take steps until t reaches ``ctl[STOP]``, or ``cnt[BUDGET]`` steps were tried, or the solution ends."""
    places = numbers(listed)
    ctl, cnt, buf = reals(places, CONTROL), wholes(places, COUNTS), reals(places, SCRATCH)
    s = cnt[STAGES]
    n, rows, log = places[SIZE], wholes(places, ROWS), shaped(reals(places, RECORD), LOG, 3)
    y, k = reals(places, STATES), reals(places, SLOPES)
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
        first = PLAIN
        if ctl[TAU] != NONE:
            fit_at(cnt[FIT], places, h, ctl[TAU])
            first = FITTED
        table, sharing = table_at(places, first), wholes(places, first + SHARING)
        old, new = place(y, cnt[CUR] * n), place(y, (1 - cnt[CUR]) * n)
        err = _trial(places, old, new, k, rows, table, sharing, ctl, cnt, buf, t_new, h)
        if err == HALTED:
            return RUNNING
        yy = yf = 0.0
        if good(cnt, err):
            slope = place(k, rows[s] * n)
            if cnt[NEEDS_NEW] == 0:
                evaluate(places, t_new, new, slope)
                cnt[CALLS] += 1
            yy, yf = growth(new, slope, n, ctl[NORM], buf)
            ctl[TAU_END] = _look_ahead(new, k, n, rows, table[4][cnt[MIDDLE]], ctl, cnt, h, yy, yf, buf)
        settle(ctl, cnt, log, t_new, h, err, yy, yf)
