"""The right-hand sides of optimizers as flows in the step s, around the compiled right-hand side of a closure.

The state is the weights (n,) and the moments, n each, every part of them in units of its own. The closure's table
stands in front of `floats` and `ints`, ours behind it, from ``floats[ints[-2]]`` and ``ints[ints[-1]]`` on:

- `ints`: kind, the address of the closure's right-hand side, n, scratch memory's first free place, number of
  weights, number of steps; for each weight where it begins and ends, its rows and columns;
- `floats`: three numbers of the optimizer; for each weight kappa, lambda and the units of its moments; for each step
  the rate within it, as coefficients of a parabola.
"""

import math

from ..kernel.cache import compiled
from ..kernel.calls._extremes import greater, lesser
from ..kernel.inner import inlined
from ..kernel.problem import RHS_SIGNATURE
from ..ode.explicit.registers import call_rhs

GD, MOMENTUM, NESTEROV, ADAM, SIGN, POLAR = range(6)
HEAD, WEIGHT = 6, 4  # entries before those of the weights, and of each weight, in both tables
NUMBERS = 3


@inlined()
def rate_at(s, floats, first, steps):
    """Learning rate at step s."""
    i = greater(lesser(int(s), steps - 1), 0)
    x, at = s - i, first + 3 * i
    return floats[at] + x * (floats[at + 1] + x * floats[at + 2])


@inlined()
def relaxation(beta, s):
    """At what rate a bias-corrected moment approaches what feeds it; 0 for one that is fed at once."""
    if beta == 0.0:
        return 0.0
    r = -math.log(beta)
    return r / -math.expm1(-r * (s + 1.0))


@inlined()
def towards_sign(g, size, eps):
    """Return g / (size + eps), 0 where g is 0."""
    return 0.0 if g == 0.0 else g / (size + eps)


@inlined()
def adapt(s, y, out, slope, low, high, pace, decay, units, betas, eps):
    """AdamW of one weight; `units` are those of its moments."""
    n = slope.size
    first, second = relaxation(betas[0], s), relaxation(betas[1], s)
    for i in range(low, high):
        g = -slope[i]
        a = g if betas[0] == 0.0 else y[n + i] * units[0]
        b = g * g if betas[1] == 0.0 else y[2 * n + i] * units[1]
        out[i] = -pace * (towards_sign(a, math.sqrt(greater(b, 0.0)), eps) + decay * y[i])
        out[n + i] = first * (g - a) / units[0]
        out[2 * n + i] = second * (g * g - b) / units[1]


@inlined()
def roll(y, out, slope, low, high, pace, decay, unit, mu, nesterov):
    """Momentum of one weight."""
    n, r = slope.size, -math.log(mu) if mu > 0.0 else 0.0
    for i in range(low, high):
        g = decay * y[i] - slope[i]
        v = g if mu == 0.0 else y[n + i] * unit
        out[i] = -pace * (g + mu * v if nesterov else v)
        out[n + i] = r * (g / (1.0 - mu) - v) / unit


@compiled(RHS_SIGNATURE)
def elementwise(s, y, out, floats, ints, work):
    """GD, momentum, AdamW and smooth sign descent."""
    p, q = ints[ints.size - 1], ints[ints.size - 2]
    kind, n, free, weights, steps = ints[p], ints[p + 2], ints[p + 3], ints[p + 4], ints[p + 5]
    numbers = floats[q : q + NUMBERS]
    slope = work[free : free + n]
    call_rhs(ints[p + 1], s, y[:n], slope, floats, ints, work)
    eta = rate_at(s, floats, q + NUMBERS + WEIGHT * weights, steps)
    for k in range(weights):
        low, high = ints[p + HEAD + WEIGHT * k], ints[p + HEAD + WEIGHT * k + 1]
        at = q + NUMBERS + WEIGHT * k
        pace, decay, units = eta * floats[at], floats[at + 1], floats[at + 2 : at + 4]
        if kind == GD:
            for i in range(low, high):
                out[i] = pace * (slope[i] - decay * y[i])
        elif kind == SIGN:
            for i in range(low, high):
                out[i] = pace * (towards_sign(slope[i], abs(slope[i]), numbers[2]) - decay * y[i])
        elif kind == ADAM:
            adapt(s, y, out, slope, low, high, pace, decay, units, numbers[:2], numbers[2])
        else:
            roll(y, out, slope, low, high, pace, decay, units[0], numbers[0], kind == NESTEROV)
