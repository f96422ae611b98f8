"""The compiled coefficients of the series of an unrolled flow, eight members in lanes."""

from __future__ import annotations

from numba import float64, int64, types

from ...kernel.calls._operands import part, row
from ...kernel.inner import helper
from ..explicit.registers import call_rhs
from .chains import linear, products, scaled, squares
from .lanes import WIDTH
from .program import CHAINS, INTEGRALS, LATE, LINEAR, PRODUCTS, RATES

LANES = WIDTH
# ints and floats of the program, its tables and their numbers, scratch (2, widest), address of the right-hand side
PROGRAM = types.Tuple((int64[::1], float64[::1], int64[::1], float64[::1], float64[:, ::1], int64))


@helper()
def _sum(program, work, p, k):
    """Carry out the sum at p for coefficient k, or k - 1 if it is late; returns what comes after it."""
    ints, floats = program[0], program[1]
    code = ints[p]
    j = k if code < LATE else k - 1
    if code == LINEAR or code == LINEAR + LATE:
        place, count = ints[p + 1], ints[p + 2]
        if j >= 0:
            linear(work, ints, floats, place, count, p + 3, floats[place] if j == 0 else 0.0, j * LANES)
        return p + 4 + count
    if code == PRODUCTS or code == PRODUCTS + LATE:
        if j >= 0:
            products(work, ints, p + 2, ints[p + 1], j * LANES)
        return p + 2 + CHAINS + 2 * CHAINS * ints[p + 1]
    if j >= 0:
        squares(work, ints, p + 2, ints[p + 1], j * LANES)
    return p + 2 + CHAINS + CHAINS * ints[p + 1]


@helper()
def _rates_or_integrals(ints, work, p, k):
    """Carry out the RATES or INTEGRALS at p for coefficient k."""
    n, first = ints[p + 1], p + 2
    if k > 0:
        at, before = k * LANES, (k - 1) * LANES
        for i in range(n):
            if ints[p] == RATES:
                scaled(work, ints[first + i] + at, float(k), ints[first + n + i] + before)
            else:
                scaled(work, ints[first + i] + before, 1.0 / k, ints[first + n + i] + at)
    return first + 2 * n


@helper()
def _values(program, work, p):
    """Carry out the VALUES at p, lane by lane."""
    ints, _, tables, numbers, scratch, rhs = program
    n, x, f = ints[p + 1], row(scratch, 0), row(scratch, 1)
    table = part(tables, ints[p + 2], tables.size)
    for lane in range(LANES):
        for i in range(n):
            x[i] = work[ints[p + 3 + i] + lane]
        call_rhs(rhs, 0.0, x, f, numbers, table, x)
        for i in range(n):
            work[ints[p + 3 + n + i] + lane] = f[i]


@helper()
def series(program, work, order, lane_scale):
    """Coefficients 1 .. order of all slots from those of the state at 0; the derivative's own times the scale."""
    ints = program[0]
    n, stride = ints[0], (order + 1) * LANES
    for k in range(order):
        at, p = k * LANES, 2 + n
        for _ in range(ints[1]):
            if ints[p] < RATES:
                p = _sum(program, work, p, k)
            elif ints[p] <= INTEGRALS:
                p = _rates_or_integrals(ints, work, p, k)
            else:
                if k == 0:
                    _values(program, work, p)
                p += 3 + 2 * ints[p + 1]
        for j in range(n):
            source, target = ints[2 + j] + at, j * stride + at + LANES
            for i in range(LANES):
                work[target + i] = work[source + i] * (lane_scale[i] / (k + 1))
