"""The compiled dense output of methods whose points are sums of slopes; importing compiles it or loads it."""

from __future__ import annotations

from numba import float64, int64, types

from ...kernel.cache import compiled
from ...kernel.calls._operands import numbers, place, row
from .arithmetic import BLOCK, accumulate, block_from
from .registers import F1, F2, I1


@compiled(types.void(F2, F1, F2, I1, I1, F2, float64), _nrt=False)
def interpolate(out, y, k, order, columns, weights, h):
    """Write y + h * sum_j weights_ij k_{col_j} to out_i: points of the dense output, block by block."""
    n, rows, col, first = y.size, numbers(order), numbers(columns), int64(0)
    for lo in range(0, n, BLOCK):
        m, base = block_from(lo, n), place(y, lo)
        for i in range(out.shape[0]):
            point = place(row(out, i), lo)
            for j in range(m):
                point[j] = base[j]
            accumulate(point, m, place(k, lo), n, rows, col, numbers(row(weights, i)), first, columns.size, h)
