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

from ...kernel.calls._operands import place
from ...kernel.inner import helper, inlined
from .arithmetic import BLOCK, block_from

NONE = math.inf  # distance of a pole where there is none
FAR = 1e3  # steps to a pole beyond which it does not matter
LEAST_POWER = 0.1  # of a solution towards a pole
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
    return length if tau == NONE else -tau * math.expm1(-min(length, LONGEST))


@helper()
def bend(first, middle, last, scale, buf):
    """How slopes rise up to the middle of a step and after it, along their rise; both 0 where they do not grow."""
    n = first.size
    early, late, grown, lanes = place(buf, 0), place(buf, BLOCK), place(buf, 2 * BLOCK), block_from(0, n)
    for i in range(lanes):
        early[i] = 0.0
        late[i] = 0.0
        grown[i] = 0.0
    inverse = 1.0 / scale
    for lo in range(0, n, BLOCK):
        m, a, b, c = block_from(lo, n), place(first, lo), place(middle, lo), place(last, lo)
        for i in range(m):
            rise = (c[i] - a[i]) * inverse
            early[i] += rise * ((b[i] - a[i]) * inverse)
            late[i] += rise * ((c[i] - b[i]) * inverse)
            grown[i] += rise * ((c[i] + a[i]) * inverse)
    up = down = total = 0.0
    for i in range(lanes):
        up += early[i]
        down += late[i]
        total += grown[i]
    return (up, down) if total > 0.0 else (0.0, 0.0)


@helper()
def distance(early, late, part, h):
    """Distance of the pole from the end of a step of size h, or `NONE`.

    That of ``f ~ (t* - t)^-2`` that rises by `early` up to the part `part` of the step, and by `late` after it; other
    powers come out a little nearer or farther.
    """
    first, rest = part * h, h - part * h
    steeper = late * first / (early * rest)
    if not (early > 0.0 and 1.0 < steeper < math.inf):
        return NONE
    low, high = 1e-3 * h, FAR * h
    if _excess(high, rest, h, steeper) > 0.0:
        return NONE
    for _ in range(50):
        middle = math.sqrt(low * high)
        if _excess(middle, rest, h, steeper) > 0.0:
            low = middle
        else:
            high = middle
    return low


@inlined()
def believed(tau, yy, yf):
    """Whether the state as a whole goes towards a pole: of ``(t* - t)^-p``, ``tau yf / yy`` is p.

    Where parts of a large state that stand still or relax look like one, steps in s would carry all of it along.
    """
    return tau * yf > LEAST_POWER * yy


@inlined()
def _excess(tau, rest, h, steeper):
    """Positive where a pole at a distance tau makes slopes steeper than they are."""
    return (2.0 * tau + rest) * ((tau + h) * (tau + h)) - steeper * (2.0 * tau + rest + h) * tau * tau
