"""Reverse-mode differentiation of matrix expressions: one rule per node, every adjoint a matrix expression.

Sympy's own matrix derivative is right for plain chains but leaves Hadamard products with row sums and attention
terms unevaluated; one reverse sweep gives the gradient of every weight with shared intermediates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .matrices import apply, diagonal, hadamard, hadamard_power, product, total, transpose
from .nodes import Matrix, MatrixFunction, RowNorm, RowSoftmax, matrix_symbols
from .norms import along
from .tangent import slope
from .traversal import LEAVES, Dispatch, parts, rule

Contributions = Iterator[tuple[Matrix, Matrix]]  # (part of a node, what its adjoint receives)


def gradients(scalar: Matrix, weights: Sequence[sp.MatrixSymbol]) -> dict[sp.MatrixSymbol, Matrix]:
    """Differentiate a (1, 1) expression with respect to every weight in one sweep.

    Returns
    -------
    dict
        Weight -> gradient, of the weight's shape (a ZeroMatrix where the expression does not depend on it).

    Raises
    ------
    UnknownNodeError
        If an expression that depends on a weight contains a node without a rule.
    ValueError
        If the base measure of a softmax depends on a weight.
    """
    wanted = set(weights)
    bars: dict[Matrix, list[Matrix]] = {scalar: [sp.Identity(1)]}
    pullback = _Pullback()
    for node in reversed(_postorder(scalar, wanted)):
        bar = total(*bars.pop(node)) if node not in wanted else None
        if bar is None:
            continue
        for child, contribution in pullback.rule_of(node)(node, bar):
            if matrix_symbols(child) & wanted:
                bars.setdefault(child, []).append(contribution)
    return {w: total(*bars[w]) if w in bars else sp.ZeroMatrix(*w.shape) for w in weights}


def _postorder(root: Matrix, wanted: set[sp.MatrixSymbol]) -> list[Matrix]:
    """Distinct sub-expressions that depend on a weight, children first."""
    order: dict[Matrix, None] = {}
    _visit(root, wanted, order)
    return list(order)


def _visit(node: Matrix, wanted: set[sp.MatrixSymbol], order: dict[Matrix, None]) -> None:
    if node in order or not matrix_symbols(node) & wanted:
        return
    for fixed in node.matrices[1:] if isinstance(node, MatrixFunction) else ():
        if matrix_symbols(fixed) & wanted:
            raise ValueError(f"{fixed} in {node.word}(.., {fixed}) holds a weight: it must be data.")
    for child in parts(node):  # a diagonal factor of a product stands for its column
        inner = child.args[0] if isinstance(node, sp.MatMul) and isinstance(child, DiagMatrix) else child
        _visit(inner, wanted, order)
    order[node] = None


class _Pullback(Dispatch):
    """For each kind of node, what `bar`, the adjoint of a node, sends to its parts."""

    purpose = "differentiation"

    @rule(*LEAVES)
    def leaf(self, node: Matrix, bar: Matrix) -> Contributions:
        yield from ()

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul, bar: Matrix) -> Contributions:
        scalar, factors = node.as_coeff_matrices()
        for i, factor in enumerate(factors):
            before = [transpose(f) for f in reversed(factors[:i])]
            after = [transpose(f) for f in reversed(factors[i + 1 :])]
            if isinstance(factor, DiagMatrix):
                yield factor.args[0], product(scalar, _diagonal_of([*before, bar], after))
            else:
                yield factor, product(scalar, *before, bar, *after)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd, bar: Matrix) -> Contributions:
        yield from ((term, bar) for term in node.args)

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose, bar: Matrix) -> Contributions:
        yield node.arg, transpose(bar)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct, bar: Matrix) -> Contributions:
        for i, factor in enumerate(node.args):
            yield factor, hadamard(bar, *node.args[:i], *node.args[i + 1 :])

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower, bar: Matrix) -> Contributions:
        yield node.base, product(node.exp, hadamard(bar, hadamard_power(node.base, node.exp - 1)))

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction, bar: Matrix) -> Contributions:
        (x,) = node.function.variables
        slope = sp.Lambda(x, sp.diff(node.function.expr, x))
        yield node.expr, hadamard(bar, apply(slope, node.expr))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix, bar: Matrix) -> Contributions:
        yield node.args[0], _diagonal_of([bar], [])

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction, bar: Matrix) -> Contributions:
        """The slope turned round: where <bar, slope> is linear in a direction, its gradient by it is the adjoint."""
        x = node.args[0]
        direction = sp.MatrixSymbol("direction of an adjoint", *x.shape)
        overlap = hadamard(bar, slope(node, direction))
        summed = product(sp.OneMatrix(1, node.rows), overlap, sp.OneMatrix(node.cols, 1))
        yield x, gradients(summed, [direction])[direction]

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax, bar: Matrix) -> Contributions:
        weighted = hadamard(node, bar)
        row_sums = product(weighted, sp.OneMatrix(node.cols, 1))
        yield node.args[0], total(weighted, product(-1, diagonal(row_sums), node))

    @rule(RowNorm)
    def norm(self, node: RowNorm, bar: Matrix) -> Contributions:
        yield node.args[0], along(node, bar)


def _diagonal_of(left: list[Matrix], right: list[Matrix]) -> Matrix:
    """Diagonal, as a column, of a square product that is never formed: diag(A B) = (A o B^T) 1."""
    if not right:
        left, right = (left[:-1], left[-1:]) if len(left) > 1 else (left, [sp.Identity(left[0].rows)])
    a, b = product(*left), transpose(product(*right))
    return product(hadamard(a, b), sp.OneMatrix(a.cols, 1))
