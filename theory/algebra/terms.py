"""How long an expression is when it is written out, counted without doing so."""

from __future__ import annotations

import math

import sympy as sp

from .nodes import Matrix, MatrixFunction
from .traversal import BUILT, LEAVES, Traversal, parts, rule


class CountTerms(Traversal):
    """Counts the terms that an expression has when all its sums are multiplied out, those inside functions too."""

    purpose = "counting terms"

    @rule(*LEAVES)
    def one(self, node: Matrix) -> int:
        """A symbol or a constant is one term."""
        return 1

    @rule(*BUILT, MatrixFunction)
    def largest(self, node: Matrix) -> int:
        """Sums stay within."""
        return max(map(self, parts(node)))

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> int:
        """Every term of a factor with every term of the others."""
        return math.prod(map(self, parts(node)))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> int:
        """Terms of the terms."""
        return sum(map(self, node.args))


class CountSymbols(Traversal):
    """Counts the symbols and constants of an expression as often as they stand on a page."""

    purpose = "counting symbols"

    @rule(*LEAVES, *BUILT, MatrixFunction)
    def written(self, node: Matrix) -> int:
        """Those of the parts; what has none is one."""
        return sum(map(self, parts(node))) or 1
