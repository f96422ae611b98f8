"""Taylor series of three-factor modes a' = s b c and cyclic, many modes in lanes; importing compiles or loads it.

The modes are independent, so every lane is one mode with its own time, step and end; a lane that is done takes the next
mode from the queue. Coefficients follow from Cauchy products, the step from the last two of them.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float64, int8, int64

from ...kernel.cache import compiled
from ...kernel.calls._extremes import lesser
from ...kernel.inner import helper
from .lanes import LANES, WIDTH, cauchy, horner, taylor_step

# ends of a mode
GOING_ON, REACHED, BLOWN_UP, OUT_OF_STEPS, NOT_FINITE = range(-1, 4)

SAFETY = 0.9
_RESOLUTION = 1e-14  # steps below this part of t end at the pole
# fields of the flat work array behind the coefficients, in units of LANES
_FIELDS = 7
_S, _H, _X, _Y, _Z, _T, _END = range(_FIELDS)


@helper()
def _coefficients(w, a, b, c, s, order, wide):
    for k in range(order):
        at, factor = k * LANES, 1.0 / (k + 1)
        cauchy(w, b, c + at, k + 1, s, factor, a + at + LANES, wide)
        cauchy(w, c, a + at, k + 1, s, factor, b + at + LANES, wide)
        cauchy(w, a, b + at, k + 1, s, factor, c + at + LANES, wide)


@helper()
def _end_of(step, left, t, finite, taken, max_steps):
    """How a mode ends with a step; one that is not its last goes on."""
    if finite and step >= left:
        return REACHED
    if not finite:
        return NOT_FINITE
    if step <= _RESOLUTION * t:
        return BLOWN_UP
    return OUT_OF_STEPS if taken >= max_steps else GOING_ON


@compiled(boolean(float64[:, ::1], float64[:, :, ::1], float64[::1]))
def ready(strengths, starts, t1):
    """Whether arrays have the shapes and the numbers that `run_modes` takes for granted: one look at each number."""
    batch, factors, r = starts.shape
    if factors != 3 or batch * r == 0 or strengths.shape != (batch, r) or t1.size != batch:
        return False
    none = 0.0  # stays 0 as long as all are finite
    for member in range(batch):
        none += 0.0 * t1[member]
        if t1[member] < 0.0:
            return False
        for k in range(r):
            none += 0.0 * strengths[member, k]
            none += 0.0 * (starts[member, 0, k] + starts[member, 1, k] + starts[member, 2, k])
    return none == 0.0


# fmt: off
_SIGNATURE = int64(
    float64[:, ::1], float64[:, :, ::1], float64[::1], int64, float64, float64, int64, int64, int64,
    float64[:, :, ::1], float64[:, ::1], int8[:, ::1], int64[:, ::1],
)
# fmt: on


@compiled(_SIGNATURE)
def run_modes(strengths, starts, t1, order, rtol, atol, max_steps, first, stop, states, times, ends, steps):
    """Integrate members first .. stop - 1 from t = 0 to `t1`; states, times and ends go where they belong."""
    size = (order + 1) * LANES
    a, b, c, fields = 0, size, 2 * size, 3 * size
    w = np.zeros(3 * size + _FIELDS * LANES)
    member, mode = np.full(LANES, -1, np.int64), np.zeros(LANES, np.int64)
    s, h, x = fields + _S * LANES, fields + _H * LANES, fields + _X * LANES
    t, end = fields + _T * LANES, fields + _END * LANES
    row, k, busy, wanted, wide = first, 0, 0, LANES, 1
    while True:
        for i in range(LANES if wanted > 0 else 0):  # fill idle lanes
            if member[i] < 0 and row < stop:
                member[i], mode[i] = row, k
                w[a + i], w[b + i], w[c + i] = starts[row, 0, k], starts[row, 1, k], starts[row, 2, k]
                w[s + i], w[t + i], w[end + i] = strengths[row, k], 0.0, t1[row]
                steps[row, k] = 0
                busy += 1
                k += 1
                if k == strengths.shape[1]:
                    row, k = row + 1, 0
        if busy == 0:
            return 0
        if wanted > 0:
            wide = 1 if np.any(member[WIDTH:] >= 0) else 0  # else the first vector holds all
        wanted = 0
        _coefficients(w, a, b, c, s, order, wide)
        taylor_step(w, 0, size, 3, order, rtol, atol, SAFETY, h, wide)
        lanes = LANES if wide else WIDTH
        for i in range(lanes):
            left = w[end + i] - w[t + i]
            # A mode at zero rests for ever; its size says nothing of a step if `atol` is next to zero.
            rests = w[a + i] == 0.0 and w[b + i] == 0.0 and w[c + i] == 0.0
            w[h + i] = left if rests else lesser(w[h + i], left)
        for f in range(3):
            horner(w, f * size + order * LANES, order, h, x + f * LANES, wide)
        for i in range(lanes):
            m, n = member[i], mode[i]
            if m < 0:
                continue
            step, left = w[h + i], w[end + i] - w[t + i]
            finite = np.isfinite(w[x + i] + w[x + LANES + i] + w[x + 2 * LANES + i])
            code = _end_of(step, left, w[t + i], finite, steps[m, n], max_steps)
            if code <= REACHED:
                w[a + i], w[b + i], w[c + i] = w[x + i], w[x + LANES + i], w[x + 2 * LANES + i]
                w[t + i] = w[end + i] if code == REACHED else w[t + i] + step
                steps[m, n] += 1
            if code != GOING_ON:
                states[m, 0, n], states[m, 1, n], states[m, 2, n] = w[a + i], w[b + i], w[c + i]
                times[m, n] = w[t + i]
                if code == BLOWN_UP:  # at a pole of first order all coefficients fall by its distance
                    last = a + order * LANES + i
                    times[m, n] += abs(w[last - LANES] / w[last])
                ends[m, n] = code
                member[i] = -1
                busy -= 1
                wanted += 1
                w[s + i] = w[a + i] = w[b + i] = w[c + i] = w[t + i] = w[end + i] = 0.0
