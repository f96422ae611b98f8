"""Normalisation of rows in terms of other nodes: its value, its slope, and its factor as a column."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from .matrices import apply, diagonal, hadamard, hadamard_power, product, total
from .nodes import Matrix, RowNorm
from .rebuild import Rebuild
from .scalars.functions import X
from .traversal import rule


def mean_square(x: Matrix) -> Matrix:
    """Mean square of every row (n, 1)."""
    return product(1 / x.cols, hadamard_power(x, sp.Integer(2)), sp.OneMatrix(x.cols, 1))


def power_of_mean_square(square: Matrix, eps: sp.Expr, exponent: sp.Expr) -> Matrix:
    """(s + eps)^exponent of a column of mean squares (n, 1)."""
    return apply(sp.Lambda(X, (X + eps) ** exponent), square)


def inverse_rms(node: RowNorm) -> Matrix:
    """What every row is multiplied by, (|x|^2 / d + eps)^(-1/2), as a column (n, 1)."""
    return power_of_mean_square(mean_square(node.args[0]), node.eps, sp.Rational(-1, 2))


def written_out(node: RowNorm) -> Matrix:
    """diag((|x|^2 / d + eps)^(-1/2)) x."""
    return product(diagonal(inverse_rms(node)), node.args[0])


def along(node: RowNorm, direction: Matrix) -> Matrix:
    """Derivative along a direction of x, which is its own transpose: r (dx - N (N . dx) / d), r the inverse root.

    From dN = r dx + x dr and dr = -r^3 (x . dx) / d, with N = r x.
    """
    overlap = product(1 / node.cols, hadamard(node, direction), sp.OneMatrix(node.cols, 1))
    across = total(direction, product(-1, diagonal(overlap), node))
    return product(diagonal(inverse_rms(node)), across)


def root_parts(function: sp.Lambda, norms: Collection[sp.Expr]) -> tuple[sp.Expr, sp.Expr, sp.Expr] | None:
    """The parts c, eps and p of c (x + eps)^p, if normalisations of some eps, or their slopes, are written so."""
    (x,) = function.variables
    factor, power = function.expr.as_independent(x, as_Add=False)
    base, exponent = power.as_base_exp()
    if not (2 * exponent).is_Integer or exponent > 0 or base - x not in norms:
        return None
    return factor, base - x, exponent


class _WithoutEps(Rebuild):
    purpose = "norms without eps"

    def __init__(self, norms: Collection[sp.Expr]) -> None:
        super().__init__()
        self.norms = norms

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Matrix:
        return RowNorm(self(node.args[0]), sp.S.Zero if node.eps in self.norms else node.eps)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        root, argument = root_parts(node.function, self.norms), self(node.expr)
        if root is None:
            return apply(node.function, argument)
        factor, _, exponent = root
        return product(factor, power_of_mean_square(argument, sp.S.Zero, exponent))


def without_eps(expr: Matrix, norms: Collection[sp.Expr]) -> Matrix:
    """The expression far above the eps of its normalisations, which stand in `norms`: these put zero."""
    return _WithoutEps(norms)(expr)
