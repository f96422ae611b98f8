"""From a network's logits to their series in the weight scale, and to the truncated network of a closure."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .matrices import apply, diagonal, hadamard, hadamard_power, product, total, transpose
from .nodes import Centering, Matrix, RowSoftmax, matrix_symbols
from .rebuild import Rebuild
from .scalars.series_at_zero import taylor
from .series import Series, add, compose, multiply, power, softmax
from .traversal import Traversal, rule

SEARCH_DEGREE = 24  # Taylor coefficients searched for an activation's first term


def expand(expr: Matrix, weights: Collection[sp.MatrixSymbol], order: int) -> Series:
    """Series of a matrix expression in the common scale of its weights, up to and including eps^order.

    Raises
    ------
    UnknownNodeError
        If the expression contains a node without an expansion rule.
    ValueError
        If an activation or a softmax is applied to something that does not vanish with the weights.
    """
    return _Expansion(weights, order)(expr)


class _Expansion(Traversal):
    purpose = "expansion in the weight scale"

    def __init__(self, weights: Collection[sp.MatrixSymbol], order: int) -> None:
        super().__init__()
        self.weights, self.order = set(weights), order

    def __call__(self, node: Matrix) -> Series:
        """The series; what holds no weight is of power 0, whatever it is made of."""
        return super().__call__(node) if matrix_symbols(node) & self.weights else {0: node}

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Series:
        return {1: node} if self.order >= 1 else {}

    @rule(sp.Identity, sp.ZeroMatrix, sp.OneMatrix, Centering)
    def constant(self, node: Matrix) -> Series:
        return {0: node}

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Series:
        scalar, factors = node.as_coeff_matrices()
        series: Series = {0: sp.Identity(factors[0].rows)}
        for factor in factors:
            series = multiply(series, self(factor), self.order)
        return {d: product(scalar, t) for d, t in series.items()}

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Series:
        return add(*map(self, node.args))

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Series:
        return {d: transpose(t) for d, t in self(node.arg).items()}

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Series:
        return {d: diagonal(t) for d, t in self(node.args[0]).items()}

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Series:
        first, *rest = map(self, node.args)
        for series in rest:
            first = multiply(first, series, self.order, hadamard)
        return first

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Series:
        return power(self(node.base), int(node.exp), self.order)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Series:
        return compose(node.function, self(node.expr), node.shape, self.order)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Series:
        return softmax(self(node.args[0]), _base(node), self.order)


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
    return _Truncation(activation, attention)(expr)


class _Truncation(Rebuild):
    purpose = "truncation"

    def __init__(self, activation: int | None, attention: int | None) -> None:
        super().__init__()
        self.activation, self.attention = activation, attention

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        if self.activation is None:
            return super().function(node)
        return _polynomial(node.function, self(node.expr), self.activation)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        scores = self(node.args[0])
        if self.attention is None:
            return RowSoftmax(scores, *node.args[1:])
        return total(*softmax({1: scores}, _base(node), self.attention).values())


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
        return apply(function, x)  # nothing is dropped
    coefficients = taylor(function, degree)
    return total(*(product(c, hadamard_power(x, i)) for i, c in enumerate(coefficients) if c != 0))


def _base(node: RowSoftmax) -> Matrix:
    rows, cols = node.shape
    return product(1 / cols, sp.OneMatrix(rows, cols)) if node.base is None else node.base
