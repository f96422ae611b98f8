"""What the parts of lowering need of the whole: `lower.Lowering` is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import sympy as sp

from ...theory.algebra.nodes import Matrix
from .graph import Graph, Ref

Lowered = tuple[float, Ref]  # a coefficient times an array of the graph


class Host(Protocol):
    """Lowers expressions into one graph.

    Attributes
    ----------
    graph : Graph
        The operations.
    values : dict
        Data symbol -> array.
    sizes : dict
        Symbolic dimension -> number.
    """

    graph: Graph
    values: Mapping[str, Any]
    sizes: Mapping[sp.Symbol, int]

    def is_data(self, expr: Matrix) -> bool:
        """Whether an expression holds no weight."""
        ...

    def has_pattern(self, expr: Matrix) -> bool:
        """Whether an expression is sparse by structure."""
        ...

    def data(self, expr: Matrix) -> Ref:
        """Array of a data expression."""
        ...

    def folded(self, expr: Matrix) -> Any:
        """Value of a data expression."""
        ...

    def lower(self, expr: Matrix) -> Lowered:
        """Coefficient and reference of an expression."""
        ...

    def lower_dense(self, expr: Matrix) -> Lowered:
        """The same, as an array without holes."""
        ...

    def densified(self, ref: Ref) -> Ref:
        """The same matrix as an array without holes."""
        ...

    def number(self, expr: sp.Expr) -> float:
        """Value of a scalar of numbers and dimensions."""
        ...
