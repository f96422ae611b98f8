"""Normalisation of rows in terms of other nodes: its value, its slope, and its factor as a column."""

from __future__ import annotations

import sympy as sp

from .matrices import apply, diagonal, hadamard, hadamard_power, product, total
from .nodes import Matrix, RowNorm
from .scalars.functions import X


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
