"""Array kernels of the step loop: combinations of stages, error norm, growth.

Vectors are walked in blocks that stay in the first-level cache: each stage is read once per combination.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 512


@njit(error_model="numpy", nogil=True)
def accumulate(out, k, rows, col, val, first, last, h, lo):
    """Add h * (row of the table) applied to the stages' entries from `lo` on; four stages at a time."""
    m = out.size
    if m < 8:  # slices cost more than they save
        for i in range(m):
            total = 0.0
            for j in range(first, last):
                total += val[j] * k[rows[col[j]], lo + i]
            out[i] += h * total
        return
    hi = lo + m
    j = first
    while j + 4 <= last:
        k0, k1, k2, k3 = (
            k[rows[col[j]], lo:hi],
            k[rows[col[j + 1]], lo:hi],
            k[rows[col[j + 2]], lo:hi],
            k[rows[col[j + 3]], lo:hi],
        )
        c0, c1, c2, c3 = h * val[j], h * val[j + 1], h * val[j + 2], h * val[j + 3]
        for i in range(m):
            out[i] += (c0 * k0[i] + c1 * k1[i]) + (c2 * k2[i] + c3 * k3[i])
        j += 4
    while j < last:
        k0, c0 = k[rows[col[j]], lo:hi], h * val[j]
        for i in range(m):
            out[i] += c0 * k0[i]
        j += 1


@njit(error_model="numpy", nogil=True)
def combine(out, y, k, rows, table, row, h):
    """Write the lead of a row x y + h * (row of the table) applied to the stages."""
    ptr, col, val, leads, _ = table
    lead = leads[row]
    n = y.size
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        o, base = out[lo:hi], y[lo:hi]
        for i in range(hi - lo):
            o[i] = lead * base[i]
        accumulate(o, k, rows, col, val, ptr[row], ptr[row + 1], h, lo)


@njit(error_model="numpy", nogil=True)
def finish(out, y, k, rows, table, h, rtol, atol, stages, errors, solution, buf):
    """Write the new state (where `solution`) and return the error norm; one pass over the stages.

    The sums run over fixed lanes that are added up at the end: vectorised without reordering, same bits
    every time.
    """
    ptr, col, val, lead, _ = table
    n = y.size
    sum5, sum3 = buf[2], buf[3]
    for i in range(min(n, BLOCK)):
        sum5[i] = 0.0
        sum3[i] = 0.0
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        m = hi - lo
        old, new, scale, error = y[lo:hi], out[lo:hi], buf[0, :m], buf[1, :m]
        if solution:
            for i in range(m):
                new[i] = lead[stages] * old[i]
            accumulate(new, k, rows, col, val, ptr[stages], ptr[stages + 1], h, lo)
        for i in range(m):
            a, b = abs(old[i]), abs(new[i])
            scale[i] = atol + rtol * (a if b < a else b)  # NaN in b survives this comparison
        for e in range(errors):
            row = stages + 1 + e
            for i in range(m):
                error[i] = lead[row] * old[i]
            accumulate(error, k, rows, col, val, ptr[row], ptr[row + 1], 1.0, lo)
            total = sum5 if e == 0 else sum3
            for i in range(m):
                ratio = error[i] / scale[i]
                total[i] += ratio * ratio + 0.0 * scale[i]  # an infinite state must not pass as exact
    s5 = s3 = 0.0
    for i in range(min(n, BLOCK)):
        s5 += sum5[i]
        s3 += sum3[i]
    if errors == 1:
        return abs(h) * np.sqrt(s5 / n)
    if s5 == 0.0 and s3 == 0.0:
        return 0.0
    return abs(h) * s5 / np.sqrt((s5 + 0.01 * s3) * n)


@njit(error_model="numpy", nogil=True)
def growth(y, f, scale, buf):
    """Return |y|^2 and y . f, both of y / scale."""
    n = y.size
    square, product = buf[0], buf[1]
    for i in range(min(n, BLOCK)):
        square[i] = 0.0
        product[i] = 0.0
    inverse = 1.0 / scale
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        a, b = y[lo:hi], f[lo:hi]
        for i in range(hi - lo):
            z = a[i] * inverse
            square[i] += z * z
            product[i] += z * (b[i] * inverse)
    yy = yf = 0.0
    for i in range(min(n, BLOCK)):
        yy += square[i]
        yf += product[i]
    return yy, yf


@njit(error_model="numpy", nogil=True)
def rms(x, y, rtol, atol):
    """RMS of x relative to the tolerance at state y."""
    total = 0.0
    for i in range(x.size):
        z = x[i] / (atol + rtol * abs(y[i]))
        total += z * z
    return np.sqrt(total / x.size)
