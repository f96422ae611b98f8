"""What makes an equation readable as it stands: data products by name, terms by rising power of the weight scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..algebra.matrices import product, split, total, transpose
from ..algebra.nodes import Centering, Matrix, MatrixFunction, matrix_symbols
from ..algebra.rebuild import Rebuild
from ..algebra.scale.cuts import leading_degree
from ..algebra.traversal import Traversal, rule


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


class Degree(Traversal):
    """Lowest power of the weight scale in an expression."""

    purpose = "powers of the weight scale"

    def __init__(self, weights: Collection[sp.MatrixSymbol]) -> None:
        super().__init__()
        self.weights = set(weights)

    def __call__(self, node: Matrix) -> sp.Expr:
        """The power; 0 of what holds no weight."""
        return super().__call__(node) if matrix_symbols(node) & self.weights else sp.S.Zero

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> sp.Expr:
        """A weight is of power 1."""
        return sp.S.One

    @rule(sp.Identity, sp.ZeroMatrix, sp.OneMatrix, Centering)
    def constant(self, node: Matrix) -> sp.Expr:
        """Constants are of power 0."""
        return sp.S.Zero

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> sp.Expr:
        """Powers of factors add."""
        return sum(map(self, node.as_coeff_matrices()[1]), sp.S.Zero)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> sp.Expr:
        """Powers of factors add."""
        return sum(map(self, node.args), sp.S.Zero)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> sp.Expr:
        """The lowest of the terms."""
        return min(map(self, node.args))

    @rule(sp.Transpose, DiagMatrix)
    def same(self, node: Matrix) -> sp.Expr:
        """Of the part."""
        return self(node.args[0])

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> sp.Expr:
        """The multiple of the base's."""
        return node.exp * self(node.base)

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
