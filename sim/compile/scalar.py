"""Functions of one variable as element-wise operations, so that a function and its derivative share what they can."""

from __future__ import annotations

import sympy as sp

from ...theory.algebra.scalars.functions import KNOWN
from ...theory.algebra.scalars.pieces import Piece
from ...theory.algebra.scalars.stable import stable_pieces
from ...theory.algebra.traversal import Traversal, rule
from .graph import Graph, Ref
from .host import Lowered


def apply_function(graph: Graph, function: sp.Lambda, coefficient: float, x: Ref) -> Lowered:
    """Coefficient and reference of function(coefficient * x), element by element.

    Raises
    ------
    UnknownNodeError
        If the function is made of something that has no kernel; the message names it.
    """
    (symbol,) = function.variables
    parts = stable_pieces(function.expr, symbol)
    if len(parts) == 1:
        return _lower(graph, symbol, parts[0].expr, (coefficient, x))
    return 1.0, graph.sum([_on_its_interval(graph, symbol, part, (coefficient, x)) for part in parts])


def _lower(graph: Graph, symbol: sp.Symbol, expr: sp.Expr, x: Lowered) -> Lowered:
    if not expr.free_symbols:
        return 1.0, graph.sum([(0.0, x[1])], constant=float(expr))
    return _Scalar(graph, symbol, x)(expr)


def _on_its_interval(graph: Graph, symbol: sp.Symbol, part: Piece, x: Lowered) -> Lowered:
    """A piece where it holds and zero elsewhere; it is only ever evaluated where it holds."""
    (scale, ref), held, inside = x, x, []
    if part.low.is_finite:
        low = float(part.low)
        held = 1.0, graph.map(held[1], "at_least", held[0], low)
        inside.append((1.0, graph.map(ref, "above", scale, low)))
    if part.high.is_finite:
        high = float(part.high)
        held = 1.0, graph.map(held[1], "at_most", held[0], high)
        inside.append((-1.0, graph.map(ref, "above", scale, high)))
    factor, value = _lower(graph, symbol, part.expr, held)
    share = graph.sum(inside, constant=0.0 if part.low.is_finite else 1.0)
    return factor, graph.hadamard([(value, 1), (share, 1)])


class _Scalar(Traversal):
    """Lowers expressions that hold the variable."""

    purpose = "kernels of functions"

    def __init__(self, graph: Graph, symbol: sp.Symbol, x: Lowered) -> None:
        super().__init__()
        self.graph, self.symbol, self.x = graph, symbol, x

    @rule(sp.Symbol)
    def variable(self, expr: sp.Symbol) -> Lowered:
        return self.x

    @rule(sp.Add)
    def add(self, expr: sp.Add) -> Lowered:
        constant, rest = expr.as_independent(self.symbol)
        return 1.0, self.graph.sum([self(t) for t in sp.Add.make_args(rest)], float(constant))

    @rule(sp.Mul)
    def mul(self, expr: sp.Mul) -> Lowered:
        constant, rest = expr.as_independent(self.symbol)
        coefficient, parts = float(constant), []
        for factor in sp.Mul.make_args(rest):
            whole = isinstance(factor, sp.Pow) and factor.exp.is_Integer and factor.exp > 0
            base, power = (factor.base, int(factor.exp)) if whole else (factor, 1)
            scale, ref = self(base)
            coefficient *= scale**power
            parts.append((ref, power))
        return coefficient, parts[0][0] if parts == [(parts[0][0], 1)] else self.graph.hadamard(parts)

    @rule(sp.Pow)
    def power(self, expr: sp.Pow) -> Lowered:
        base, exponent = expr.args
        if exponent.free_symbols:
            return self(sp.exp(exponent * sp.log(base)))
        scale, ref = self(base)
        if exponent.is_Integer and exponent > 0:
            return scale ** int(exponent), self.graph.hadamard([(ref, int(exponent))])
        return 1.0, self.graph.map(ref, "power", scale, float(exponent))

    @rule(*KNOWN)
    def function(self, expr: sp.Function) -> Lowered:
        scale, ref = self(expr.args[0])
        return 1.0, self.graph.map(ref, type(expr).__name__, scale)
