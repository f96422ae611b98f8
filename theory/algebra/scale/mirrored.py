"""Continuation of a network to a negative weight scale, as its series in eps have it.

The row norm of x = eps^p y is that of y whatever eps > 0, and so its series is one of N(y), which goes on to negative
eps without a jump; the norm itself is N(-y) there where p is odd.
"""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..matrices import apply, product
from ..nodes import Matrix, RowNorm
from ..norms import root_parts
from ..rebuild import Rebuild
from ..traversal import rule
from .expansion import first_power


def mirrored(expr: Matrix, weights: Collection[sp.MatrixSymbol]) -> Matrix:
    """The expression whose value at weights times -eps is what its series at eps gives for -eps.

    Parameters
    ----------
    expr : Matrix
        Its normalisations have eps = 0, and so have their roots written out.
    weights : collection of MatrixSymbol
        What is of power 1.
    """
    return _Mirrored(weights)(expr)


class _Mirrored(Rebuild):
    purpose = "continuation to negative scales"

    def __init__(self, weights: Collection[sp.MatrixSymbol]) -> None:
        super().__init__()
        self.weights = weights

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Matrix:
        x = node.args[0]
        return product((-1) ** first_power(x, self.weights), node.of(self(x)))

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        root, sign = root_parts(node.function, {sp.S.Zero}), 1
        if root is not None and (low := first_power(node.expr, self.weights)) % 2 == 0:
            sign = (-1) ** int(low * root[2])
        return product(sign, apply(node.function, self(node.expr)))
