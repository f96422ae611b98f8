"""Array kernels of the step loop: combinations of stages, error norm, growth.

Vectors are walked in blocks that stay in the first-level cache: each stage is read once per combination. A sum begins
with the state in the loop that adds its first stages, so that nothing in a far cache is written twice. All come as
places in memory (see `_operands`), which compile faster than arrays: n numbers a vector, `k` one vector after another.
"""

from __future__ import annotations

import numpy as np

from ....kernel.calls._operands import place
from ....kernel.inner import inlined, subroutine
from .one_row import accumulate, four_from, sum_up, times_four

BLOCK = 512  # lanes of sums over a vector
SPAN = 128  # of BLOCK, in which sums of stages are formed: blocks of all stages lie in the first-level cache


@inlined()
def block_from(lo, n):
    """Length of the block that begins at `lo`."""
    return BLOCK if lo + BLOCK < n else n - lo


@inlined()
def span_from(lo, n):
    """The same of one of `SPAN` numbers."""
    return SPAN if lo + SPAN < n else n - lo


@subroutine()
def begin_three(one, two, three, y, leads, m, k, n, rows, col, val, p, q, r, h, g):
    """As `sum_up` with the four stages from p, q and r on, which are the same; of the last two rows times g."""
    k0, k1, k2, k3 = four_from(k, n, rows, col, p)
    a0, a1, a2, a3 = times_four(h, val, p)
    b0, b1, b2, b3 = times_four(g, val, q)
    c0, c1, c2, c3 = times_four(g, val, r)
    a, b, c = leads[0], leads[1], leads[2]
    for i in range(m):
        s, s0, s1, s2, s3 = y[i], k0[i], k1[i], k2[i], k3[i]
        one[i] = a * s + ((a0 * s0 + a1 * s1) + (a2 * s2 + a3 * s3))
        two[i] = b * s + ((b0 * s0 + b1 * s1) + (b2 * s2 + b3 * s3))
        three[i] = c * s + ((c0 * s0 + c1 * s1) + (c2 * s2 + c3 * s3))


@subroutine()
def _add_to_three(one, two, three, m, k, n, rows, col, val, p, q, r, h, g):
    """As `accumulate` with the four stages from p, q and r on, which are the same; of the last two rows times g."""
    k0, k1, k2, k3 = four_from(k, n, rows, col, p)
    a0, a1, a2, a3 = times_four(h, val, p)
    b0, b1, b2, b3 = times_four(g, val, q)
    c0, c1, c2, c3 = times_four(g, val, r)
    for i in range(m):
        s0, s1, s2, s3 = k0[i], k1[i], k2[i], k3[i]
        one[i] += (a0 * s0 + a1 * s1) + (a2 * s2 + a3 * s3)
        two[i] += (b0 * s0 + b1 * s1) + (b2 * s2 + b3 * s3)
        three[i] += (c0 * s0 + c1 * s1) + (c2 * s2 + c3 * s3)


@subroutine()
def combine(out, y, k, n, rows, table, which, h):
    """Write the lead of a row x y + h * (row of the table) applied to the stages."""
    ptr, col, val, leads, _ = table
    for lo in range(0, n, SPAN):
        m, o, base, slopes = span_from(lo, n), place(out, lo), place(y, lo), place(k, lo)
        sum_up(o, base, leads[which], m, slopes, n, rows, col, val, ptr[which], ptr[which + 1], h)


@subroutine()
def _last_sums(new, errors, old, m, k, n, rows, table, h, stages, count, solution, alike):
    """Write a block of the new state (where `solution`) and of its errors, one after another; see `finish`."""
    ptr, col, val, leads, _ = table
    p, q, done = ptr[stages], ptr[stages + 1], 0
    if alike:
        two, three, r, lead = place(errors, 0), place(errors, BLOCK), ptr[stages + 2], place(leads, stages)
        begin_three(new, two, three, old, lead, m, k, n, rows, col, val, p, q, r, h, 1.0)
        done = 4
        while p + done + 4 <= q:
            _add_to_three(new, two, three, m, k, n, rows, col, val, p + done, q + done, r + done, h, 1.0)
            done += 4
        accumulate(new, m, k, n, rows, col, val, p + done, q, h)
    elif solution:
        sum_up(new, old, leads[stages], m, k, n, rows, col, val, p, q, h)
    for e in range(count):
        error, p, q = place(errors, e * BLOCK), ptr[stages + 1 + e] + done, ptr[stages + 2 + e]
        if alike:
            accumulate(error, m, k, n, rows, col, val, p, q, 1.0)
        else:
            sum_up(error, old, leads[stages + 1 + e], m, k, n, rows, col, val, p, q, 1.0)


@subroutine()
def _weigh(error, old, new, m, rtol, atol, total):
    """Add the squares of an error relative to the tolerance to the lanes of a sum."""
    for i in range(m):
        a, b = abs(old[i]), abs(new[i])
        scale = atol + rtol * (a if b < a else b)  # NaN in b survives this comparison
        ratio = error[i] / scale
        total[i] += ratio * ratio + 0.0 * scale  # an infinite state must not pass as exact


@subroutine()
def finish(out, y, k, n, rows, table, h, rtol, atol, stages, errors, solution, alike, buf):
    """Write the new state (where `solution`) and return the error norm; one pass over the stages.

    Where rows are `alike`, the state and two errors, they take the same stages, four at least. The sums run over fixed
    lanes that are added up at the end: vectorised without reordering, same bits every time.
    """
    sum5, sum3, lanes = place(buf, 2 * BLOCK), place(buf, 3 * BLOCK), block_from(0, n)
    for i in range(lanes):
        sum5[i] = 0.0
        sum3[i] = 0.0
    for lo in range(0, n, SPAN):
        m, old, new, slopes = span_from(lo, n), place(y, lo), place(out, lo), place(k, lo)
        _last_sums(new, buf, old, m, slopes, n, rows, table, h, stages, errors, solution, alike)
        for e in range(errors):
            total = place(buf, (2 + e) * BLOCK + lo % BLOCK)
            _weigh(place(buf, e * BLOCK), old, new, m, rtol, atol, total)
    s5 = s3 = 0.0
    for i in range(lanes):
        s5 += sum5[i]
        s3 += sum3[i]
    if errors == 1:
        return abs(h) * np.sqrt(s5 / n)
    if s5 == 0.0 and s3 == 0.0:
        return 0.0
    return abs(h) * s5 / np.sqrt((s5 + 0.01 * s3) * n)


@subroutine()
def growth(y, f, n, scale, buf):
    """Return |y|^2 and y . f, both of y / scale."""
    square, product, lanes = place(buf, 0), place(buf, BLOCK), block_from(0, n)
    for i in range(lanes):
        square[i] = 0.0
        product[i] = 0.0
    inverse = 1.0 / scale
    for lo in range(0, n, BLOCK):
        m, a, b = block_from(lo, n), place(y, lo), place(f, lo)
        for i in range(m):
            z = a[i] * inverse
            square[i] += z * z
            product[i] += z * (b[i] * inverse)
    yy = yf = 0.0
    for i in range(lanes):
        yy += square[i]
        yf += product[i]
    return yy, yf


@inlined()
def rms(x, y, n, rtol, atol):
    """RMS of x relative to the tolerance at state y."""
    total = 0.0
    for i in range(n):
        z = x[i] / (atol + rtol * abs(y[i]))
        total += z * z
    return np.sqrt(total / n)
