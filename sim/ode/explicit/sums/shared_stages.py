"""Sums of stages, in which rows of a table that take the same four slopes take them in one pass.

A large state lies with its slopes in a far cache or in memory, and what a sum costs is how many arrays it reads and
writes. Sums of later stages are begun where an earlier one reads the same four slopes, and stand in the place of their
own slopes, which is free until these are evaluated. The order of additions is the same, so are the bits. Which rows
share is in `RungeKutta.shared_in`.
"""

from __future__ import annotations

from ....kernel.calls._operands import place
from ....kernel.inner import subroutine
from .arithmetic import SPAN, begin_three, combine, span_from
from .one_row import FEW, accumulate, sum_up


@subroutine()
def sum_stage(out, y, k, n, rows, table, begun, until, which, h):
    """As `combine`; `begun` entries of the row are added up, and rows from it to `until` take the next four."""
    if n < FEW or (begun == 0 and until == which + 1):
        combine(out, y, k, n, rows, table, which, h)
        return
    ptr, col, val, _, _ = table
    first, last = ptr[which] + begun, ptr[which + 1]
    for lo in range(0, n, SPAN):
        m, o, slopes = span_from(lo, n), place(out, lo), place(k, lo)
        if begun == 0:
            _begin_all(o, place(y, lo), m, slopes, n, rows, table, until, which, h)
            accumulate(o, m, slopes, n, rows, col, val, first + 4, last, h)
        else:
            so_far = place(slopes, rows[which] * n)
            sum_up(o, so_far, 1.0, m, slopes, n, rows, col, val, first, last, h)
            for row in range(which + 1, until):
                p = ptr[row] + begun
                accumulate(place(slopes, rows[row] * n), m, slopes, n, rows, col, val, p, p + 4, h)


@subroutine()
def _begin_all(out, y, m, k, n, rows, table, until, which, h):
    """Begin the sums of the rows from `which`, that is `out`, to `until` with their first four stages."""
    ptr, col, val, leads, _ = table
    row = which
    while row < until:
        one, p = out if row == which else place(k, rows[row] * n), ptr[row]
        if row + 3 <= until:
            two, three = place(k, rows[row + 1] * n), place(k, rows[row + 2] * n)
            q, r, lead = ptr[row + 1], ptr[row + 2], place(leads, row)
            begin_three(one, two, three, y, lead, m, k, n, rows, col, val, p, q, r, h, h)
            row += 3
        else:
            sum_up(one, y, leads[row], m, k, n, rows, col, val, p, p + 4, h)
            row += 1
