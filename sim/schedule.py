"""All equations of a flow in one graph, in the order in which they share most."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, permutations
from typing import Any

import sympy as sp

from ..theory.nodes import Matrix
from .graph import Graph, Ref
from .lower import Lowering

MAX_ORDERS = 24  # orders of the equations tried in search of shared products
LOWERED_NODES = 600  # and nodes lowered in all these tries: long flows are lowered once


def lower_flow(
    sides: Mapping[str, Matrix],
    values: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    sizes: Mapping[sp.Symbol, int],
) -> tuple[Graph, dict[str, list[tuple[float, Ref]]]]:
    """Lower all right-hand sides into the cheapest graph found over orders of the equations.

    Returns
    -------
    graph : Graph
        The shared operations.
    outputs : dict
        Weight name -> terms (coefficient, reference) that sum to dW/dt.
    """
    folds: dict[Matrix, Any] = {}

    def attempt(order: tuple[str, ...]) -> tuple[Graph, dict[str, list[tuple[float, Ref]]]]:
        lowering = Lowering(values, shapes, sizes, folds)
        return lowering.graph, {
            name: [lowering.lower_dense(t) for t in _terms(sides[name])] for name in order
        }

    first = attempt(tuple(sides))
    tries = min(MAX_ORDERS, max(1, LOWERED_NODES // max(len(first[0].nodes), 1)))
    attempts = [first, *(attempt(order) for order in islice(permutations(sides), 1, tries))]
    graph, outputs = min(attempts, key=lambda found: found[0].cost)
    return graph, {name: outputs[name] for name in sides}


def _terms(expr: Matrix) -> tuple[Matrix, ...]:
    if isinstance(expr, sp.ZeroMatrix):
        return ()
    return expr.args if isinstance(expr, sp.MatAdd) else (expr,)
