"""The compiled dense output of methods whose points are sums of slopes; importing compiles it or loads it."""

from __future__ import annotations

from numba import float64, int64, types

from ...kernel.cache import compiled
from ...kernel.calls._operands import numbers, place, row
from .registers import F1, F2, I1
from .sums.arithmetic import SPAN, span_from
from .sums.one_row import sum_up


@compiled(types.void(F2, F1, F2, I1, I1, F2, float64), _nrt=False)
def interpolate(out, y, k, order, columns, weights, h):
    """Write y + h * sum_j weights_ij k_{col_j} to out_i: points of the dense output, block by block."""
    n, rows, col, first = y.size, numbers(order), numbers(columns), int64(0)
    for lo in range(0, n, SPAN):
        m, base, slopes = span_from(lo, n), place(y, lo), place(k, lo)
        for i in range(out.shape[0]):
            point, val = place(row(out, i), lo), numbers(row(weights, i))
            sum_up(point, base, 1.0, m, slopes, n, rows, col, val, first, columns.size, h)
