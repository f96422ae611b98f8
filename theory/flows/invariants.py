"""Conserved quantities of a flow: candidates from the shapes, each proved by its symbolic time derivative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy as sp

from ..algebra.matrices import product, total, transpose
from ..algebra.nodes import Matrix
from ..algebra.rebuild import distribute
from ..printing.text import text

if TYPE_CHECKING:
    from .flow import Flow


@dataclass(frozen=True)
class Invariant:
    """A matrix that stays constant along a flow.

    Attributes
    ----------
    name : str
        For example "W_E.T*W_E - W_in*W_in.T".
    expression : sympy matrix expression
        The conserved matrix in the weights.
    """

    name: str
    expression: Matrix

    def __str__(self) -> str:
        """The name."""
        return self.name


def find_invariants(flow: Flow) -> tuple[Invariant, ...]:
    """Try every balance of two weights and the row sums of the last one; keep those whose derivative is zero."""
    return tuple(
        Invariant(text(candidate), candidate)
        for candidate in _candidates(flow.model.weight_symbols)
        if any(str(w) in flow.moving for w in candidate.free_symbols) and is_conserved(flow, candidate)
    )


def is_conserved(flow: Flow, candidate: Matrix) -> bool:
    """Whether the derivative of a polynomial in the weights vanishes identically along the flow."""
    return isinstance(distribute(time_derivative(flow, candidate)), sp.ZeroMatrix)


def time_derivative(flow: Flow, expr: Matrix) -> Matrix:
    """d/dt of a sum of products of weights along a flow, by the product rule."""
    speed = {w: flow.right_hand_sides[str(w)] for w in flow.model.weight_symbols}
    terms = expr.args if isinstance(expr, sp.MatAdd) else (expr,)
    rates = []
    for term in terms:
        scalar, factors = term.as_coeff_matrices() if isinstance(term, sp.MatMul) else (sp.S.One, [term])
        for i, factor in enumerate(factors):
            flipped = isinstance(factor, sp.Transpose)
            weight = factor.arg if flipped else factor
            if weight in speed:
                rate = transpose(speed[weight]) if flipped else speed[weight]
                rates.append(product(scalar, *factors[:i], rate, *factors[i + 1 :]))
    return total(*rates) if rates else sp.ZeroMatrix(*expr.shape)


def _candidates(weights: tuple[sp.MatrixSymbol, ...]) -> Iterator[Matrix]:
    for i, a in enumerate(weights):
        for b in weights[i + 1 :]:
            yield from _balances(a, b)
    last = weights[-1]
    yield product(last, sp.OneMatrix(last.cols, 1))


def _balances(a: sp.MatrixSymbol, b: sp.MatrixSymbol) -> Iterator[Matrix]:
    """Differences of Gram matrices of equal shape: a joined to b (either way round), or side by side."""
    for x, y in ((a, transpose(b)), (a, b), (transpose(a), b), (transpose(a), transpose(b))):
        if x.cols == y.cols:
            yield sp.MatAdd(product(transpose(x), x), product(-1, transpose(y), y))
