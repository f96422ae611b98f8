"""Rows by whose length a closure divides: the first terms of normalised streams, beside which later terms stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.nodes import Matrix, RowNorm, matrix_symbols, nodes_within
from ..algebra.norms import mean_square, root_parts
from ..algebra.scale.expansion import expand, first_power
from .powers import model_logits

if TYPE_CHECKING:
    from ..models.model import Model
    from .flow import Flow


@dataclass(frozen=True)
class Divided:
    """Rows that a closure divides by the root of their mean square and eps, any number of times.

    Attributes
    ----------
    square : Matrix
        Mean squares of the rows (n, 1).
    eps : float
        What the normalisation adds to them.
    """

    square: Matrix
    eps: float

    @property
    def rows(self) -> Matrix:
        """What the mean squares are of."""
        powers = [node.base for node in nodes_within(self.square, sp.HadamardPower)]
        return next((base for base in powers if base.rows == self.square.rows), self.square)


def divides_by_first_terms(flow: Flow) -> bool:
    """Whether the closure is a series about directions: it is singular where a row of first terms vanishes.

    A closure that keeps its loss whole keeps its norms whole too: their slopes are those of the network, bounded by
    1 / sqrt(eps). Of a series in later terms over the length of the first ones there is no such bound but eps itself.
    """
    kept = flow.kept
    return not kept.linear and not kept.whole_loss and bool(nodes_within(model_logits(flow.model), RowNorm))


def divided_rows(flow: Flow) -> tuple[Divided, ...]:
    """All rows whose direction stands in the equations of such a closure; none of another."""
    if not divides_by_first_terms(flow):
        return ()
    known = {node.eps for node in nodes_within(model_logits(flow.model), RowNorm)}
    found: dict[Divided, None] = {}
    for side in flow.right_hand_sides.values():
        for node in nodes_within(side, RowNorm):
            found[Divided(mean_square(node.args[0]), float(node.eps))] = None
        for node in nodes_within(side, ElementwiseApplyFunction):
            if (parts := root_parts(node.function, known)) is not None:
                found[Divided(node.expr, float(parts[1]))] = None
    return tuple(found)


def readers_of(model: Model, square: Matrix) -> tuple[str, ...]:
    """Weights that read the norms of streams whose first terms have these mean squares, in the order of the signal."""
    logits, order = model_logits(model), list(model.weights)
    found = set()
    for product in nodes_within(logits, sp.MatMul):
        factors = product.as_coeff_matrices()[1]
        for i, factor in enumerate(factors):
            after = (s.name for f in factors[i + 1 :] for s in matrix_symbols(f) if s.name in order)
            if (
                isinstance(factor, RowNorm)
                and (reader := next(after, None))
                and _first(factor, model) == square
            ):
                found.add(reader)
    return tuple(sorted(found, key=order.index))


def _first(node: RowNorm, model: Model) -> Matrix:
    """Mean squares of the first terms of what is normalised."""
    x = node.args[0]
    low = first_power(x, model.small_weights)
    return mean_square(expand(x, model.small_weights, low)[low])
