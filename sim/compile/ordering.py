"""All equations of a flow in one graph, in the order in which they share most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice, permutations
from typing import Any

import sympy as sp

from ...theory.algebra.matrices import product, split, total, transpose
from ...theory.algebra.nodes import Matrix, RowSoftmax, matrix_symbols
from ...theory.algebra.rebuild import distribute
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
    known: dict[Any, int] = {}

    def attempt(order: tuple[str, ...], of: Mapping[str, Matrix] = sides) -> tuple[Graph, dict[str, list]]:
        lowering = Lowering(values, shapes, sizes, folds)
        return lowering.graph, {name: [lowering.lower_dense(t) for t in _terms(of[name])] for name in order}

    first = attempt(tuple(sides))
    tries = min(MAX_ORDERS, max(1, LOWERED_NODES // max(len(first[0].nodes), 1)))
    form = sides
    few = sum(count_terms(side, known) for side in sides.values()) <= MOST_TERMS
    if tries > 1 and few and (out := multiplied_out(sides, set(shapes))) != sides:
        other = attempt(tuple(sides), out)
        if other[0].cost < first[0].cost:
            first, form = other, out
    attempts = [first, *(attempt(order, form) for order in islice(permutations(sides), 1, tries))]
    graph, outputs = min(attempts, key=lambda found: found[0].cost)
    return graph, {name: outputs[name] for name in sides}


def count_terms(expr: Any, known: dict[Any, int]) -> int:
    """Count the terms that an expression has when all its sums are multiplied out, those inside functions too."""
    if expr not in known:
        inner = [count_terms(arg, known) for arg in expr.args if isinstance(arg, sp.MatrixExpr)]
        join = math.prod if isinstance(expr, sp.MatMul) else sum if isinstance(expr, sp.MatAdd) else max
        known[expr] = join(inner) if inner else 1
    return known[expr]


def multiplied_out(sides: Mapping[str, Matrix], weights: set[str]) -> dict[str, Matrix]:
    """Multiply sums out, and collect what one data matrix reads in the argument of a softmax."""
    seen: dict[Matrix, Matrix] = {}

    def inside(expr: Any) -> Any:
        if expr not in seen:
            seen[expr] = rewritten(expr)
        return seen[expr]

    def rewritten(expr: Any) -> Any:
        if isinstance(expr, RowSoftmax):
            return RowSoftmax(collected(distribute(expr.args[0]), weights), *expr.args[1:])
        if isinstance(expr, sp.Transpose):
            return transpose(inside(expr.arg))
        if isinstance(expr, (sp.MatMul, sp.MatAdd)):
            join = product if isinstance(expr, sp.MatMul) else total
            return join(*map(inside, expr.args))
        return expr

    return {name: distribute(inside(side)) for name, side in sides.items()}


def collected(expr: Matrix, weights: set[str]) -> Matrix:
    """Write a sum of products as one product for each data matrix at their head, where all terms begin with one."""
    heads: dict[Matrix, list[Matrix]] = {}
    for term in _terms(expr):
        scalar, (head, *rest) = split(term)
        if not rest or any(symbol.name in weights for symbol in matrix_symbols(head)):
            return expr
        heads.setdefault(head, []).append(product(scalar, *rest))
    return total(*(product(head, total(*rests)) for head, rests in heads.items()))


def _terms(expr: Matrix) -> tuple[Matrix, ...]:
    if isinstance(expr, sp.ZeroMatrix):
        return ()
    return expr.args if isinstance(expr, sp.MatAdd) else (expr,)
