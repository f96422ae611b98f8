"""Array kernels of the step loop: combinations of stages, error norm, growth.

Vectors are walked in blocks that stay in the first-level cache: each stage is read once per combination. All come as
places in memory (see `_operands`), which compile faster than arrays: n numbers a vector, `k` one vector after another.
"""

from __future__ import annotations

import numpy as np

from ...kernel.calls._operands import place
from ...kernel.inner import inlined, subroutine

BLOCK = 512


@subroutine()
def accumulate(out, m, k, n, rows, col, val, first, last, h):
    """Add h * (row of the table) applied to the first m entries of the stages, four stages at a time."""
    if m < 8:  # setting up vectors costs more than they save
        for i in range(m):
            total = 0.0
            for j in range(first, last):
                total += val[j] * k[rows[col[j]] * n + i]
            out[i] += h * total
        return
    j = first
    while j + 4 <= last:
        k0, k1, k2, k3 = (
            place(k, rows[col[j]] * n),
            place(k, rows[col[j + 1]] * n),
            place(k, rows[col[j + 2]] * n),
            place(k, rows[col[j + 3]] * n),
        )
        c0, c1, c2, c3 = h * val[j], h * val[j + 1], h * val[j + 2], h * val[j + 3]
        for i in range(m):
            out[i] += (c0 * k0[i] + c1 * k1[i]) + (c2 * k2[i] + c3 * k3[i])
        j += 4
    while j < last:
        k0, c0 = place(k, rows[col[j]] * n), h * val[j]
        for i in range(m):
            out[i] += c0 * k0[i]
        j += 1


@inlined()
def block_from(lo, n):
    """Length of the block that begins at `lo`."""
    return BLOCK if lo + BLOCK < n else n - lo


@subroutine()
def combine(out, y, k, n, rows, table, which, h):
    """Write the lead of a row x y + h * (row of the table) applied to the stages."""
    ptr, col, val, leads, _ = table
    lead, first, last = leads[which], ptr[which], ptr[which + 1]
    for lo in range(0, n, BLOCK):
        m, o, base = block_from(lo, n), place(out, lo), place(y, lo)
        for i in range(m):
            o[i] = lead * base[i]
        accumulate(o, m, place(k, lo), n, rows, col, val, first, last, h)


@subroutine()
def finish(out, y, k, n, rows, table, h, rtol, atol, stages, errors, solution, buf):
    """Write the new state (where `solution`) and return the error norm; one pass over the stages.

    The sums run over fixed lanes that are added up at the end: vectorised without reordering, same bits
    every time.
    """
    ptr, col, val, leads, _ = table
    scale, error, sum5, sum3 = place(buf, 0), place(buf, BLOCK), place(buf, 2 * BLOCK), place(buf, 3 * BLOCK)
    lanes = block_from(0, n)
    for i in range(lanes):
        sum5[i] = 0.0
        sum3[i] = 0.0
    for lo in range(0, n, BLOCK):
        m, old, new, slopes = block_from(lo, n), place(y, lo), place(out, lo), place(k, lo)
        if solution:
            for i in range(m):
                new[i] = leads[stages] * old[i]
            accumulate(new, m, slopes, n, rows, col, val, ptr[stages], ptr[stages + 1], h)
        for i in range(m):
            a, b = abs(old[i]), abs(new[i])
            scale[i] = atol + rtol * (a if b < a else b)  # NaN in b survives this comparison
        for e in range(errors):
            p = stages + 1 + e
            for i in range(m):
                error[i] = leads[p] * old[i]
            accumulate(error, m, slopes, n, rows, col, val, ptr[p], ptr[p + 1], 1.0)
            total = sum5 if e == 0 else sum3
            for i in range(m):
                ratio = error[i] / scale[i]
                total[i] += ratio * ratio + 0.0 * scale[i]  # an infinite state must not pass as exact
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
