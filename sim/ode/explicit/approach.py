"""Steps towards a pole: near a blow-up at t*, log(t* - t) is the time in which a solution is smooth.

Where ``y ~ (t* - t)^-p``, a step in t gets over a part of what is left, and the part is small: the series of y ends at
t*. In the time s, ``t* - t = tau e^-s``, such a y is an exponential whatever its p, and ``z = e^-s y`` nearly stands
still:

    dz/ds = tau e^-2s f(t, e^s z) - z.

(M. Berger, R. V. Kohn, Comm. Pure Appl. Math. 41 (1988) 841, rescale time and state so.) A Runge-Kutta step of z is
one of y with other numbers in its table, which depend on its size. The order stays, whatever tau is: a poor guess costs
accuracy that the error estimate sees.
"""

from __future__ import annotations

import math

from ...kernel.calls._extremes import lesser
from ...kernel.calls._operands import place
from ...kernel.inner import helper, inlined, subroutine
from .sums.arithmetic import BLOCK, block_from

NONE = math.inf  # distance of a pole where there is none
# Logarithms of the fewest and of the most steps that a pole may be away. Hardly a step ends nearer; a pole farther away
# does not matter, and stiff parts of a solution are followed worse in its time.
_NEAR, _FAR = math.log(0.1), math.log(100.0)
_ALIKE = 0.5, 4.0  # bounds of the growth of slopes in a step, in logarithms, over that of a pole's
LEAST_POWER = 0.1  # of a solution towards a pole
_WEAKEST = 0.25  # the same of what rises alone; below, a state hardly grows, and z falls instead
LONGEST = 1.0  # step in s: over three fifths of what is left


@inlined()
def before(h, tau):
    """Length in s of a step of size h that begins at a distance tau."""
    return h if tau == NONE else -math.log1p(-h / tau)


@inlined()
def after(h, tau):
    """Length in s of a step of size h that ends at a distance tau."""
    return h if tau == NONE else math.log1p(h / tau)


@inlined()
def onward(length, tau):
    """Size of a step of that length in s that begins at a distance tau."""
    return length if tau == NONE else -tau * math.expm1(-lesser(length, LONGEST))


@subroutine()
def bend(first, middle, last, state, n, scale, buf):
    """Along the rise of slopes in a step: their rises up to its middle and after it, first + last, the state."""
    early, late, lanes = place(buf, 0), place(buf, BLOCK), block_from(0, n)
    both, along = place(buf, 2 * BLOCK), place(buf, 3 * BLOCK)
    for i in range(lanes):
        early[i] = 0.0
        late[i] = 0.0
        both[i] = 0.0
        along[i] = 0.0
    inverse = 1.0 / scale
    for lo in range(0, n, BLOCK):
        m, y = block_from(lo, n), place(state, lo)
        a, b, c = place(first, lo), place(middle, lo), place(last, lo)
        for i in range(m):
            rise = (c[i] - a[i]) * inverse
            early[i] += rise * ((b[i] - a[i]) * inverse)
            late[i] += rise * ((c[i] - b[i]) * inverse)
            both[i] += rise * ((c[i] + a[i]) * inverse)
            along[i] += rise * (y[i] * inverse)
    up = down = total = grown = 0.0
    for i in range(lanes):
        up += early[i]
        down += late[i]
        total += both[i]
        grown += along[i]
    return up, down, total, grown


@helper()
def distance(early, late, total, state, part, h):
    """Distance of the pole from the end of a step of size h, or `NONE`; of what `bend` returns.

    That of ``y ~ (t* - t)^-p`` whose slopes rise by `early` up to the part `part` of the step, and by `late` after it;
    p is that of the slope and the state at the end. None where slopes rise no faster than those of an exponential with
    this slope and this state, as of a power of t, where their growth from end to end is another, or where p is small.
    """
    last, first = 0.5 * (total + (early + late)), 0.5 * (total - (early + late))
    if not (early > 0.0 and late > 0.0 and first > 0.0 and state > 0.0 and last < math.inf):
        return NONE
    share, rest, rate = early / late, 1.0 - part, h * last / state
    low, high = _NEAR, _FAR
    if not (share * rest < part and _excess(math.exp(high), rest, share, rate) <= 0.0):
        return NONE
    for _ in range(24):  # to 4e-7 of the distance
        middle = 0.5 * (low + high)
        if _excess(math.exp(middle), rest, share, rate) > 0.0:
            low = middle
        else:
            high = middle
    tau = math.exp(low)
    power = rate * tau
    seen = math.log(last / first) / ((1.0 + power) * math.log1p(1.0 / tau))
    return tau * h if power > _WEAKEST and _ALIKE[0] < seen < _ALIKE[1] else NONE


@inlined()
def believed(tau, yy, yf):
    """Whether the state as a whole goes towards a pole: of ``(t* - t)^-p``, ``tau yf / yy`` is p.

    Where parts of a large state that stand still or relax look like one, steps in s would carry all of it along.
    """
    return tau * yf > LEAST_POWER * yy


@inlined()
def _excess(tau, rest, share, rate):
    """Positive where a pole at a distance of tau steps makes slopes steeper than they are."""
    q = 1.0 + rate * tau
    middle, first = math.exp(-q * math.log1p(rest / tau)), math.exp(-q * math.log1p(1.0 / tau))
    return share * (1.0 - middle) - (middle - first)
