"""How long an expression is when it is written out, counted without doing so."""

from __future__ import annotations

import math

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .nodes import Matrix, MatrixFunction
from .traversal import LEAVES, Traversal, parts, rule


class CountTerms(Traversal):
    """Counts the terms that an expression has when all its sums are multiplied out, those inside functions too."""

    purpose = "counting terms"

    @rule(*LEAVES)
    def one(self, node: Matrix) -> int:
        """A symbol or a constant is one term."""
        return 1

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> int:
        """Every term of a factor with every term of the others."""
        return math.prod(map(self, parts(node)))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> int:
        """Terms of the terms."""
        return sum(map(self, node.args))

    @rule(
        sp.Transpose,
        sp.HadamardProduct,
        sp.HadamardPower,
        ElementwiseApplyFunction,
        DiagMatrix,
        MatrixFunction,
    )
    def largest(self, node: Matrix) -> int:
        """Sums stay within."""
        return max(map(self, parts(node)))


class CountSymbols(Traversal):
    """Counts the symbols and constants of an expression as often as they stand on a page."""

    purpose = "counting symbols"

    @rule(*LEAVES)
    def one(self, node: Matrix) -> int:
        """One."""
        return 1

    @rule(
        sp.MatMul,
        sp.MatAdd,
        sp.Transpose,
        sp.HadamardProduct,
        sp.HadamardPower,
        ElementwiseApplyFunction,
        DiagMatrix,
        MatrixFunction,
    )
    def all(self, node: Matrix) -> int:
        """Those of the parts."""
        return sum(map(self, parts(node)))
