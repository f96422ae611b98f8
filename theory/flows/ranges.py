"""Where a closure's truncated functions still stand for the true ones: its range of validity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf

import numpy as np
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.nodes import Matrix, RowNorm, RowSoftmax, nodes_within
from ..algebra.norms import mean_square
from ..algebra.scalars.functions import X
from ..algebra.scalars.numpy_values import numpy_function
from ..algebra.scalars.pieces import pieces
from ..algebra.scalars.series_at_zero import taylor
from ..algebra.scale.cuts import Truncation, leading_degree
from ..algebra.scale.expansion import truncated
from ..models.model import Model
from .closure import EXACT, Closure
from .powers import leading_order, model_logits

TOLERANCE = 0.1  # relative error of a truncated function at the edge of its range
LARGEST = 20.0  # ranges are searched up to here
TERMS = 48  # Taylor coefficients whose growth gives the radius of convergence


@dataclass(frozen=True)
class Range:
    """How large the argument of a truncated function may get.

    Attributes
    ----------
    what : str
        "pre-activations", "scores", "mean squares" or "logits".
    limit : float
        Largest absolute value up to which the truncated function is within 10 % of the true one, in either direction.
    radius : float
        Radius of convergence of the series that was cut: beyond it no number of terms helps. Infinity for entire
        functions.
    expressions : tuple of Matrix
        The matrices whose entries are held against the limit: scores as deviations from their average in each row, over
        the places that the row can see.
    bases : tuple of Matrix or None
        For scores, the averages that they are taken against.
    """

    what: str
    limit: float
    radius: float
    expressions: tuple[Matrix, ...]
    bases: tuple[Matrix | None, ...] = ()


def ranges(model: Model, closure: str | Closure) -> tuple[Range, ...]:
    """Ranges of all functions that a closure truncates; none for "exact".

    Parameters
    ----------
    model : Model
        The network.
    closure : str or Closure
        What is kept.
    """
    kept, logits = Closure.of(closure, model), model_logits(model)
    found = []
    activation, scores = _degrees(kept, model)
    cut = Truncation(activation, scores, kept.linear)
    for node in nodes_within(logits, ElementwiseApplyFunction) if activation is not None else ():
        limit = truncation_limit(node.function, max(activation or 1, leading_degree(node.function)))
        arguments = (truncated(node.expr, cut),)
        found.append(Range("pre-activations", limit, radius(node.function), arguments))
    attention = nodes_within(logits, RowSoftmax)
    if scores is not None and attention:
        arguments = tuple(truncated(node.args[0], cut) for node in attention)
        limit = truncation_limit(EXP, scores)
        found.append(Range("scores", limit, inf, arguments, tuple(node.base for node in attention)))
    norms = nodes_within(logits, RowNorm) if kept.linear else []
    for node in norms:  # x / sqrt(eps) is off by a tenth where the mean square is 0.21 eps
        limit = float(node.eps) * ((1.0 + TOLERANCE) ** 2 - 1.0)
        square = mean_square(truncated(node.args[0], cut))
        found.append(Range("mean squares", limit, float(node.eps), (square,)))
    if kept.softmax != EXACT or kept.minimal:
        degree = 1 if kept.minimal else int(kept.softmax) // leading_order(model, kept.linear)
        found.append(Range("logits", truncation_limit(EXP, max(degree - 1, 0)), inf, (kept.logits(model),)))
    return tuple(found)


EXP = sp.Lambda(X, sp.exp(X))


def _degrees(kept: Closure, model: Model) -> tuple[int | None, int | None]:
    """Powers up to which activations and attention are kept: stated, or implied by the cut of the loss."""
    if kept.minimal:
        return 1, 1
    if kept.softmax == EXACT or (kept.activation, kept.attention) != (EXACT, EXACT):
        return _power(kept.activation), _power(kept.attention)
    spare = int(kept.softmax) - leading_order(model, kept.linear)
    return 1 + spare, spare  # an upper bound: every further power of the argument costs at least one of eps


def _power(part: int | str) -> int | None:
    return None if part == EXACT else int(part)


@lru_cache(maxsize=256)
def truncation_limit(function: sp.Lambda, degree: int) -> float:
    """Largest z with |p(+-z) - f(+-z)| <= 10 % of |f(+-z)|, p the Taylor polynomial; infinity if there is no end."""
    coefficients = np.array([float(c) for c in taylor(function, degree)])
    exact = numpy_function(function)

    def wrong(z: float) -> bool:
        points = np.array([-z, z])
        value, series = exact(points), np.polynomial.polynomial.polyval(points, coefficients)
        return bool(np.any(np.abs(series - value) > TOLERANCE * np.abs(value)))

    grid = np.linspace(0.0, LARGEST, 2001)[1:]
    first = next((i for i, z in enumerate(grid) if wrong(z)), None)
    if first is None:
        return inf
    low, high = (0.0 if first == 0 else grid[first - 1]), grid[first]
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if wrong(middle) else (middle, high)
    return float(low)


@lru_cache(maxsize=64)
def radius(function: sp.Lambda) -> float:
    """How far the Taylor series at 0 reaches: by the growth of its coefficients, at most to a joint of pieces."""
    import mpmath as mp

    (x,) = function.variables
    around = [part for part in pieces(function.expr, x) if part.low <= 0 <= part.high]
    if len(around) > 1:
        return 0.0
    reach = float(min(-around[0].low, around[0].high))
    with mp.workdps(250):  # derivatives are taken by differences: most digits are lost
        c = mp.taylor(sp.lambdify(x, around[0].expr, "mpmath"), 0, TERMS)
        sizes = [(k, abs(v)) for k, v in enumerate(c) if k and abs(v) > mp.mpf(10) ** -90]
    ratios = [(b, float((u / v) ** (mp.mpf(1) / (b - a)))) for (a, u), (b, v) in pairwise(sizes)]
    if len(ratios) < 4:
        return reach  # a polynomial
    (k, early), (m, late) = ratios[len(ratios) // 2], ratios[-1]
    # Ratios approach the radius like 1/k, so two of them give it; those of entire functions grow without end.
    return min(reach, (m * late - k * early) / (m - k)) if late < 1.2 * early else reach
