"""Which sub-expressions of logits a paper would name, and how: scores, attention, residual stream, hidden layer."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..algebra.matrices import split, transpose
from ..algebra.nodes import Matrix, MatrixFunction, RowNorm, RowSoftmax, matrix_symbols, nodes_within
from ..algebra.traversal import LEAVES, Traversal, parts, rule


def find_roles(logits: Matrix, weights: Collection[sp.MatrixSymbol]) -> dict[Matrix, str]:
    """Parts of logits that have a name of their own.

    Returns
    -------
    dict
        Sub-expression, upright (see `upright`) -> letter of its kind, as in `intermediates`.
    """
    naming = _Roles(weights)
    naming(logits)
    naming.found.pop(upright(logits), None)  # the logits themselves are f
    return naming.found


class _Roles(Traversal):
    """Letters for what holds weights; what is made of a part takes the word over what the part is."""

    purpose = "naming intermediates"

    def __init__(self, weights: Collection[sp.MatrixSymbol]) -> None:
        super().__init__()
        self.weights = set(weights)
        self.found: dict[Matrix, str] = {}

    def __call__(self, node: Matrix) -> None:
        """Look at the parts, then at the node."""
        if self.moves(node) and node not in self.known:
            for part in parts(node):
                self(part)
            super().__call__(node)

    def moves(self, node: Matrix) -> bool:
        return bool(matrix_symbols(node) & self.weights)

    def argument(self, node: Matrix, letter: str) -> None:
        """Name what something is taken of."""
        if self.moves(node) and not isinstance(node, sp.MatrixSymbol):
            self.found[upright(node)] = letter

    @rule(*LEAVES, sp.MatMul, sp.Transpose, DiagMatrix, MatrixFunction)
    def nameless(self, node: Matrix) -> None:
        pass

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> None:
        self.argument(node.args[0], "S")
        self.found.setdefault(node, "A")

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> None:
        self.found.setdefault(node, "v")

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> None:
        if node.shape[1] == 1:  # no hidden layer: what a norm multiplies centred rows by
            for power in nodes_within(node.expr, sp.HadamardPower):
                self.argument(power.base, "c")
            self.found.setdefault(upright(node), "r")
            return
        self.argument(node.expr, "z")
        self.found.setdefault(upright(node), "h")

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> None:
        self.argument(node.base, "z")

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> None:
        for factor in node.args:
            if self.found.get(upright(factor)) not in ("h", "A", "v"):
                self.argument(factor, "S" if self.masked(node) else "z")

    def masked(self, node: Matrix) -> bool:
        """Whether data multiply weights entry by entry, as a base measure does with scores."""
        return isinstance(node, sp.HadamardProduct) and not all(map(self.moves, node.args))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> None:
        single = [factors[0] for _, factors in map(split, node.args) if len(factors) == 1]
        polynomial = any(isinstance(f, sp.HadamardPower) for f in single)
        letter = "h" if polynomial else "A" if any(map(self.masked, single)) else "u"
        self.found.setdefault(upright(node), letter)


def upright(node: Matrix) -> Matrix:
    """An expression or its transpose, whichever holds fewer transposes."""
    return min(node, transpose(node), key=flips)


class _Flips(Traversal):
    """Counts transposes in sums, products and entrywise products."""

    purpose = "counting transposes"
    most = 2**16

    @rule(sp.Transpose)
    def one(self, node: sp.Transpose) -> int:
        return 1

    @rule(*LEAVES, DiagMatrix, MatrixFunction)
    def none(self, node: Matrix) -> int:
        return 0

    @rule(sp.MatAdd, sp.MatMul, sp.HadamardProduct, sp.HadamardPower, ElementwiseApplyFunction)
    def inside(self, node: Matrix) -> int:
        return sum(map(self, parts(node)))


flips = _Flips()
