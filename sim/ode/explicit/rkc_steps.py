"""The compiled loop of the stabilised method RKC: as many stages as the step size needs to be stable.

Rows of `k`: f at the start of the step, three of scratch, f at its end, and the direction in which the Jacobian
stretches most, for the next estimate of its spectral radius. Importing compiles the loop or loads it.
"""

from __future__ import annotations

import numpy as np
from numba import int64

from ...kernel.cache import compiled
from ...kernel.calls._extremes import greater, lesser
from ...kernel.calls._operands import numbers, place, shaped
from ...kernel.calls._operands import row as row_of
from ...kernel.inner import helper, inlined
from ..codes import RUNNING, UNDERFLOW
from ..growing import part_in_loop
from .acceptance import GO, HALTED, NOT_FINITE, TAKEN, landing, pause, settle
from .registers import (
    ACCEPTED,
    ATOL,
    BUDGET,
    CALLS,
    CONTROL,
    COUNTS,
    CUR,
    FIXED,
    HALT,
    I1,
    LOG,
    LOGGED,
    MORE,
    NORM,
    RECORD,
    ROUNDING,
    ROWS,
    RTOL,
    SCRATCH,
    SIZE,
    SLOPES,
    STATES,
    SWAP,
    T0,
    H,
    T,
    evaluate,
    reals,
    wholes,
)
from .sums.arithmetic import growth, rms

START, ONE, TWO, SLOPE, END, STRETCHED = range(6)
N_ROWS = 6
DAMPING = 2.0 / 13.0
MOST_STAGES = 400
FIXED_LIMIT = 1e9  # step x spectral radius beyond which no step of fixed size is tried: 40,000 stages
USUAL_STAGES = 12  # a step of more counts as several, so that a call lasts no longer as stages become more
LIFE = 25  # steps after which the spectral radius is estimated anew
SPARE = 1.2  # what an estimate is enlarged by
LOOKS = 50  # most evaluations of such an estimate
# fields of `radius`; SWEPT: the integral of the radius over flow time
RADIUS, AGE, SWEPT, N_RADIUS = range(4)
SHARE = 0.5  # of what a step may err while the state grows


@inlined()
def _spectral_radius(places, t, y, k, rows, rounding, cnt):
    """Estimate the largest |eigenvalue| of the Jacobian from differences of f, with some to spare."""
    n, size, length = places[SIZE], 0.0, 0.0
    f, point = place(k, rows[START] * n), place(k, rows[ONE] * n)
    slope, direction = place(k, rows[SLOPE] * n), place(k, rows[STRETCHED] * n)
    for i in range(n):
        size += y[i] * y[i]
        length += direction[i] * direction[i]
    if length == 0.0:  # f, with something of every direction in it: a slow f must not hide a fast one
        for i in range(n):
            length += f[i] * f[i]
        noise = 0.02 * np.sqrt(length / n) if length > 0.0 else 1.0
        length = 0.0
        for i in range(n):
            direction[i] = f[i] + noise * ((i * 7919) % 13 - 6)
            length += direction[i] * direction[i]
    delta = np.sqrt(rounding) * (np.sqrt(size) if size > 0.0 else 1.0)
    radius = 0.0
    for look in range(LOOKS):
        scale = delta / np.sqrt(length)
        for i in range(n):
            point[i] = y[i] + scale * direction[i]
        evaluate(places, t, point, slope)
        cnt[CALLS] += 1
        length = 0.0
        for i in range(n):
            direction[i] = slope[i] - f[i]
            length += direction[i] * direction[i]
        before, radius = radius, np.sqrt(length) / delta
        if length == 0.0 or (look >= 2 and abs(radius - before) <= 0.02 * radius) or cnt[HALT] == 1:
            break
    return SPARE * radius


@inlined()
def number_of_stages(h, radius):
    """Stages that make a step stable: beta(s) = 2/3 (s^2 - 1) (1 - 2/15 damping)."""
    return greater(2, 1 + int(np.sqrt(1.0 + 1.54 * h * radius)))


@inlined()
def longest(radius):
    """Step that the most stages make stable."""
    return np.inf if radius <= 0.0 else (MOST_STAGES - 1) ** 2 / (1.54 * radius)


@helper(_nrt=True)
def coefficients(h, s):
    """Coefficients of the s stages of a step of size h; Sommeijer, Shampine and Verwer, eqs. (2.2) to (2.8).

    Row j - 1 is of the state after stage j: weights of the two states before it and of the start, what its slope is
    multiplied by, how much of the first slope is taken off that, and where in the step the slope is evaluated. Of the
    first stage the fourth alone means something.
    """
    table = np.zeros((s, 6))
    w0 = 1.0 + DAMPING / (s * s)
    root = w0 * w0 - 1.0
    angle = s * np.log(w0 + np.sqrt(root))
    w1 = np.sinh(angle) * root / (np.cosh(angle) * s * np.sqrt(root) - w0 * np.sinh(angle))
    b1 = b2 = 1.0 / (4.0 * w0 * w0)
    # Chebyshev polynomials at w0 with first and second derivatives, of degrees j - 1 and j - 2
    z1, z2, d1, d2, e1, e2 = w0, 1.0, 1.0, 0.0, 0.0, 0.0
    mu = w1 * b1
    c1, c2 = mu, 0.0
    table[0, 3] = h * mu
    for j in range(2, s + 1):
        z, d = 2.0 * w0 * z1 - z2, 2.0 * w0 * d1 - d2 + 2.0 * z1
        e = 2.0 * w0 * e1 - e2 + 4.0 * d1
        b = e / (d * d)
        a = 1.0 - z1 * b1
        mu, nu = 2.0 * w0 * b / b1, -b / b2
        step = h * mu * w1 / w0
        row = table[j - 1]
        row[0], row[1], row[2], row[3], row[4], row[5] = mu, nu, 1.0 - mu - nu, step, a, h * c1
        c = mu * c1 + nu * c2 + step / h * (1.0 - a)
        b2, b1, c2, c1 = b1, b, c1, c
        z2, z1, d2, d1, e2, e1 = z1, z, d1, d, e1, e
    return table


@inlined()
def _trial(places, old, new, k, rows, ctl, cnt, t_new, h, s):
    """One step of s stages into `new`; Sommeijer, Shampine and Verwer, eq. (2.1); or `HALTED`."""
    n, t = places[SIZE], ctl[T]
    f0, one, two, slope = (
        place(k, rows[START] * n),
        place(k, rows[ONE] * n),
        place(k, rows[TWO] * n),
        place(k, rows[SLOPE] * n),
    )
    table = coefficients(h, s)
    for i in range(n):
        two[i] = old[i]
        one[i] = old[i] + table[0, 3] * f0[i]
    for j in range(2, s + 1):
        row = row_of(table, j - 1)
        mu, nu, rest, step, a, shift = row[0], row[1], row[2], row[3], row[4], row[5]
        evaluate(places, lesser(t + shift, t_new), one, slope)
        if cnt[HALT] == 1:
            cnt[CALLS] += j - 1
            return HALTED
        for i in range(n):
            new[i] = mu * one[i] + nu * two[i] + rest * old[i] + step * (slope[i] - a * f0[i])
        if j < s:
            for i in range(n):
                two[i] = one[i]
                one[i] = new[i]
    evaluate(places, t_new, new, place(k, rows[END] * n))
    cnt[CALLS] += s
    f1 = place(k, rows[END] * n)
    for i in range(n):
        slope[i] = 0.8 * (old[i] - new[i]) + 0.4 * h * (f0[i] + f1[i])
        one[i] = (new[i] - old[i]) / h  # what the dense output needs
        two[i] = greater(abs(old[i]), abs(new[i])) + 0.0 * new[i]
    return rms(slope, two, n, ctl[RTOL], ctl[ATOL])


@inlined()
def _growth_time(old, slope, n, ctl, cnt, log, buf):
    """Growth time at the start of a step: that of the last row of the log, which is empty before the first step."""
    if cnt[ACCEPTED] > 0:
        return log[cnt[LOGGED] % LOG, 1]
    square, product = growth(old, slope, n, ctl[NORM], buf)
    return square / product


@compiled(int64(I1))
def advance(listed):
    """Take steps until t reaches ``ctl[STOP]``, or ``cnt[BUDGET]`` steps were tried, or the solution ends."""
    places = numbers(listed)
    n, rows, log = places[SIZE], wholes(places, ROWS), shaped(reals(places, RECORD), LOG, 3)
    y, k = reals(places, STATES), reals(places, SLOPES)
    ctl, cnt, buf = reals(places, CONTROL), wholes(places, COUNTS), reals(places, SCRATCH)
    radius = reals(places, MORE)
    while True:
        code = pause(ctl, cnt)
        if code != GO:
            return code
        if cnt[SWAP] == 1:
            rows[START], rows[END] = rows[END], rows[START]
            cnt[SWAP] = 0
        old, new = place(y, cnt[CUR] * n), place(y, (1 - cnt[CUR]) * n)
        if radius[AGE] <= 0.0:
            radius[RADIUS] = _spectral_radius(places, ctl[T], old, k, rows, ctl[ROUNDING], cnt)
            radius[AGE] = LIFE
            if cnt[HALT] == 1:
                radius[AGE] = 0.0
                return RUNNING
        t_new = landing(ctl, ctl[H] if cnt[FIXED] == 1 else lesser(ctl[H], longest(radius[RADIUS])))
        if np.isnan(t_new):
            return UNDERFLOW
        h = t_new - ctl[T]
        cnt[BUDGET] -= 1
        err, yy, yf = np.nan, 0.0, 0.0
        # a step of fixed size would take for ever else
        if cnt[FIXED] == 0 or h * radius[RADIUS] <= FIXED_LIMIT:
            s = number_of_stages(h, radius[RADIUS])
            cnt[BUDGET] -= s // USUAL_STAGES
            err = _trial(places, old, new, k, rows, ctl, cnt, t_new, h, s)
            if err == HALTED:
                return RUNNING
            yy, yf = growth(new, place(k, rows[END] * n), n, ctl[NORM], buf)
            before = _growth_time(old, place(k, rows[START] * n), n, ctl, cnt, log, buf)
            err /= part_in_loop(h, t_new - ctl[T0], before, yy / yf, ctl[RTOL], ctl[ROUNDING], SHARE)
        end = settle(ctl, cnt, log, t_new, h, err, yy, yf)
        if end == TAKEN:
            radius[AGE] -= 1.0
            radius[SWEPT] += radius[RADIUS] * h
        else:
            radius[AGE] = 0.0 if end == NOT_FINITE else lesser(radius[AGE], 1.0)
