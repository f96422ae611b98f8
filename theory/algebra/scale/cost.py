"""What an expansion would cost, counted before it is made: products of terms, from the powers of eps alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..nodes import Matrix, MatrixFunction, RowNorm, RowSoftmax
from ..scalars.series_at_zero import taylor
from ..traversal import rule
from .by_power import ByPower

Degrees = set[int]
PARITY = 6  # Taylor coefficients that show whether a function is odd or even
# Measured on one core: products take longer as terms grow, which they do with the order.
PRODUCT_SECONDS, SQUARE_SECONDS = 6e-4, 1.6e-3


class ExpansionCost(ByPower[Degrees]):
    """Degrees of eps that an expression has up to an order, and how many products of two terms find their matrices.

    It follows `expansion.expand` rule by rule; what that refuses costs nothing.

    Parameters
    ----------
    weights : collection of MatrixSymbol
        What is of power 1.
    order : int
        Highest power kept.
    linear : bool
        As in `expansion.expand`.

    Attributes
    ----------
    products, squares : int
        Products counted so far, and the squares of the degrees of the Taylor series of functions.
    """

    purpose = "the cost of an expansion"

    def __init__(self, weights: Collection[sp.MatrixSymbol], order: int, linear: bool = False) -> None:
        super().__init__(weights, order)
        self.linear, self.products, self.squares = linear, 0, 0

    @property
    def seconds(self) -> float:
        """What has been counted, in seconds of derivation."""
        return PRODUCT_SECONDS * self.products * self.order + SQUARE_SECONDS * self.squares

    def product(self, a: Degrees, b: Degrees) -> Degrees:
        """Degrees of a product of two series."""
        kept = [i + j for i in a for j in b if i + j <= self.order]
        self.products += len(kept)
        return set(kept)

    def raised(self, a: Degrees) -> list[Degrees]:
        """Degrees of a series raised to 1, 2, .., as far as anything is left."""
        found, last = [], {i for i in a if i <= self.order}
        while last and min(a) > 0:
            found.append(last)
            last = self.product(last, a)
        return found

    def constant(self, node: Matrix) -> Degrees:
        """None."""
        return {0}

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Degrees:
        """One power."""
        return {1}

    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Degrees:
        """Those of the factors, one after the other."""
        return reduce(self.product, map(self, factors))

    def added(self, terms: Sequence[Degrees]) -> Degrees:
        """Those of all terms."""
        return set().union(*terms)

    def turned(self, by: Callable[[Matrix], Matrix], kept: Degrees) -> Degrees:
        """Those of what is turned."""
        return kept

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Degrees:
        """Those of the Taylor series, which is odd or even if its first terms are."""
        inner = self(node.expr)
        self.squares += max(self.order // max(min(inner, default=1), 1), 1) ** 2
        shown = [i for i, c in enumerate(taylor(node.function, PARITY)) if i and c != 0]
        odd, even = all(i % 2 for i in shown), not any(i % 2 for i in shown)
        raised = enumerate(self.raised(inner), start=1)
        return set().union(
            *(found for i, found in raised if not (odd and i % 2 == 0) and not (even and i % 2))
        )

    def smooth(self, node: MatrixFunction) -> Degrees:
        """Those of a series, once for every order to which it is found from its slope."""
        inner, before = self(node.args[0]), self.products
        found = {0}.union(*self.raised(inner - {0}))
        self.products = before + (self.products - before) * self.order
        return found

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Degrees:
        """Those of the scores' softmax."""
        return self.normalised(self(node.args[0]) - {0})

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Degrees:
        """Those of a function of the mean square, times those of x, from the first one on if it is a direction."""
        inner = self(node.args[0])
        if not self.linear:
            inner = {i - min(inner) for i in inner} or {0}
        square = self.product(inner, inner)
        return self.product({0}.union(*self.raised(square - {0})), inner)

    def normalised(self, scores: Degrees) -> Degrees:
        """Degrees of a softmax of scores."""
        rise = set().union(*self.raised(scores))
        return {0} | rise | self.product(set().union(*self.raised(rise)), {0} | rise)
