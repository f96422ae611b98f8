"""What makes an equation readable as it stands: data products by name, terms by rising power of the weight scale."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.matrices import product, split, total, transpose
from ..algebra.nodes import Matrix, MatrixFunction, matrix_symbols
from ..algebra.rebuild import Rebuild
from ..algebra.scale.by_power import ByPower
from ..algebra.scale.cuts import leading_degree
from ..algebra.traversal import rule


def substitute_runs(expr: Matrix, names: Mapping[sp.MatrixSymbol, Matrix]) -> Matrix:
    """Write every run of factors, or part, that equals a named expression (or its transpose) as its symbol."""
    return Naming(names)(expr)


class Naming(Rebuild):
    """Writes products, or whole expressions, as the symbols that stand for them."""

    purpose = "naming products"

    def __init__(self, names: Mapping[sp.MatrixSymbol, Matrix]) -> None:
        super().__init__()
        self.runs = [
            (factors, scalar, name)
            for symbol, definition in names.items()
            for meaning, name in ((definition, symbol), (transpose(definition), transpose(symbol)))
            for scalar, factors in (split(meaning),)
        ]
        self.whole = {run[0]: name for run, scalar, name in self.runs if len(run) == 1 and scalar == 1}
        self.symbols = [matrix_symbols(definition) for definition in names.values()]

    def __call__(self, node: Matrix) -> Matrix:
        """The expression with names in it; itself if it holds none of the products."""
        inside = matrix_symbols(node)
        if not any(symbols <= inside for symbols in self.symbols):
            return node
        return self.whole[node] if node in self.whole else super().__call__(node)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """Runs of factors by name, the first that fits."""
        scalar, factors = node.as_coeff_matrices()
        factors = list(map(self, factors))
        for run, coefficient, symbol in self.runs:
            while (place := _find(factors, run)) is not None:
                factors[place : place + len(run)] = [symbol]
                scalar /= coefficient
        return product(scalar, *factors)


def _find(factors: list[Matrix], run: list[Matrix]) -> int | None:
    places = range(len(factors) - len(run) + 1)
    return next((i for i in places if factors[i : i + len(run)] == run), None)


def by_rising_power(expr: Matrix, weights: Collection[sp.MatrixSymbol]) -> Matrix:
    """Order the terms of a sum by their power of the weight scale."""
    if not isinstance(expr, sp.MatAdd):
        return expr
    return sp.MatAdd(*sorted(expr.args, key=Degree(weights)))


def mark_powers(expr: Matrix, weights: Collection[sp.MatrixSymbol], eps: sp.Symbol) -> Matrix:
    """Set eps^k before the terms whose power of the weight scale lies k above that of the first."""
    if not isinstance(expr, sp.MatAdd):
        return expr
    degree = Degree(weights)
    groups = {power: total(*terms) for power, terms in groupby(sorted(expr.args, key=degree), degree)}
    first = min(groups)
    terms = [
        sp.MatMul(eps ** (power - first), group) if power > first else group
        for power, group in groups.items()
    ]
    parts = [t for term in terms for t in (term.args if isinstance(term, sp.MatAdd) else (term,))]
    return parts[0] if len(parts) == 1 else sp.MatAdd(*parts)


class Degree(ByPower[sp.Expr]):
    """Lowest power of the weight scale in an expression, read off its factors."""

    purpose = "powers of the weight scale"

    def __init__(self, weights: Collection[sp.MatrixSymbol]) -> None:
        super().__init__(weights, 0)

    def constant(self, node: Matrix) -> sp.Expr:
        """None."""
        return sp.S.Zero

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> sp.Expr:
        """One."""
        return sp.S.One

    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> sp.Expr:
        """Those of the factors together."""
        return sum(map(self, factors), sp.S.Zero)

    def added(self, terms: Sequence[sp.Expr]) -> sp.Expr:
        """The lowest of the terms."""
        return min(terms)

    def turned(self, by: Callable[[Matrix], Matrix], kept: sp.Expr) -> sp.Expr:
        """That of what is turned."""
        return kept

    def smooth(self, node: MatrixFunction) -> sp.Expr:
        """None: functions of a matrix are taken not to vanish with it."""
        return sp.S.Zero

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> sp.Expr:
        """By the function's first Taylor term; 0 where it does not vanish at 0."""
        (x,), expr = node.function.variables, node.function.expr
        inner = self(node.expr)
        if expr.is_Pow and expr.exp.is_negative and (expr.base - x).is_number:
            return expr.exp * inner  # of a mean square, beside which the eps of a normalisation is small
        if inner == 0 or expr.subs(x, 0) != 0:
            return sp.S.Zero
        return leading_degree(node.function) * inner

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> sp.Expr:
        """A softmax or the like of small scores is a constant at first."""
        return sp.S.Zero
