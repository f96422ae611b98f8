"""Forward differentiation of matrix expressions: the derivative along a direction of the weights, node by node.

Where the direction is that of a symmetry, the derivative cancels at the node at which the symmetry closes, long before
the loss; the reverse sweep of `adjoint` would hide this among transposes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from .matrices import apply, diagonal, hadamard, hadamard_power, product, total
from .nodes import Centering, Matrix, MatrixFunction, RowLogSumExp, RowNorm, RowSoftmax, matrix_symbols
from .norms import along
from .rebuild import Rebuild, Substitution
from .traversal import rule


def tangent(
    expr: Matrix,
    directions: Mapping[sp.MatrixSymbol, Matrix],
    simplify: Callable[[Matrix], Matrix] | None = None,
) -> Matrix:
    """Derivative of an expression when every symbol W moves along directions[W].

    Parameters
    ----------
    expr : Matrix
        Differentiable in the symbols.
    directions : dict
        Symbol -> matrix of its shape; other symbols rest.
    simplify : callable, optional
        Applied to the derivative of every node, such as `Monomials`.

    Raises
    ------
    UnknownNodeError
        If a node that depends on a moving symbol has no rule.
    """
    return _Tangent(directions, simplify or (lambda derivative: derivative))(expr)


def slope(node: MatrixFunction, direction: Matrix) -> Matrix:
    """Derivative of a function of a matrix when that matrix moves along a direction and all else rests."""
    x, *others = node.matrices
    at, to = (sp.MatrixSymbol(name, *x.shape) for name in ("argument of a slope", "direction of a slope"))
    return Substitution({at: x, to: direction})(tangent(node.of(at, *others), {at: to}))


class _Tangent(Rebuild):
    """Linear nodes are built anew, from the derivatives of their parts."""

    purpose = "forward differentiation"

    def __init__(
        self, directions: Mapping[sp.MatrixSymbol, Matrix], simplify: Callable[[Matrix], Matrix]
    ) -> None:
        super().__init__()
        self.directions, self.simplify = directions, simplify
        self.moving = set(directions)

    def __call__(self, node: Matrix) -> Matrix:
        """The derivative, simplified at every node; zero for what rests."""
        if node not in self.known:
            rests = not matrix_symbols(node) & self.moving
            self.known[node] = (
                sp.ZeroMatrix(*node.shape) if rests else self.simplify(self.rule_of(node)(node))
            )
        return self.known[node]

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> Matrix:
        return self.directions[node]

    @rule(sp.Identity, sp.ZeroMatrix, sp.OneMatrix, Centering)
    def leaf(self, node: Matrix) -> Matrix:
        return sp.ZeroMatrix(*node.shape)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        scalar, factors = node.as_coeff_matrices()
        return product(scalar, self._one_at_a_time(factors, product))

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        return self._one_at_a_time(node.args, hadamard)

    def _one_at_a_time(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Matrix:
        """Sum over the factors, each in turn replaced by its derivative."""
        return total(*(combine(*factors[:i], self(f), *factors[i + 1 :]) for i, f in enumerate(factors)))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        return product(node.exp, hadamard(hadamard_power(node.base, node.exp - 1), self(node.base)))

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        (x,) = node.function.variables
        derivative = sp.Lambda(x, sp.diff(node.function.expr, x))
        return hadamard(apply(derivative, node.expr), self(node.expr))

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Matrix:
        return self(self.made_of(node))

    @rule(RowLogSumExp)
    def log_sum_exp(self, node: RowLogSumExp) -> Matrix:
        x = node.args[0]
        return product(hadamard(RowSoftmax(x), self(x)), sp.OneMatrix(x.cols, 1))

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        weighted = hadamard(node, self(node.args[0]))
        row_sums = product(weighted, sp.OneMatrix(node.cols, 1))
        return total(weighted, product(-1, diagonal(row_sums), node))

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Matrix:
        return along(node, self(node.args[0]))
