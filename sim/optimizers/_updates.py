"""Fused updates of all entries of a weight over one or several steps, gradients given as polynomials of the step.

The gradient of step j (from 0) is ``c0 + j (c1 + j c2)``, of which `order` says how many parts count; entry by entry,
all steps are taken in registers. Rates, and for AdamW the bias corrections, are tables over the steps.
"""

import math

from numba import float64, int64, void

from ..kernel.cache import compiled
from ..kernel.inner import inlined

_A = float64[::1]


@inlined()
def _bends(c1, c2, order, i):
    """Coefficients of an entry's gradient beyond its first."""
    return (c1[i] if order > 0 else 0.0), (c2[i] if order > 1 else 0.0)


# W, c0, c1, c2, order, from, to, rates (h,), decay: gradient descent
@compiled(void(_A, _A, _A, _A, int64, int64, int64, _A, float64))
def descend(y, c0, c1, c2, order, low, high, rates, decay):
    for i in range(low, high):
        w, (linear, square) = y[i], _bends(c1, c2, order, i)
        for j in range(rates.size):
            g = c0[i] + j * (linear + j * square)
            w -= rates[j] * (g + decay * w)
        y[i] = w


# The same with momentum: v <- mu v + g, W <- W - rate (v, or g + mu v)
@compiled(void(_A, _A, _A, _A, _A, int64, int64, int64, _A, float64, float64, int64))
def roll(y, v, c0, c1, c2, order, low, high, rates, decay, mu, nesterov):
    for i in range(low, high):
        w, speed, (linear, square) = y[i], v[i], _bends(c1, c2, order, i)
        for j in range(rates.size):
            g = c0[i] + j * (linear + j * square) + decay * w
            speed = mu * speed + g
            w -= rates[j] * (g + mu * speed if nesterov else speed)
        y[i], v[i] = w, speed


# AdamW with its moments a, b as they are kept (not corrected); `first` and `second` are the corrections 1 - beta^s.
# The second moment is fed with keep g^2 + extra: noise of minibatches, or nothing.
@compiled(void(*[_A] * 6, *[int64] * 3, *[_A] * 3, *[float64] * 5, _A))
def adapt(y, a, b, c0, c1, c2, order, low, high, rates, first, second, decay, beta1, beta2, eps, keep, extra):
    for i in range(low, high):
        w, mean, spread, (linear, square) = y[i], a[i], b[i], _bends(c1, c2, order, i)
        noise = extra[i] if extra.size > 0 else 0.0
        for j in range(rates.size):
            g = c0[i] + j * (linear + j * square)
            w *= 1.0 - rates[j] * decay
            mean += (g - mean) * (1.0 - beta1)
            spread = spread * beta2 + (keep * g * g + noise) * (1.0 - beta2)
            w -= rates[j] / first[j] * (mean / (math.sqrt(spread) / math.sqrt(second[j]) + eps))
        y[i], a[i], b[i] = w, mean, spread


# Sign descent
@compiled(void(_A, _A, _A, _A, int64, int64, int64, _A, float64, float64))
def step_signs(y, c0, c1, c2, order, low, high, rates, decay, eps):
    for i in range(low, high):
        w, (linear, square) = y[i], _bends(c1, c2, order, i)
        for j in range(rates.size):
            g = c0[i] + j * (linear + j * square)
            w *= 1.0 - rates[j] * decay
            if g != 0.0:
                w -= rates[j] * (g / (abs(g) + eps))
        y[i] = w
