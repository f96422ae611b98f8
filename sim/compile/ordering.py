"""All equations of a flow in one graph, in the order in which they share most."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, permutations
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.matrices import product, split, terms_of, total
from ...theory.algebra.nodes import Matrix, RowLogSumExp, RowSoftmax, matrix_symbols
from ...theory.algebra.rebuild import Rebuild, distribute
from ...theory.algebra.terms import CountTerms
from ...theory.algebra.traversal import rule
from .graph import Graph, Ref
from .lower import Lowering

MAX_ORDERS = 24  # orders of the equations tried in search of shared products
LOWERED_NODES = 600  # and nodes lowered in all these tries: long flows are lowered once
MOST_TERMS = 400  # of all equations, multiplied out; a second layer of attention has thousands


def lower_flow(
    sides: Mapping[str, Matrix],
    values: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    sizes: Mapping[sp.Symbol, int],
) -> tuple[Graph, dict[str, list[tuple[float, Ref]]]]:
    """Lower all right-hand sides into the cheapest graph found over orders of the equations.

    They are tried as they are and, if that holds fewer operations, with sums multiplied out: where a model adds what
    two data matrices read, ``(C A + X B) W`` is then ``C (A W) + X (B W)``, without a dense product over all rows.

    Returns
    -------
    graph : Graph
        The shared operations.
    outputs : dict
        Weight name -> terms (coefficient, reference) that sum to dW/dt.
    """
    folds: dict[Matrix, Any] = {}
    count = CountTerms()

    def attempt(order: tuple[str, ...], of: Mapping[str, Matrix] = sides) -> tuple[Graph, dict[str, list]]:
        lowering = Lowering(values, shapes, sizes, folds)
        return lowering.graph, {name: [lowering.lower_dense(t) for t in terms_of(of[name])] for name in order}

    first = attempt(tuple(sides))
    tries = min(MAX_ORDERS, max(1, LOWERED_NODES // max(len(first[0].nodes), 1)))
    form = sides
    few = sum(map(count, sides.values())) <= MOST_TERMS
    if tries > 1 and few and (out := multiplied_out(sides, set(shapes))) != sides:
        other = attempt(tuple(sides), out)
        if other[0].cost < first[0].cost:
            first, form = other, out
    attempts = [first, *(attempt(order, form) for order in islice(permutations(sides), 1, tries))]
    graph, outputs = min(attempts, key=lambda found: found[0].cost)
    return graph, {name: outputs[name] for name in sides}


class _MultipliedOut(Rebuild):
    """Transposes and products of sums rebuilt; the argument of a softmax multiplied out and collected."""

    purpose = "multiplying out"

    def __init__(self, weights: set[str]) -> None:
        super().__init__()
        self.weights = weights

    @rule(sp.HadamardProduct, sp.HadamardPower, ElementwiseApplyFunction, DiagMatrix, RowLogSumExp)
    def whole(self, node: Matrix) -> Matrix:
        """What sums do not come out of."""
        return node

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        """Logits as one product for each data matrix."""
        return RowSoftmax(collected(distribute(node.args[0]), self.weights), *node.args[1:])


def multiplied_out(sides: Mapping[str, Matrix], weights: set[str]) -> dict[str, Matrix]:
    """Multiply sums out, and collect what one data matrix reads in the argument of a softmax."""
    inside = _MultipliedOut(weights)
    return {name: distribute(inside(side)) for name, side in sides.items()}


def collected(expr: Matrix, weights: set[str]) -> Matrix:
    """Write a sum of products as one product for each data matrix at their head, where all terms begin with one."""
    heads: dict[Matrix, list[Matrix]] = {}
    for term in terms_of(expr):
        scalar, (head, *rest) = split(term)
        if not rest or any(symbol.name in weights for symbol in matrix_symbols(head)):
            return expr
        heads.setdefault(head, []).append(product(scalar, *rest))
    return total(*(product(head, total(*rests)) for head, rests in heads.items()))
