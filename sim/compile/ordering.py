"""All equations of a flow in one graph, in the order in which they share most."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, permutations, takewhile
from typing import Any

import numpy as np
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.matrices import product, split, terms_of, total
from ...theory.algebra.nodes import Matrix, RowLogSumExp, RowSoftmax, matrix_symbols
from ...theory.algebra.rebuild import Rebuild, distribute
from ...theory.algebra.terms import CountTerms
from ...theory.algebra.traversal import rule
from .graph import Graph, Ref
from .host import Lowered
from .lower import Lowering
from .multiply import READINGS
from .rewriting import Merged
from .rows.picked_rows import PickedRows
from .rows.shared_rows import SharedRows

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

    Terms that differ in one factor are merged too, and rows picked early, where that costs less; what sparse data read
    is read apart, and equal rows of data are worked on once.

    Returns
    -------
    graph : Graph
        The shared operations.
    outputs : dict
        Weight name -> terms (coefficient, reference) that sum to dW/dt.
    """
    values, sizes = dict(values), dict(sizes)
    together = Lowering(values, shapes, sizes, {}, READINGS[0])
    tried = best = Tries(together, sides)
    best.lower(tuple(sides), np.inf)
    tries = min(MAX_ORDERS, max(1, LOWERED_NODES // max(len(best.graph.nodes), 1)))
    pick, merge = PickedRows(values), Merged(set(shapes), together.sampler.pattern_of)
    merged = {name: merge(pick(side)) for name, side in sides.items()}
    forms = [(merged, how) for how in READINGS[1:]]
    share = SharedRows(sides.values(), values, sizes)
    if share.found:
        shared = {name: merge(pick(share(pick(side)))) for name, side in sides.items()}
        # joined first: only that tells whether there are sums
        forms += [(shared, how) for how in READINGS[1::-1]]
    if tries > 1 and sum(map(CountTerms(), sides.values())) <= MOST_TERMS:
        forms.append((multiplied_out(sides, set(shapes)), READINGS[0]))
    for form, how in forms:
        if tried.form is form and not tried.lowering.readings.met:
            continue  # there is nothing that could be read in another way
        tried = Tries(together.anew(how), form)
        best = tried if tried.lower(tuple(sides), best.cost) else best
    for order in islice(permutations(sides), 1, tries):
        best.lower(order, best.cost)
    return best.graph, {name: best.outputs[name] for name in sides}


class Tries:
    """Orders of the equations in one form, lowered one after the other; the cheapest is kept.

    What an order begins with like the one before is lowered once, and one that cannot become cheaper is given up.

    Parameters
    ----------
    lowering : Lowering
        Into an empty graph.
    form : dict
        Weight name -> right-hand side.

    Attributes
    ----------
    graph, outputs, cost
        Of the cheapest order so far: the operations, weight name -> terms, and what one evaluation costs.
    """

    def __init__(self, lowering: Lowering, form: Mapping[str, Matrix]) -> None:
        self.lowering, self.form = lowering, form
        self.graph, self.outputs, self.cost = Graph(), dict[str, list[Lowered]](), np.inf
        # equations lowered: name, mark before it, terms
        self._path: list[tuple[str, Any, list[Lowered]]] = []

    def lower(self, order: tuple[str, ...], limit: float) -> bool:
        """Lower an order and keep it if it costs less than a limit; whether it does."""
        path, lowering = self._path, self.lowering
        common = len([*takewhile(lambda pair: pair[0] == pair[1][0], zip(order, path, strict=False))])
        if common < len(path):
            lowering.back_to(path[common][1])
            del path[common:]
        for name in order[common:]:
            if lowering.graph.cost >= limit:
                return False
            mark = lowering.mark()
            path.append((name, mark, [lowering.lower_dense(t) for t in terms_of(self.form[name])]))
        if lowering.graph.cost >= limit:
            return False
        self.graph, self.cost = lowering.graph.copy(), lowering.graph.cost
        self.outputs = {name: terms for name, _, terms in path}
        return True


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
