"""Where a function of one variable has no value: poles, branch points, numbers that are not real."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import sympy as sp

from ..traversal import Traversal, rule
from .functions import KNOWN, X
from .numpy_values import numpy_function

POINTS = 4001  # places at which a condition is looked at; between them its least values are searched for
ZERO = 1e-12  # relative size below which what must not vanish does
# Functions that are quotients, by what they divide by.
DIVISORS = {
    sp.tan: sp.cos,
    sp.sec: sp.cos,
    sp.csc: sp.sin,
    sp.cot: sp.sin,
    sp.csch: sp.sinh,
    sp.coth: sp.sinh,
}
Condition = tuple[str, sp.Expr]  # "nonzero", "positive" or "real", and of what


def singularity(expr: sp.Expr, low: float, high: float) -> str | None:
    """The first place found in an interval where an expression in `X` has no finite real value, in words.

    Every divisor must not vanish there, every argument of a logarithm or a root must be positive, and so on: each such
    condition is looked at on a dense grid and at its minima between the points, so that no pole slips through.
    """
    x = np.linspace(low, high, POINTS)
    for kind, part in _Conditions()(expr):
        if (place := _broken(kind, part, x)) is not None:
            return f"{part} is {_MEANING[kind]} at x = {place:.6g}"
    with np.errstate(all="ignore"):
        values = np.broadcast_to(np.asarray(numpy_function(sp.Lambda(X, expr))(x)), x.shape)
    wrong = np.flatnonzero(np.iscomplex(values) | ~np.isfinite(values))
    return f"{expr} has no value at x = {x[wrong[0]]:.6g}" if wrong.size else None


_MEANING = {"nonzero": "0, and a divisor,", "positive": "not positive", "real": "not real"}


def _broken(kind: str, part: sp.Expr, x: np.ndarray) -> float | None:
    """First place of a grid, or between its points, at which a condition does not hold."""
    value = numpy_function(sp.Lambda(X, part))

    def values(at: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(value(at)), at.shape)

    found = values(x)
    wrong = np.iscomplex(found) | ~np.isfinite(found)
    if kind == "real" or wrong.any():
        return float(x[np.argmax(wrong)]) if wrong.any() else None
    found = np.real(found)
    size = float(np.abs(found).max())
    below = found <= ZERO * size if kind == "positive" else np.abs(found) <= ZERO * size
    if kind == "nonzero":
        below[1:] |= np.sign(found[1:]) != np.sign(found[:-1])
    if below.any():
        return _refined(values, x, int(np.argmax(below)))
    return _touched(values, x, np.abs(found), size)


def _refined(values: Callable[[np.ndarray], np.ndarray], x: np.ndarray, i: int) -> float:
    """Where a value that changes its sign before a point of the grid does so."""
    low, high = x[max(i - 1, 0)], x[i]
    ends = np.sign(np.real(values(np.array([low, high]))))
    if ends[0] == ends[1] or 0.0 in ends:
        return float(high)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (
            (middle, high) if np.sign(np.real(values(np.array([middle]))[0])) == ends[0] else (low, middle)
        )
    return float(high)


def _touched(
    values: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: np.ndarray, largest: float
) -> float | None:
    """Where a value touches zero between points of the grid without changing its sign."""
    from scipy.optimize import minimize_scalar  # a tenth of the time that the theory takes to start

    inner = size[1:-1]
    for i in np.flatnonzero((inner <= size[:-2]) & (inner <= size[2:])) + 1:
        least = minimize_scalar(
            lambda at: float(np.abs(values(np.array([at])))[0]),
            bounds=(x[i - 1], x[i + 1]),
            method="bounded",
            options={"xatol": 1e-12},
        )
        if least.fun <= ZERO * largest:
            return float(least.x)
    return None


class _Conditions(Traversal):
    """What must hold for an expression to be finite, real and smooth."""

    purpose = "conditions"

    def __call__(self, node: sp.Expr) -> tuple[Condition, ...]:
        """The conditions of the node and of its parts; a constant must be real."""
        if not node.has(X):
            return () if node.is_real else (("real", node),)
        return (*(c for arg in node.args for c in self(arg)), *super().__call__(node))

    @rule(sp.Symbol, sp.Add, sp.Mul, sp.sech, *KNOWN)
    def none(self, node: sp.Expr) -> Iterator[Condition]:
        return iter(())

    @rule(sp.Pow)
    def power(self, node: sp.Pow) -> Iterator[Condition]:
        base, exponent = node.args
        if base.has(X) and not exponent.is_Integer:
            yield "positive", base
        elif base.has(X) and exponent.is_negative:
            yield "nonzero", base

    @rule(sp.log, sp.gamma, sp.loggamma)
    def of_positive(self, node: sp.Expr) -> Iterator[Condition]:
        yield "positive", node.args[0]

    @rule(*DIVISORS)
    def quotient(self, node: sp.Expr) -> Iterator[Condition]:
        yield "nonzero", DIVISORS[type(node)](node.args[0])

    @rule(sp.asin, sp.acos, sp.atanh)
    def within_one(self, node: sp.Expr) -> Iterator[Condition]:
        yield "positive", 1 - node.args[0] ** 2

    @rule(sp.acosh)
    def beyond_one(self, node: sp.acosh) -> Iterator[Condition]:
        yield "positive", node.args[0] - 1
