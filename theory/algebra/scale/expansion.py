"""From a network's logits to their series in the weight scale, and to the truncated network of a closure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..matrices import apply, diagonal, hadamard, hadamard_power, product, total, transpose
from ..nodes import Centering, Matrix, MatrixFunction, RowNorm, RowSoftmax, matrix_symbols
from ..norms import root_parts, written_out
from ..rebuild import Rebuild
from ..scalars.series_at_zero import taylor
from ..traversal import Traversal, rule
from .cuts import Truncation, leading_degree
from .series import Series, about_first, add, base_of, compose, direction, multiply, scale, softmax

FURTHEST = 100  # power to which the first term of what is normalised is looked for


def expand(
    expr: Matrix,
    weights: Collection[sp.MatrixSymbol],
    order: int,
    linear: bool = False,
    norms: Collection[sp.Expr] = (),
) -> Series:
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
    norms : collection of expressions
        The eps of those normalisations whose roots (s + eps)^(-1/2), .. may stand written out in the expression; unless
        linear, they are expanded about the first terms of s too.

    Raises
    ------
    UnknownNodeError
        If the expression contains a node without an expansion rule.
    ValueError
        If an activation or a softmax is applied to something that does not vanish with the weights.
    """
    return _Expansion(weights, order, linear, norms)(expr)


def first_power(expr: Matrix, weights: Collection[sp.MatrixSymbol]) -> int:
    """Lowest power of eps in a matrix expression whose normalisations, roots written out too, have eps = 0."""
    return _Expansion(weights, 1, linear=False, norms={sp.S.Zero})._first_power(expr)


class _Expansion(Traversal):
    purpose = "expansion in the weight scale"

    def __init__(
        self, weights: Collection[sp.MatrixSymbol], order: int, linear: bool, norms: Collection[sp.Expr]
    ) -> None:
        super().__init__()
        self.weights, self.order, self.linear, self.norms = set(weights), order, linear, norms
        self._others: dict[int, _Expansion] = {order: self}

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
        factors = [sp.Identity(factors[0].rows), *factors]
        return {d: product(scalar, t) for d, t in self._multiplied(factors, product).items()}

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
        return self._multiplied(node.args, hadamard)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Series:
        return self._multiplied([node.base] * int(node.exp), hadamard)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Series:
        root = None if self.linear else root_parts(node.function, self.norms)
        if root is not None and (low := self._first_power(node.expr)) % 2 == 0:
            factor, eps, exponent = root
            square = self._to(self.order + low - int(low * exponent))(node.expr)
            return scale(factor, about_first(square, eps, exponent, self.order))
        return compose(node.function, self(node.expr), node.shape, self.order)

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Series:
        return self(self.made_of(node))

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Series:
        return softmax(self(node.args[0]), base_of(node), self.order)

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Series:
        x = node.args[0]
        if self.linear:
            return self(written_out(node))
        return direction(self._to(self.order + self._first_power(x))(x), node.eps, self.order)

    def _first_power(self, node: Matrix) -> int:
        for reach in range(1, FURTHEST):
            if found := self._to(reach)(node):
                return min(found)
        raise ValueError(f"a normalisation is taken of what vanishes up to eps^{FURTHEST}: no series of it.")

    def _multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Series:
        """Product of factors; beside one of negative power, as roots of small squares are, others count further."""
        found = [self(factor) for factor in factors]
        if further := -sum(min(0, *series) for series in found if series):
            found = [self._to(self.order + further)(factor) for factor in factors]
        series, *rest = found
        for one in rest:
            series = multiply(series, one, self.order + further, combine)
        return {d: t for d, t in series.items() if d <= self.order}

    def _to(self, order: int) -> _Expansion:
        """The same expansion to another order."""
        if order not in self._others:
            other = _Expansion(self.weights, order, self.linear, self.norms)
            self._others[order], other._others = other, self._others
        return self._others[order]


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
