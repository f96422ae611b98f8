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
from .nodes import Matrix, RowLogSumExp, RowSoftmax, matrix_symbols


def gradients(scalar: Matrix, weights: Sequence[sp.MatrixSymbol]) -> dict[sp.MatrixSymbol, Matrix]:
    """Differentiate a (1, 1) expression with respect to every weight in one sweep.

    Returns
    -------
    dict
        Weight -> gradient, of the weight's shape (a ZeroMatrix where the expression does not depend on it).

    Raises
    ------
    TypeError
        If an expression that depends on a weight contains a node without a rule.
    """
    wanted = set(weights)
    bars: dict[Matrix, list[Matrix]] = {scalar: [sp.Identity(1)]}
    for node in reversed(_postorder(scalar, wanted)):
        bar = total(*bars.pop(node)) if node not in wanted else None
        if bar is None:
            continue
        for child, contribution in _rules(node, bar):
            if matrix_symbols(child) & wanted:
                bars.setdefault(child, []).append(contribution)
    return {w: total(*bars[w]) if w in bars else sp.ZeroMatrix(*w.shape) for w in weights}


def _postorder(root: Matrix, wanted: set[sp.MatrixSymbol]) -> list[Matrix]:
    """Distinct sub-expressions that depend on a weight, children first."""
    order: dict[Matrix, None] = {}

    def visit(node: Matrix) -> None:
        if node in order or not matrix_symbols(node) & wanted:
            return
        for child in _children(node):
            visit(child)
        order[node] = None

    visit(root)
    return list(order)


def _children(node: Matrix) -> Sequence[Matrix]:
    if isinstance(node, sp.MatrixSymbol):
        return ()
    if isinstance(node, ElementwiseApplyFunction):
        return (node.expr,)
    if isinstance(node, sp.HadamardPower):
        return (node.base,)
    if isinstance(node, sp.MatMul):  # a diagonal factor stands for its column
        return [a.args[0] if isinstance(a, DiagMatrix) else a for a in node.as_coeff_matrices()[1]]
    return [a for a in node.args if getattr(a, "is_Matrix", False)]


def _rules(node: Matrix, bar: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
    """Pairs (child, adjoint that `bar`, the adjoint of `node`, sends to it)."""
    if isinstance(node, sp.MatMul):
        scalar, factors = node.as_coeff_matrices()
        for i, factor in enumerate(factors):
            before = [transpose(f) for f in reversed(factors[:i])]
            after = [transpose(f) for f in reversed(factors[i + 1 :])]
            if isinstance(factor, DiagMatrix):
                yield factor.args[0], product(scalar, _diagonal_of([*before, bar], after))
            else:
                yield factor, product(scalar, *before, bar, *after)
    elif isinstance(node, sp.MatAdd):
        yield from ((term, bar) for term in node.args)
    elif isinstance(node, sp.Transpose):
        yield node.arg, transpose(bar)
    elif isinstance(node, sp.HadamardProduct):
        for i, factor in enumerate(node.args):
            yield factor, hadamard(bar, *node.args[:i], *node.args[i + 1 :])
    elif isinstance(node, sp.HadamardPower):
        yield node.base, product(node.exp, hadamard(bar, hadamard_power(node.base, node.exp - 1)))
    elif isinstance(node, ElementwiseApplyFunction):
        (x,) = node.function.variables
        slope = sp.Lambda(x, sp.diff(node.function.expr, x))
        yield node.expr, hadamard(bar, apply(slope, node.expr))
    elif isinstance(node, DiagMatrix):
        yield node.args[0], _diagonal_of([bar], [])
    elif isinstance(node, RowLogSumExp):
        yield node.args[0], product(diagonal(bar), RowSoftmax(node.args[0]))
    elif isinstance(node, RowSoftmax):
        weighted = hadamard(node, bar)
        row_sums = product(weighted, sp.OneMatrix(node.cols, 1))
        yield node.args[0], total(weighted, product(-1, diagonal(row_sums), node))
    else:
        raise TypeError(
            f"no differentiation rule for {type(node).__name__}; add one to theory/algebra/adjoint.py."
        )


def _diagonal_of(left: list[Matrix], right: list[Matrix]) -> Matrix:
    """Diagonal, as a column, of a square product that is never formed: diag(A B) = (A o B^T) 1."""
    if not right:
        left, right = (left[:-1], left[-1:]) if len(left) > 1 else (left, [sp.Identity(left[0].rows)])
    a, b = product(*left), transpose(product(*right))
    return product(hadamard(a, b), sp.OneMatrix(a.cols, 1))
