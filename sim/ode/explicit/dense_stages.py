"""The stages that some methods need for their dense output alone; apart from `table_steps`, for most runs need none.

Importing compiles them or loads them.
"""

from __future__ import annotations

import numpy as np
from numba import types

from ...kernel.cache import compiled
from ...kernel.calls._operands import numbers, row
from .registers import CALLS, CUR, F1, F2, H_LAST, I1, RHS_ARGS, STAGES, T_PREV, TABLE, call_rhs
from .sums.arithmetic import combine


@compiled(types.void(*RHS_ARGS, F2, F2, I1, TABLE, F1, I1))
def extra_stages(rhs, floats, ints, work, y, k, order, rows_of, ctl, cnt):
    """Evaluate the stages that only the dense output of the last accepted step needs; spoils no state."""
    s, h, c = cnt[STAGES], ctl[H_LAST], rows_of[4]
    ptr, col, val, leads, _ = rows_of
    rows, table = numbers(order), (numbers(ptr), numbers(col), numbers(val), numbers(leads), numbers(c))
    old = row(y, 1 - cnt[CUR])
    point = np.empty_like(old)
    for i in range(c.size):
        combine(numbers(point), numbers(old), numbers(k), old.size, rows, table, i, h)
        call_rhs(rhs, ctl[T_PREV] + c[i] * h, point, row(k, rows[s + 1 + i]), floats, ints, work)
    cnt[CALLS] += c.size
