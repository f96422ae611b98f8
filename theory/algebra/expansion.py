"""From a network's logits to their series in the weight scale, and to the truncated network of a closure."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .activations import taylor
from .matrices import diagonal, hadamard, hadamard_power, product, total, transpose
from .nodes import Matrix, RowSoftmax, matrix_symbols
from .series import Series, add, compose, multiply, power, softmax

SEARCH_DEGREE = 24  # Taylor coefficients searched for an activation's first term


def expand(expr: Matrix, weights: Collection[sp.MatrixSymbol], order: int) -> Series:
    """Series of a matrix expression in the common scale of its weights, up to and including eps^order.

    Raises
    ------
    TypeError
        If the expression contains a node without an expansion rule.
    ValueError
        If an activation or a softmax is applied to something that does not vanish with the weights.
    """
    if not matrix_symbols(expr) & set(weights):
        return {0: expr}
    if isinstance(expr, sp.MatrixSymbol):
        return {1: expr} if order >= 1 else {}
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        series: Series = {0: sp.Identity(factors[0].rows)}
        for factor in factors:
            series = multiply(series, expand(factor, weights, order), order)
        return {d: product(scalar, t) for d, t in series.items()}
    if isinstance(expr, sp.MatAdd):
        return add(*(expand(t, weights, order) for t in expr.args))
    if isinstance(expr, sp.Transpose):
        return {d: transpose(t) for d, t in expand(expr.arg, weights, order).items()}
    if isinstance(expr, DiagMatrix):
        return {d: diagonal(t) for d, t in expand(expr.args[0], weights, order).items()}
    if isinstance(expr, sp.HadamardProduct):
        first, *rest = (expand(a, weights, order) for a in expr.args)
        for series in rest:
            first = multiply(first, series, order, hadamard)
        return first
    if isinstance(expr, sp.HadamardPower):
        return power(expand(expr.base, weights, order), int(expr.exp), order)
    if isinstance(expr, ElementwiseApplyFunction):
        return compose(expr.function, expand(expr.expr, weights, order), order)
    if isinstance(expr, RowSoftmax):
        return softmax(expand(expr.args[0], weights, order), _base(expr), order)
    raise TypeError(f"no expansion rule for {type(expr).__name__}; add one to theory/algebra/expansion.py.")


def truncated(expr: Matrix, activation: int | None, attention: int | None) -> Matrix:
    """Replace activations by their Taylor polynomials and softmax attention by its series in the scores.

    Parameters
    ----------
    expr : Matrix
        Logits.
    activation : int or None
        Highest power kept of every activation, at least its first non-zero term; None keeps it whole.
    attention : int or None
        Highest power of the scores kept: 0 is the average; None keeps the softmax whole.

    Returns
    -------
    Matrix
        Logits of the truncated network.
    """

    def visit(node: Matrix) -> Matrix:
        if isinstance(node, ElementwiseApplyFunction) and activation is not None:
            return _polynomial(node.function, visit(node.expr), activation)
        if isinstance(node, ElementwiseApplyFunction):
            return ElementwiseApplyFunction(node.function, visit(node.expr))
        if isinstance(node, RowSoftmax) and attention is not None:
            return total(*softmax({1: visit(node.args[0])}, _base(node), attention).values())
        if isinstance(node, RowSoftmax):
            return RowSoftmax(visit(node.args[0]), *node.args[1:])
        return rebuild(node, visit)

    return visit(expr)


def rebuild(node: Matrix, visit) -> Matrix:
    """Build a sum, product, transpose, Hadamard product, power or diagonal anew from its visited parts."""
    if isinstance(node, sp.MatMul):
        scalar, factors = node.as_coeff_matrices()
        return product(scalar, *map(visit, factors))
    if isinstance(node, sp.MatAdd):
        return total(*map(visit, node.args))
    if isinstance(node, sp.Transpose):
        return transpose(visit(node.arg))
    if isinstance(node, sp.HadamardProduct):
        return hadamard(*map(visit, node.args))
    if isinstance(node, sp.HadamardPower):
        return hadamard_power(visit(node.base), node.exp)
    if isinstance(node, DiagMatrix):
        return diagonal(visit(node.args[0]))
    return node


def canonical(expr: Matrix) -> Matrix:
    """A matrix expression written with sympy's own operators, in the canonical form of `matrices`."""
    if isinstance(expr, ElementwiseApplyFunction):
        return ElementwiseApplyFunction(expr.function, canonical(expr.expr))
    if isinstance(expr, RowSoftmax):
        return RowSoftmax(*map(canonical, expr.args))
    if isinstance(expr, sp.MatPow):
        return product(*[canonical(expr.base)] * int(expr.exp))
    return rebuild(expr, canonical)


def leading_degree(function: sp.Lambda) -> int:
    """Power of the first non-zero Taylor term of a function that vanishes at 0."""
    for degree in (1, 2, 3, SEARCH_DEGREE):
        for i, c in enumerate(taylor(function, degree)):
            if i and c != 0:
                return i
    raise ValueError(f"the activation {function.expr} has no Taylor term up to x^{SEARCH_DEGREE}.")


def _polynomial(function: sp.Lambda, x: Matrix, degree: int) -> Matrix:
    (symbol,) = function.variables
    degree = max(degree, leading_degree(function))
    if function.expr.is_polynomial(symbol) and sp.degree(function.expr, symbol) <= degree:
        return ElementwiseApplyFunction(function, x)  # nothing is dropped
    coefficients = taylor(function, degree)
    return total(*(product(c, hadamard_power(x, i)) for i, c in enumerate(coefficients) if i and c != 0))


def _base(node: RowSoftmax) -> Matrix:
    rows, cols = node.shape
    return product(1 / cols, sp.OneMatrix(rows, cols)) if node.base is None else node.base
