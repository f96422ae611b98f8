"""From a network's logits to their series in the weight scale, and to the truncated network of a closure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..matrices import apply, hadamard_power, product, total
from ..nodes import Matrix, MatrixFunction, Rate, RowNorm, RowSoftmax
from ..norms import root_parts, written_out
from ..rebuild import Rebuild
from ..scalars.series_at_zero import taylor
from ..tangent import slope
from ..traversal import rule
from .by_power import ByPower
from .cuts import Truncation, leading_degree
from .series import Series, about_first, add, base_of, compose, direction, multiply, scale, softmax

FURTHEST = 100  # power to which the first term of what is normalised is looked for
SHOWN = 6  # degrees that show which others a function has


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


def expand_in(
    expr: Matrix,
    known: Mapping[sp.MatrixSymbol, Series],
    order: int,
    weights: Collection[sp.MatrixSymbol] = (),
) -> Series:
    """Series of an expression in symbols whose own series are known, up to and including eps^order.

    Parameters
    ----------
    expr : Matrix
        In the symbols, in `weights`, which are of power 1, and in what rests.
    known : dict
        Symbol -> its series.
    order : int
        Highest power.
    weights : collection of MatrixSymbol
        Other symbols that are of power 1.
    """
    expansion = _Expansion((*weights, *known), order, linear=False, norms=())
    expansion.given |= known
    return expansion(expr)


def first_power(expr: Matrix, weights: Collection[sp.MatrixSymbol]) -> int:
    """Lowest power of eps in a matrix expression whose normalisations, roots written out too, have eps = 0."""
    return _Expansion(weights, 1, linear=False, norms={sp.S.Zero}).first_power(expr)


class _Expansion(ByPower[Series]):
    purpose = "expansion in the weight scale"

    def __init__(
        self, weights: Collection[sp.MatrixSymbol], order: int, linear: bool, norms: Collection[sp.Expr]
    ) -> None:
        super().__init__(weights, order)
        self.linear, self.norms = linear, norms
        self.given: dict[sp.MatrixSymbol, Series] = {}  # of what stands for something else

    def constant(self, node: Matrix) -> Series:
        return {0: node}

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Series:
        return {d: t for d, t in self.given.get(node, {1: node}).items() if d <= self.order}

    def added(self, terms: Sequence[Series]) -> Series:
        return add(*terms)

    def turned(self, by: Callable[[Matrix], Matrix], kept: Series) -> Series:
        return {d: by(t) for d, t in kept.items()}

    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Series:
        """Product of factors; beside one of negative power, as roots of small squares are, others count further."""
        found = [self(factor) for factor in factors]
        if further := -sum(min(0, *series) for series in found if series):
            found = [self.to(self.order + further)(factor) for factor in factors]
        series, *rest = found
        for one in rest:
            series = multiply(series, one, self.order + further, combine)
        return {d: t for d, t in series.items() if d <= self.order}

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Series:
        root = None if self.linear else root_parts(node.function, self.norms)
        if root is not None and (low := self.first_power(node.expr)) % 2 == 0:
            factor, eps, exponent = root
            square = self.to(self.order + low - int(low * exponent))(node.expr)
            return scale(factor, about_first(square, eps, exponent, self.order))
        return compose(node.function, self(node.expr), node.shape, self.order)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Series:
        return softmax(self(node.args[0]), base_of(node), self.order)

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Series:
        x = node.args[0]
        if self.linear:
            return self(written_out(node))
        return direction(self.to(self.order + self.first_power(x))(x), node.eps, self.order)

    def smooth(self, node: MatrixFunction) -> Series:
        """Of F = f(x) by dF/deps = f'(x) dx/deps, where F is needed to one order less."""
        inner = self(node.args[0])
        found = {0: node.of_first(inner.get(0))}
        if max(inner, default=0) > 0:
            rising = self.to(self.order - 1)(slope(node, Rate.of(node.args[0])))
            found |= {d + 1: product(sp.Rational(1, d + 1), t) for d, t in rising.items()}
        return add(found)

    @rule(Rate)
    def rate(self, node: Rate) -> Series:
        """By the power of every term."""
        return {d - 1: product(d, t) for d, t in self.to(self.order + 1)(node.whole).items() if d}

    def first_power(self, node: Matrix) -> int:
        for reach in range(1, FURTHEST):
            if found := self.to(reach)(node):
                return min(found)
        raise ValueError(f"a normalisation is taken of what vanishes up to eps^{FURTHEST}: no series of it.")


@lru_cache(maxsize=256)
def has_degree(node: MatrixFunction, degree: int) -> bool:
    """Whether a smooth function of a matrix has terms of a degree in it about zero, as its first ones show."""
    x = sp.MatrixSymbol("x", *node.args[0].shape)
    found = expand(node.of(x, *node.matrices[1:]), (x,), SHOWN)
    if degree <= SHOWN:
        return degree in found
    return max(found, default=0) > SHOWN // 2 and any((degree - d) % 2 == 0 for d in found if d)


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
