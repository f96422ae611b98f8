"""Balanced deep linear modes, a' = L a^(2 - 2/L) (s - a), in closed form (arXiv 1312.6120, arXiv 1810.02281).

With x = a / s and clock tau = s^(2 - 2/L) t, x' = L x^(2 - 2/L) (1 - x). For L >= 3 the time is a hypergeometric
function of x. On the plateau it is large, and what is left of it when the mode leaves is small: `digits` carry the
difference, so that a(t) is right even where neighbouring floats t lie decades of a apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import FieldError
from ..base.validate import integer, positive
from .closed_forms import linear_mode
from .precision import Array, decayed, digits, times

BITS = 128  # of a result; its time has more
LEARNT = 42  # log(x / (1 - x)) from which on x is 1 to all digits of a float
NEWTON_STEPS, NEWTON_WITHIN = 100, 2.0**-60


def deep_linear_time(target: float, depth: int, strength: float, start: float) -> float:
    """Time at which a balanced deep linear mode a' = L a^(2 - 2/L) (s - a) reaches `target` (arXiv 1810.02281).

    Parameters
    ----------
    target : float
        Between `start` and `strength`, the latter excluded.
    depth : int
        Number of layers L >= 1.
    strength, start : float
        Target strength s and a(0), both positive.

    Returns
    -------
    float
        Flow time; infinity beyond the largest float.

    Raises
    ------
    ValueError
        If the mode never reaches `target` or a number is not positive.
    """
    L = integer("depth", depth, 1)
    s, a0, a1 = positive("strength", strength), positive("start", start), positive("target", target)
    if not (a0 <= a1 < s or s < a1 <= a0):
        raise FieldError("target", f"must lie between `start` {a0:g} and `strength` {s:g}, got {a1:g}.")
    if L > 2:
        mode = _Mode(L, s, a0)
        return float((mode.clock(a1) - mode.clock(a0)) / mode.speed)
    mp = digits(BITS + 256)
    s, a0, a1 = mp.mpf(s), mp.mpf(a0), mp.mpf(a1)
    if L == 1:
        return float(mp.log((s - a0) / (s - a1)))
    return float(mp.log(a1 * (s - a0) / (a0 * (s - a1))) / (2 * s))


def deep_linear_mode(t: npt.ArrayLike, depth: int, strength: float, start: float) -> Array:
    """Strength a(t) of a balanced deep linear mode a' = L a^(2 - 2/L) (s - a): `deep_linear_time`, inverted.

    Parameters
    ----------
    t : array_like
        Flow times, not negative.
    depth : int
        Number of layers L >= 1; for 2 it is `linear_mode`.
    strength, start : float
        Target strength s and a(0), both positive.

    Returns
    -------
    ndarray
        Of the shape of `t`, at least one-dimensional.

    Raises
    ------
    ValueError
        If a number is not positive or a time is negative.
    """
    at = np.atleast_1d(times(t))
    L, s, a0 = integer("depth", depth, 1), positive("strength", strength), positive("start", start)
    if a0 == s:
        return np.full(at.shape, s)
    if L == 1:
        return a0 * np.exp(-at) + s * decayed(at, 1.0)
    if L == 2:
        return linear_mode(at, s, a0)
    found = np.full(at.shape, a0)
    found[at > 0.0] = _Mode(L, s, a0).strengths(a0, at[at > 0.0])
    return found


def _spread(s: float, a0: float) -> int:
    """Bits by which the time on the plateau may exceed that of the transition."""
    return 32 + abs(int(np.log2(a0)) - int(np.log2(s)))


class _Mode:
    """One mode of three layers or more, in numbers of many digits.

    A rising mode is described by x = a / s, a falling one by x = s / a: either climbs to 1. The clock speed t is
    x^q 2F1(1, q; 1 + q; x) / (q L), less the plateau's x^(q - 1) / (L - 2) for a rising mode.

    Attributes
    ----------
    rising : bool
        Whether it starts below its target.
    q : mpf
        2/L for a rising mode, 2 - 2/L for a falling one.
    speed : mpf
        Clock per flow time, s^(2 - 2/L).
    """

    def __init__(self, depth: int, s: float, a0: float) -> None:
        self.mp = digits(BITS + _spread(s, a0))
        self.depth, self.s, self.rising = depth, self.mp.mpf(s), a0 < s
        self.q = self.mp.mpf(2 if self.rising else 2 * depth - 2) / depth
        self.speed = self.s ** (2 - self.mp.mpf(2) / depth)

    def clock(self, a: float) -> Any:
        """Clock at a strength, from an origin that is the same for all."""
        return self._clock(self.s / a if not self.rising else a / self.s)

    def _clock(self, x: Any) -> Any:
        q = self.q
        since = x**q * self.mp.hyp2f1(1, q, 1 + q, x) / (q * self.depth)
        return since - x ** (q - 1) / (self.depth - 2) if self.rising else since

    def strengths(self, start: float, t: Array) -> Array:
        """Strengths at some times (n,), from one start."""
        origin = self.clock(start)
        targets = [origin + self.speed * self.mp.mpf(time) for time in t]
        self.mp.prec = BITS  # what cancels has been subtracted
        end = self._clock(self._x(LEARNT))
        x = [self._inverse(target) if target < end else 1 for target in targets]
        return np.array([float(self.s * x if self.rising else self.s / x) for x in x])

    def _x(self, logit: Any) -> Any:
        return 1 / (1 + self.mp.exp(-logit))

    def _inverse(self, target: Any) -> Any:
        """The x whose clock is `target`, by Newton's method in log(x / (1 - x)), in which the clock is smooth.

        The clock is concave in it for rising modes and convex for falling ones: from the second step on Newton's
        method comes from one side and never leaves it.
        """
        logit = self._guess(target)
        for _ in range(NEWTON_STEPS):
            x = self._x(logit)
            slope = x ** (self.q - 1 if self.rising else self.q) / self.depth
            step = (target - self._clock(x)) / slope
            logit = min(logit + step, LEARNT)
            if abs(step) < NEWTON_WITHIN:
                return self._x(logit)
        raise RuntimeError(f"the clock {target} of a deep linear mode was not reached.")

    def _guess(self, target: Any) -> Any:
        """Where the clock's leading power alone would be, at most half way."""
        if not self.rising:
            x = (self.q * self.depth * target) ** (1 / self.q)
        else:
            x = (-(self.depth - 2) * target) ** (1 / (self.q - 1)) if target < 0 else 1
        return self.mp.log(x / (1 - x)) if x < 0.5 else self.mp.zero
