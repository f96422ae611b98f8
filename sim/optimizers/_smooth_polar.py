"""Spectral descent as a flow in the step s, apart from the others, for its SVD compiles slowly; tables: `_smooth`."""

import math

import numpy as np

from ..kernel.cache import compiled
from ..kernel.problem import RHS_SIGNATURE
from ..ode.explicit.registers import call_rhs
from ._smooth import HEAD, NUMBERS, WEIGHT, rate_at


@compiled(RHS_SIGNATURE)
def polar(s, y, out, floats, ints, work):
    """The polar factor of each weight's v, singular values x taken to x / sqrt(x^2 + (eps x_max)^2)."""
    p, q = ints[ints.size - 1], ints[ints.size - 2]
    n, free, weights, steps = ints[p + 2], ints[p + 3], ints[p + 4], ints[p + 5]
    momentum, eps = floats[q], floats[q + 2]
    slope = work[free : free + n]
    call_rhs(ints[p + 1], s, y[:n], slope, floats, ints, work)
    eta = rate_at(s, floats, q + NUMBERS + WEIGHT * weights, steps)
    r = -math.log(momentum) if momentum > 0.0 else 0.0
    for k in range(weights):
        head, at = p + HEAD + WEIGHT * k, q + NUMBERS + WEIGHT * k
        low, high, rows, cols = ints[head], ints[head + 1], ints[head + 2], ints[head + 3]
        pace, decay, unit = eta * floats[at], floats[at + 1], floats[at + 2]
        v = np.empty((rows, cols))
        flat = v.reshape(rows * cols)
        for i in range(low, high):
            g = -slope[i]
            flat[i - low] = g if momentum == 0.0 else y[n + i] * unit
            out[n + i] = r * (g / (1.0 - momentum) - flat[i - low]) / unit
        if not np.isfinite(flat).all():
            out[low:high] = np.nan
            continue
        left, x, right = np.linalg.svd(v, False)
        if x[0] > 0.0:
            left = left * (x / np.sqrt(x**2 + (eps * x[0]) ** 2))
            flat[:] = np.dot(left, right).reshape(rows * cols)
        for i in range(low, high):
            out[i] = -pace * (flat[i - low] + decay * y[i])
