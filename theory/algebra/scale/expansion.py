"""From a network's logits to their series in the weight scale, and to the truncated network of a closure."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..matrices import apply, diagonal, hadamard, hadamard_power, product, total, transpose
from ..nodes import Centering, Matrix, RowNorm, RowSoftmax, matrix_symbols
from ..norms import written_out
from ..rebuild import Rebuild
from ..scalars.series_at_zero import taylor
from ..traversal import Traversal, rule
from .cuts import Truncation, leading_degree
from .series import Series, add, base_of, compose, direction, multiply, power, softmax


def expand(expr: Matrix, weights: Collection[sp.MatrixSymbol], order: int, linear: bool = False) -> Series:
    """Series of a matrix expression in the common scale of its weights, up to and including eps^order.

    Parameters
    ----------
    expr : Matrix
        For example logits.
    weights : collection of MatrixSymbol
        What is of power 1.
    order : int
        Highest power.
    linear : bool
        Whether normalisations are expanded in x, the mean square small beside their eps; else about the direction of
        the first terms of x.

    Raises
    ------
    UnknownNodeError
        If the expression contains a node without an expansion rule.
    ValueError
        If an activation or a softmax is applied to something that does not vanish with the weights.
    """
    return _Expansion(weights, order, linear)(expr)


class _Expansion(Traversal):
    purpose = "expansion in the weight scale"

    def __init__(self, weights: Collection[sp.MatrixSymbol], order: int, linear: bool) -> None:
        super().__init__()
        self.weights, self.order, self.linear = set(weights), order, linear
        self._further: dict[int, _Expansion] = {}

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
        return softmax(self(node.args[0]), base_of(node), self.order)

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Series:
        x = node.args[0]
        if self.linear:
            return self(written_out(node))
        reach = 1
        while not (found := self._to(reach)(x)):  # its first power, which the direction leaves out
            reach += 1
        return direction(self._to(self.order + min(found))(x), node.eps, self.order)

    def _to(self, order: int) -> _Expansion:
        """The same expansion to another order."""
        if order == self.order:
            return self
        if order not in self._further:
            self._further[order] = _Expansion(self.weights, order, self.linear)
        return self._further[order]


def truncated(expr: Matrix, cut: Truncation) -> Matrix:
    """Replace activations by Taylor polynomials, attention by its series in the scores, normalisations by a factor.

    Returns
    -------
    Matrix
        Logits of the truncated network.

    Raises
    ------
    ValueError
        If normalisations are to be linear, and one of them adds nothing to the mean square.
    """
    return _Truncated(cut)(expr)


class _Truncated(Rebuild):
    purpose = "truncation"

    def __init__(self, cut: Truncation) -> None:
        super().__init__()
        self.cut = cut

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        if self.cut.activation is None:
            return super().function(node)
        return _polynomial(node.function, self(node.expr), self.cut.activation)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        scores = self(node.args[0])
        if self.cut.attention is None:
            return RowSoftmax(scores, *node.args[1:])
        return total(*softmax({1: scores}, base_of(node), self.cut.attention).values())

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Matrix:
        if not self.cut.linear:
            return super().own(node)
        return product(node.eps ** sp.Rational(-1, 2), self(node.args[0]))


def _polynomial(function: sp.Lambda, x: Matrix, degree: int) -> Matrix:
    (symbol,) = function.variables
    degree = max(degree, leading_degree(function))
    if function.expr.is_polynomial(symbol) and sp.degree(function.expr, symbol) <= degree:
        return apply(function, x)  # nothing is dropped
    coefficients = taylor(function, degree)
    return total(*(product(c, hadamard_power(x, i)) for i, c in enumerate(coefficients) if c != 0))
