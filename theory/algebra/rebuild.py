"""Passes that give back an expression: the same one in canonical form, or one with some of its nodes replaced."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .matrices import (
    apply,
    constant_along_rows,
    diagonal,
    hadamard,
    hadamard_power,
    product,
    split,
    terms_of,
    total,
    transpose,
)
from .nodes import Centering, Matrix, MatrixFunction, RowSoftmax, shared
from .scalars.functions import X
from .traversal import LEAVES, Traversal, UnknownNodeError, rule


class Rebuild(Traversal):
    """Builds an expression anew from its parts, in canonical form; subclasses replace what they are about."""

    purpose = "rebuilding"

    @rule(*LEAVES)
    def leaf(self, node: Matrix) -> Matrix:
        """Symbols and constants stay."""
        return node

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """Scalar and factors."""
        scalar, factors = node.as_coeff_matrices()
        return product(scalar, *map(self, factors))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        """Term by term."""
        return total(*map(self, node.args))

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Matrix:
        """Of the part."""
        return transpose(self(node.arg))

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        """Factor by factor."""
        return hadamard(*map(self, node.args))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        """The same power of the part."""
        return hadamard_power(self(node.base), node.exp)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        """The same function of the part."""
        return shared(ElementwiseApplyFunction, node.function, self(node.expr))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Matrix:
        """Of the part."""
        return diagonal(self(node.args[0]))

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Matrix:
        """Nodes of this package, from their parts."""
        return node.of(*map(self, node.matrices))


class Substitution(Rebuild):
    """Replaces symbols by expressions of their shapes."""

    purpose = "substitution"

    def __init__(self, meanings: Mapping[sp.MatrixSymbol, Matrix]) -> None:
        super().__init__()
        self.meanings = meanings

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> Matrix:
        """What stands for it, or itself."""
        return self.meanings.get(node, node)


class _Canonical(Rebuild):
    """Admits what a user may write with sympy's operators, and nothing that the other passes would not know."""

    purpose = "the canonical form"

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        scalar, _ = split(node)
        if held := scalar.atoms(sp.MatrixExpr):
            name = sorted(map(str, held))[0]
            raise UnknownNodeError(
                f"the scalar {scalar} holds the matrix {name}: scalars may hold numbers and dimensions only; write a "
                "trace or an entry as a product with columns of ones or one-hot columns."
            )
        return super().mat_mul(node)

    @rule(sp.MatPow)
    def matrix_power(self, node: sp.MatPow) -> Matrix:
        """A positive integer power is a product."""
        if not (node.exp.is_Integer and node.exp >= 0):
            raise UnknownNodeError(
                f"the power {node.exp} of the matrix {node.base} has no rule: only whole powers have; there is no "
                "inverse of a matrix, while an entrywise power is HadamardPower(x, p)."
            )
        if node.exp == 0:
            return sp.Identity(node.rows)
        return product(*[self(node.base)] * int(node.exp))

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        """Scores without the terms that are equal along a row: they change nothing."""
        scores = self(node.args[0])
        kept = [t for t in terms_of(scores) if not constant_along_rows(t)]
        if kept:
            return RowSoftmax(total(*kept), *map(self, node.args[1:]))
        rows, cols = node.shape
        return product(1 / cols, sp.OneMatrix(rows, cols)) if node.base is None else self(node.base)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        """A whole power stays; any other is a function of the entries."""
        if node.exp.is_Integer and node.exp >= 0:
            return super().power(node)
        if not node.exp.is_number:
            raise UnknownNodeError(f"the entrywise power {node.exp} has no rule: powers must be numbers.")
        return apply(sp.Lambda(X, X**node.exp), self(node.base))


def canonical(expr: Matrix) -> Matrix:
    """A matrix expression written with sympy's own operators, in the canonical form of `matrices`.

    Raises
    ------
    UnknownNodeError
        If it holds something that derivations have no rule for, such as the inverse of a matrix.
    """
    return _Canonical()(expr)


class _Spread(Rebuild):
    """Multiplies sums out, down to Hadamard factors; what lies within functions and powers stays."""

    purpose = "multiplying out"
    most = 2**16

    @rule(sp.Transpose, sp.HadamardPower, ElementwiseApplyFunction, MatrixFunction)
    def whole(self, node: Matrix) -> Matrix:
        return node

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        scalar, factors = node.as_coeff_matrices()
        return _combinations([self(f) for f in factors], product, scalar)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        return _combinations([self(a) for a in node.args], hadamard, sp.S.One)

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Matrix:
        column = self(node.args[0])
        return total(*map(diagonal, column.args)) if isinstance(column, sp.MatAdd) else node


def _combinations(factors: list[Matrix], combine, scalar: sp.Expr) -> Matrix:
    terms: list[tuple[Matrix, ...]] = [()]
    for factor in factors:
        options = factor.args if isinstance(factor, sp.MatAdd) else (factor,)
        terms = [(*head, option) for head in terms for option in options]
    return total(*(product(scalar, combine(*term)) for term in terms))


_spread = _Spread()


def distribute(expr: Matrix) -> Matrix:
    """Multiply all sums out, down to Hadamard factors: the normal form in which derivations are compared."""
    return _spread(expr)


class _Factor(Rebuild):
    """Takes the diagonal factor that opens every term of a sum out of it."""

    purpose = "factoring"
    most = 2**16

    @rule(sp.Transpose, sp.HadamardPower, ElementwiseApplyFunction, DiagMatrix, MatrixFunction)
    def whole(self, node: Matrix) -> Matrix:
        return node

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        terms = [split(self(t)) for t in node.args]
        first = terms[0][1][0]
        if isinstance(first, DiagMatrix) and all(m[0] == first for _, m in terms):
            return product(first, total(*(product(c, *m[1:]) for c, m in terms)))
        return total(*(product(c, *m) for c, m in terms))


_factor = _Factor()


def factored(expr: Matrix) -> Matrix:
    """Take a diagonal factor that opens every term of a sum out of it: diag(w) X - diag(w) Y = diag(w) (X - Y)."""
    return _factor(expr)


class _Normal(Rebuild):
    """Writes centring out, and Hadamard powers of sums as products."""

    purpose = "the normal form"

    @rule(Centering)
    def centering(self, node: Centering) -> Matrix:
        size = node.rows
        return total(sp.Identity(size), product(-1 / size, sp.OneMatrix(size, size)))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        base = self(node.base)
        if isinstance(base, sp.MatAdd):
            return hadamard(*[base] * int(node.exp))
        return hadamard_power(base, node.exp)


def normal(expr: Matrix) -> Matrix:
    """Sums multiplied out, centring and Hadamard powers of sums written out."""
    return distribute(_Normal()(expr))
