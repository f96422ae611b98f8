"""The compiled steps by Taylor series of an unrolled flow, eight members in lanes; importing compiles or loads it.

Every lane is one member with its own time, step and end; a lane that is done takes the next member. Lanes share
nothing but the instructions, so that a member's bits do not depend on its neighbours. Coefficients are those of time
measured in the lane's own `SCALE`, a power of two near its step: near a pole the bare ones would leave the range of
numbers.
"""

from __future__ import annotations

import numpy as np
from numba import float64, int64, void

from ...kernel.cache import compiled
from ...kernel.calls._extremes import greater, lesser
from ...kernel.inner import helper
from ..codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from .series_coefficients import LANES, PROGRAM, series

NOT_FINITE = UNDERFLOW + 1
IDLE = -1
# Rows of `lane` (numbers) and of `mark` (integers). A lane that SKIPs only changes its scale this round. At the last
# look at stability it stood after LOOKED steps, HELD_THEN of them held down; the next comes after LOOK steps. ASKS: for
# another method.
T, T_PREV, SCALE, NEXT_SCALE, X, N_LANE = range(6)
MEMBER, FRESH, SHRUNK, SKIP, LOOKED, LOOK, HELD_THEN, ASKS, N_MARK = range(9)
# columns of what is said and found of each member; TERMS: the last term over the one before (see `STIFF`)
START, END, ATOL, N_SPAN = range(4)
AT, STEP, STAR, LARGEST, TERMS, N_FOUND = range(6)
CODE, STEPS, ROUNDS, SAVED, HELD, N_COUNT = range(6)
# rows of `size`: the last two coefficients in units of the tolerance, the largest of their entries, |y|^2, y . f
LAST, BEFORE, TOP, BELOW, YY, YF, N_SIZE = range(7)

SAFETY = 0.9
_EPS = 2.220446049250313e-16
_MOST_SHRINKING = 40
NEVER = 2**62  # steps between two looks where none is taken
# The last term of a step over the one before, from which stability rules the step: rates of decay that are faster than
# accuracy needs give (p!)^(1/p) / p, which is 0.37 to 0.47 at order p; a pole 0.9 rtol^(1/p), which is 0.17 to 0.28.
STIFF = 1.0 / 3.0
_F1, _F2, _F3, _I2 = float64[::1], float64[:, ::1], float64[:, :, ::1], int64[:, ::1]


@helper()
def _measure(work, n, order, rtol, atol, size):
    """Fill `size`: RMS over the entries for the tolerance, as all methods have it."""
    stride = (order + 1) * LANES
    size[:] = 0.0
    for j in range(n):
        p = j * stride
        for i in range(LANES):
            y, rate = work[p + i], work[p + LANES + i]
            unit = 1.0 / (atol[i] + rtol * abs(y))
            a, b = work[p + order * LANES + i], work[p + (order - 1) * LANES + i]
            last, before = a * unit, b * unit
            size[LAST, i] += last * last
            size[BEFORE, i] += before * before
            size[TOP, i] = greater(size[TOP, i], abs(a))
            size[BELOW, i] = greater(size[BELOW, i], abs(b))
            size[YY, i] += y * y
            size[YF, i] += y * rate
    for i in range(LANES):
        size[LAST, i] = np.sqrt(size[LAST, i] / n)
        size[BEFORE, i] = np.sqrt(size[BEFORE, i] / n)


@helper()
def _advance(work, n, order, lane, mark, new):
    """Value of the series at its `X`, in units of the scale, for every lane that does not skip."""
    stride, x = (order + 1) * LANES, lane[X]
    for j in range(n):
        p, q = j * stride, j * LANES
        for i in range(LANES):
            new[q + i] = work[p + order * LANES + i]
        for k in range(order - 1, -1, -1):
            for i in range(LANES):
                new[q + i] = new[q + i] * x[i] + work[p + k * LANES + i]
        for i in range(LANES):
            if mark[SKIP, i] == 1:
                new[q + i] = work[p + i]


@compiled(void(_F1, int64, int64, float64, _F1))
def evaluate(work, order, lane, x, out):
    """Write the state of one lane at `x`, in units of its scale, to `out` (n,)."""
    stride = (order + 1) * LANES
    for j in range(out.size):
        p = j * stride + lane
        value = work[p + order * LANES]
        for k in range(order - 1, -1, -1):
            value = value * x + work[p + k * LANES]
        out[j] = value


@helper()
def _place(new, lane, mark, atol, starts, span, looks, i, m):
    """Put member m into lane i; -1 leaves it idle."""
    mark[LOOKED, i], mark[LOOK, i], mark[ASKS, i] = 0, looks, 0
    mark[HELD_THEN, i] = 0
    mark[MEMBER, i], mark[FRESH, i], mark[SHRUNK, i], mark[SKIP, i] = m, 1, 0, 0
    lane[NEXT_SCALE, i], lane[X, i], atol[i] = 1.0, 0.0, 1.0
    if m >= 0:
        lane[T, i] = lane[T_PREV, i] = span[m, START]
        lane[NEXT_SCALE, i] = 2.0 ** np.floor(np.log2(span[m, END] - span[m, START]))
        atol[i] = span[m, ATOL]
    for j in range(starts.shape[1]):
        new[j * LANES + i] = starts[m, j] if m >= 0 else 0.0


@helper()
def _step_size(size, order, i):
    """Longest step, in units of the scale, at which the last two terms stay within the tolerance."""
    a, b = size[LAST, i], size[BEFORE, i]
    if not np.isfinite(a + b):
        return np.nan
    return SAFETY * lesser(a ** (-1.0 / order), b ** (-1.0 / (order - 1)))


@helper()
def _rescale(lane, mark, h, i):
    """Choose the next scale; returns whether the coefficients must be computed again in it."""
    lane[NEXT_SCALE, i] = lane[SCALE, i]
    if h == np.inf:
        return False
    if h > 0.0:
        lane[NEXT_SCALE, i] *= 2.0 ** lesser(900.0, greater(-900.0, np.floor(np.log2(h))))
        poor = mark[FRESH, i] == 1 and not 2.0**-8 <= h <= 2.0**8
        mark[FRESH, i] = 0
        return poor
    lane[NEXT_SCALE, i] *= 2.0**-24
    mark[SHRUNK, i] += 1
    return mark[SHRUNK, i] <= _MOST_SHRINKING


@helper()
def _prepare(lane, size, span, found, count, h, fixed, max_steps, i, m):
    """Choose lane i's step: sets `X` and the new time, or returns how member m ends here."""
    t, end = lane[T, i], span[m, END]
    step = fixed if fixed > 0.0 else h * lane[SCALE, i]
    found[m, STEP] = step
    if count[m, STEPS] >= max_steps:
        return OUT_OF_STEPS
    if not step > 0.0:
        return NOT_FINITE
    last = t + 1.01 * step >= end
    if not last and step <= 16.0 * _EPS * greater(abs(t), abs(span[m, START])):
        if size[YF, i] > 0.0:  # it grows: at a pole all coefficients fall by its distance
            found[m, STAR] = t + lane[SCALE, i] * (size[BELOW, i] / size[TOP, i])
        return UNDERFLOW
    lane[T_PREV, i] = t
    lane[T, i] = end if last else t + step
    lane[X, i] = (lane[T, i] - t) / lane[SCALE, i]
    return RUNNING


@helper()
def _largest(new, n, i):
    """Largest entry of a lane's state; nan if one is not finite."""
    top = 0.0
    for j in range(n):
        y = abs(new[j * LANES + i])
        if not np.isfinite(y):
            return np.nan
        top = greater(top, y)
    return top


@helper()
def _save(work, new, order, lane, saves, states, count, i, m):
    """Write what member m was to save within the last step."""
    k, t = count[m, SAVED], lane[T, i]
    while k < saves.shape[1] and saves[m, k] <= t:
        if saves[m, k] == t:
            for j in range(states.shape[2]):
                states[m, k, j] = new[j * LANES + i]
        else:
            evaluate(work, order, i, (saves[m, k] - lane[T_PREV, i]) / lane[SCALE, i], states[m, k])
        k += 1
    count[m, SAVED] = k


@helper()
def _choose_steps(lane, mark, size, order, span, found, count, fixed, max_steps):
    """Steps of all lanes; those that end before it or only change their scale skip this round."""
    for i in range(LANES):
        lane[X, i], mark[SKIP, i] = 0.0, 1
        m = mark[MEMBER, i]
        if m == IDLE:
            continue
        count[m, ROUNDS] += 1
        h = _step_size(size, order, i)
        found[m, TERMS] = h * size[TOP, i] / size[BELOW, i]
        if _rescale(lane, mark, h, i):
            continue
        count[m, CODE] = _prepare(lane, size, span, found, count, h, fixed, max_steps, i, m)
        mark[SKIP, i] = count[m, CODE] != RUNNING


@helper()
def _settle(work, new, n, order, lane, mark, span, saves, states, found, count, i, m):
    """Take the step of member m, if its lane has made one, or go back to the last state that was finite."""
    top = _largest(new, n, i)
    if np.isfinite(top):
        found[m, LARGEST] = top
    if mark[SKIP, i] == 0:
        if np.isfinite(top):
            count[m, STEPS] += 1
            mark[SHRUNK, i] = 0
            _save(work, new, order, lane, saves, states, count, i, m)
            if lane[T, i] >= span[m, END]:
                count[m, CODE] = DONE
        else:
            count[m, CODE] = NOT_FINITE
            lane[T, i] = lane[T_PREV, i]
    found[m, AT] = lane[T, i]


@helper()
def _held_down(mark, found, count, looks, i, m):
    """Every `looks` steps: whether stability ruled most of them."""
    count[m, HELD] += found[m, TERMS] > STIFF
    steps, held = count[m, STEPS], count[m, HELD] - mark[HELD_THEN, i]
    if steps < mark[LOOK, i]:
        return False
    mark[ASKS, i] = 2 * held > steps - mark[LOOKED, i]
    mark[LOOKED, i], mark[LOOK, i], mark[HELD_THEN, i] = steps, steps + looks, count[m, HELD]
    return mark[ASKS, i] == 1


# fmt: off
@compiled(int64(
    PROGRAM, _F1, _F1, int64, float64, _F2, _I2, _F1, _F2, _F2, _F2, _F2, _F3, _F2, _I2,
    int64, int64, int64, int64, float64, float64, int64,
))
def run(
    program, work, new, order, rtol, lane, mark, atol, size, starts, span, saves, states, found, count,
    first, stop, max_steps, budget, until, fixed, looks,
):
    """Carry on with the members in the lanes, then with first .. stop - 1, until all are done.

    Returns the next member to start; early after `budget` rounds, when a lane has passed `until`, or when one asks for
    another method. `fixed` is the size of all steps, 0 for adaptive ones; a lane looks every `looks` steps at whether
    it is held down.
    """
    # fmt: on
    n, stride = program[0][0], (order + 1) * LANES
    while True:
        busy = 0
        for i in range(LANES):
            if mark[MEMBER, i] == IDLE and first < stop:
                _place(new, lane, mark, atol, starts, span, looks, i, first)
                first += 1
            busy += mark[MEMBER, i] != IDLE
        if busy == 0 or budget <= 0:
            return first
        budget -= 1
        for i in range(LANES):
            lane[SCALE, i] = lane[NEXT_SCALE, i]
        for j in range(n):
            for i in range(LANES):
                work[j * stride + i] = new[j * LANES + i]
        series(program, work, order, lane[SCALE])
        _measure(work, n, order, rtol, atol, size)
        _choose_steps(lane, mark, size, order, span, found, count, fixed, max_steps)
        _advance(work, n, order, lane, mark, new)
        leave = False
        for i in range(LANES):
            m = mark[MEMBER, i]
            if m == IDLE:
                continue
            _settle(work, new, n, order, lane, mark, span, saves, states, found, count, i, m)
            leave |= mark[SKIP, i] == 0 and count[m, CODE] != NOT_FINITE and lane[T, i] >= until
            if count[m, CODE] != RUNNING:
                if until == np.inf:
                    _place(new, lane, mark, atol, starts, span, looks, i, IDLE)
                else:
                    return first
            elif mark[SKIP, i] == 0:
                leave |= _held_down(mark, found, count, looks, i, m)
        if leave:
            return first
