"""The first terms of a series that hold some weights, taken out of an expression without expanding the rest.

A network of many layers is a sum over paths, most of which meet several blocks; the first term that holds a weight is
on a path that meets its own block alone. Terms are asked for from the top: a product asks its factors for those pairs
of powers that add up, and what has no such term, by `counting`, is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial, reduce
from operator import or_

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..matrices import diagonal, hadamard, product, total
from ..nodes import Matrix, MatrixFunction, Rate, RowNorm, RowSoftmax, matrix_symbols
from ..norms import along
from ..scalars.series_at_zero import taylor
from ..tangent import slope
from ..traversal import rule
from .by_power import ByPower
from .counting import Count, lowest, members
from .series import base_of, summing_to_one

Found = Matrix | None  # None stands for no term
Find = Callable[[int, bool], Found]  # (power, whether a chosen weight is held) -> the sum of such terms


class CancelledError(ValueError):
    """The first terms of what is normalised cancel, so that its direction is that of terms not counted as first."""


class Terms:
    """Terms of an expression by power, those that hold a chosen weight apart from the others, found when asked for.

    Attributes
    ----------
    powers : callable
        Whether a chosen weight is held -> powers that such terms may have; all powers for False.
    """

    def __init__(self, powers: Callable[[bool], int], find: Find) -> None:
        self.powers = cache(powers)
        self._find = cache(find)

    def __call__(self, power: int, held: bool) -> Found:
        """Sum of the terms of one power that hold a chosen weight, or of those that hold none."""
        return self._find(power, held) if self.powers(held) >> power & 1 else None


class Selection(ByPower[Find]):
    """Terms of an expression by power of the weight scale, those that hold some weights apart from the others.

    Parameters
    ----------
    count : Count
        Powers of the whole expression.
    chosen : collection of MatrixSymbol
        The weights of which at least one is to be held. They must be among those whose first terms are asked for:
        of softmax and normalisations only the linear part is formed.
    """

    purpose = "taking terms out"

    def __init__(self, count: Count, chosen: Collection[sp.MatrixSymbol]) -> None:
        super().__init__(count.weights, count.order)
        self.count, self.chosen = count, set(chosen)

    def term(self, node: Matrix, power: int, held: bool) -> Found:
        """Sum of the terms of one power that hold a chosen weight, or of those that hold none."""
        return self(node)(power, held)

    def __call__(self, node: Matrix) -> Terms:
        """Terms of an expression."""
        if node not in self.known:
            self.known[node] = Terms(partial(self._powers, node), super().__call__(node))
        return self.known[node]

    def _powers(self, node: Matrix, held: bool) -> int:
        found = self.count(node).whole
        return reduce(or_, (found.held.get(w, 0) for w in self.chosen), 0) if held else found.every

    def constant(self, node: Matrix) -> Find:
        """One term, of power 0."""
        return lambda power, held: None if held else node

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Find:
        """A weight is one term."""
        return lambda power, held: node if held == (node in self.chosen) else None

    def added(self, terms: Sequence[Find]) -> Find:
        """Term by term."""
        return lambda power, held: _sum([find(power, held) for find in terms])

    def turned(self, by: Callable[[Matrix], Matrix], kept: Find) -> Find:
        """Of what is found in the part."""
        return lambda power, held: _map(by, kept(power, held))

    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Find:
        """All pairs of powers that add up, some factor holding a chosen weight if one is to be held."""
        parts = [self(factor) for factor in factors if not isinstance(factor, sp.Identity)]

        def find(power: int, held: bool, start: int = 0) -> Found:
            if start == len(parts) - 1:
                return parts[start](power, held)
            terms = []
            for mine, others in ((True, True), (True, False), (False, True)) if held else ((False, False),):
                for k in members(parts[start].powers(mine)):
                    head = parts[start](k, mine) if k <= power else None
                    tail = None if head is None else find(power - k, others, start + 1)
                    if head is not None and tail is not None:
                        terms.append(combine(head, tail))
            return _sum(terms)

        return find

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Find:
        """Term by term of the Taylor series."""

        def find(power: int, held: bool) -> Found:
            low = int(lowest(self(node.expr).powers(False)))
            coefficients = taylor(node.function, power // low)
            terms = [
                _map(partial(product, c), self.multiplied([node.expr] * k, hadamard)(power, held))
                for k, c in enumerate(coefficients)
                if k and c != 0
            ]
            if power == 0 and not held and coefficients[0] != 0:
                terms.append(product(coefficients[0], sp.OneMatrix(*node.shape)))
            return _sum(terms)

        return find

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Find:
        """The base, and base o S less its row sums: what is linear in the scores."""
        scores = self(node.args[0])

        def find(power: int, held: bool) -> Found:
            base = base_of(node)
            if (fixed := _both(scores, 0)) is not None:
                base = RowSoftmax(fixed, base)
            base = summing_to_one(base)
            if power == 0:
                return base if held == bool(matrix_symbols(base) & self.chosen) else None
            S = scores(power, held)
            if S is None:
                return None
            weighted = hadamard(base, S)
            return total(weighted, product(-1, diagonal(product(weighted, sp.OneMatrix(base.cols, 1))), base))

        return find

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Find:
        """Linear with gain eps^(-1/2), or the direction of the first terms, and its slope along the next."""
        x = self(node.args[0])
        if self.count.cut.linear:
            return self.turned(partial(product, node.eps ** sp.Rational(-1, 2)), x)

        def find(power: int, held: bool) -> Found:
            low = int(lowest(x.powers(False)))
            if (lead := _both(x, low)) is None:
                raise CancelledError(f"the first terms of {node.args[0]} cancel.")
            first = RowNorm(lead, node.eps)
            if power == 0:
                return first if held == bool(matrix_symbols(first) & self.chosen) else None
            return _map(partial(along, first), x(low + power, held))

        return find

    def smooth(self, node: MatrixFunction) -> Find:
        """The value at the constant part of its argument; the rest from its slope, see `expansion`."""
        x = node.args[0]

        def find(power: int, held: bool) -> Found:
            if power == 0:
                first = node.of_first(_both(self(x), 0))
                return first if held == bool(matrix_symbols(first) & self.chosen) else None
            return _map(
                partial(product, sp.Rational(1, power)), self(slope(node, Rate.of(x)))(power - 1, held)
            )

        return find

    @rule(Rate)
    def rate(self, node: Rate) -> Find:
        """By the power of every term."""
        return lambda power, held: _map(partial(product, power + 1), self(node.whole)(power + 1, held))


def _both(terms: Terms, power: int) -> Found:
    return _sum([terms(power, held) for held in (False, True)])


def _sum(terms: Sequence[Found]) -> Found:
    there = [t for t in terms if t is not None]
    out = total(*there) if there else None
    return None if isinstance(out, sp.ZeroMatrix) else out


def _map(function: Callable[[Matrix], Matrix], found: Found) -> Found:
    return None if found is None else function(found)
