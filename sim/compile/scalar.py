"""Functions of one variable as element-wise operations, so that a function and its derivative share what they can."""

from __future__ import annotations

import sympy as sp

from ..kernel.operations import FUNCTIONS
from .graph import Graph, Ref
from .host import Lowered


def apply_function(graph: Graph, function: sp.Lambda, coefficient: float, x: Ref) -> Lowered:
    """Coefficient and reference of function(coefficient * x), element by element.

    Raises
    ------
    TypeError
        If the function is made of something that has no kernel.
    """
    (symbol,) = function.variables
    if not function.expr.free_symbols:
        return 1.0, graph.sum([(0.0, x)], constant=float(function.expr))
    return _Scalar(graph, symbol, coefficient, x).lower(function.expr)


class _Scalar:
    """Lowers expressions that hold the variable."""

    def __init__(self, graph: Graph, symbol: sp.Symbol, coefficient: float, x: Ref) -> None:
        self.graph, self.symbol, self.x = graph, symbol, (coefficient, x)

    def lower(self, expr: sp.Expr) -> Lowered:
        if expr == self.symbol:
            return self.x
        if isinstance(expr, sp.Add):
            constant, rest = expr.as_independent(self.symbol)
            return 1.0, self.graph.sum([self.lower(t) for t in sp.Add.make_args(rest)], float(constant))
        if isinstance(expr, sp.Mul):
            return self._product(expr)
        if isinstance(expr, sp.Pow):
            return self._power(expr)
        return self._function(expr)

    def _product(self, expr: sp.Mul) -> Lowered:
        constant, rest = expr.as_independent(self.symbol)
        coefficient, parts = float(constant), []
        for factor in sp.Mul.make_args(rest):
            whole = isinstance(factor, sp.Pow) and factor.exp.is_Integer and factor.exp > 0
            base, power = (factor.base, int(factor.exp)) if whole else (factor, 1)
            scale, ref = self.lower(base)
            coefficient *= scale**power
            parts.append((ref, power))
        return coefficient, parts[0][0] if parts == [(parts[0][0], 1)] else self.graph.hadamard(parts)

    def _power(self, expr: sp.Pow) -> Lowered:
        base, exponent = expr.args
        if exponent.free_symbols:
            return self.lower(sp.exp(exponent * sp.log(base)))
        scale, ref = self.lower(base)
        if exponent.is_Integer and exponent > 0:
            return scale ** int(exponent), self.graph.hadamard([(ref, int(exponent))])
        return 1.0, self.graph.map(ref, "power", scale, float(exponent))

    def _function(self, expr: sp.Expr) -> Lowered:
        name = type(expr).__name__
        if name in FUNCTIONS and len(expr.args) == 1:
            scale, ref = self.lower(expr.args[0])
            return 1.0, self.graph.map(ref, name, scale)
        other = expr.rewrite(sp.exp)
        if other == expr:
            raise TypeError(f"no kernel for the function {name}; write it with {', '.join(FUNCTIONS[1:])}.")
        return self.lower(other)
