"""Which powers of the weight scale an expression has, and which of them hold a weight: counted, not expanded.

A set of powers is an integer whose bit k stands for eps^k. An expression and its truncation are counted together: what
is kept, and what is dropped. Terms that cancel in a sum are not seen to do so (`flows.powers` looks for those).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import mul, or_

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..nodes import Matrix, MatrixFunction, Rate, RowNorm, RowSoftmax
from ..scalars.series_at_zero import taylor
from ..traversal import rule
from .by_power import ByPower
from .cuts import Truncation
from .expansion import has_degree

ONE = 1  # the set of the power 0 alone
SPARE = 8  # powers counted in advance, of which every normalisation of a stream of power 1 within others takes one


def lowest(powers: int) -> float:
    """Smallest power of a set; infinity if it has none."""
    return (powers & -powers).bit_length() - 1 if powers else float("inf")


def members(powers: int) -> list[int]:
    """Powers of a set, rising."""
    return [k for k in range(powers.bit_length()) if powers >> k & 1]


def added(a: int, b: int, most: int) -> int:
    """All sums of a power of one set and a power of the other, up to `most`."""
    small, large = (a, b) if a.bit_count() <= b.bit_count() else (b, a)
    out = 0
    while small:
        power = small & -small
        out |= large * power
        small ^= power
    return out & ((2 << most) - 1)


@dataclass(frozen=True)
class Powers:
    """Powers of the terms of an expression.

    Attributes
    ----------
    every : int
        Of all terms.
    held : dict
        Weight -> those of the terms that hold it.
    most : int
        Highest power counted in products.
    """

    every: int = 0
    held: Mapping[sp.MatrixSymbol, int] = field(default_factory=dict)
    most: int = 64

    def __or__(self, other: Powers) -> Powers:
        """Terms of either."""
        names = {**self.held, **other.held}
        held = {w: self.held.get(w, 0) | other.held.get(w, 0) for w in names}
        return Powers(self.every | other.every, held, max(self.most, other.most))

    def __mul__(self, other: Powers) -> Powers:
        """Products of a term of one and a term of the other."""
        most = max(self.most, other.most)
        held = {w: added(p, other.every, most) for w, p in self.held.items()}
        for w, p in other.held.items():
            held[w] = held.get(w, 0) | added(self.every, p, most)
        return Powers(added(self.every, other.every, most), held, most)

    def lowered(self, by: int) -> Powers:
        """Divided by a power of eps that all terms have."""
        return Powers(self.every >> by, {w: p >> by for w, p in self.held.items()}, self.most)

    def above(self, floor: Mapping[sp.MatrixSymbol, int]) -> Powers:
        """Without the terms that hold a weight below a power of its own."""
        held = {w: p >> floor.get(w, 0) << floor.get(w, 0) for w, p in self.held.items()}
        return Powers(self.every, held, self.most)


CONSTANT = Powers(ONE, most=0)


def union(found: Iterable[Powers]) -> Powers:
    """Terms of any."""
    out = Powers(most=0)
    for powers in found:
        out |= powers
    return out


def raised(powers: Powers) -> list[Powers]:
    """Powers 1, 2, .. of a series that vanishes with the weights, as far as anything is left."""
    found, last = [], powers
    while last.every and powers.every & ONE == 0:
        found.append(last)
        last *= powers
    return found


@dataclass(frozen=True)
class Parts:
    """What a truncation keeps of an expression, and what it drops."""

    kept: Powers
    dropped: Powers = Powers(most=0)

    @property
    def whole(self) -> Powers:
        """Both."""
        return self.kept | self.dropped

    def __mul__(self, other: Parts) -> Parts:
        """What is dropped of a product has a factor that is dropped."""
        return Parts(self.kept * other.kept, self.dropped * other.whole | self.kept * other.dropped)

    def __or__(self, other: Parts) -> Parts:
        """Terms of either."""
        return Parts(self.kept | other.kept, self.dropped | other.dropped)


class Count(ByPower[Parts]):
    """Powers of eps in the terms of an expression, kept and dropped.

    Parameters
    ----------
    weights : collection of MatrixSymbol
        All weights.
    small : collection of MatrixSymbol
        Those of power 1; the others start at a value that is not zero, and are of power 0.
    cut : Truncation
        What is kept.
    most : int
        Highest power counted.
    """

    purpose = "counting powers"

    def __init__(
        self,
        weights: Collection[sp.MatrixSymbol],
        small: Collection[sp.MatrixSymbol],
        cut: Truncation,
        most: int,
    ) -> None:
        super().__init__(weights, most)
        self.small, self.cut = set(small), cut
        self._outermost = self

    def constant(self, node: Matrix) -> Parts:
        """None."""
        return Parts(CONSTANT)

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Parts:
        """One power, or none if it does not scale."""
        power = 2 if node in self.small else ONE
        return Parts(Powers(power, {node: power}, self.order))

    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Parts:
        """Those of the factors."""
        return reduce(mul, map(self, factors))

    def added(self, terms: Sequence[Parts]) -> Parts:
        """Those of all terms."""
        return reduce(or_, terms)

    def turned(self, by: Callable[[Matrix], Matrix], kept: Parts) -> Parts:
        """Those of what is turned."""
        return kept

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Parts:
        """Those of the Taylor series, of which the first terms are kept."""
        inner = self(node.expr)
        if inner.whole.every & ONE:
            raise ValueError(
                "an activation is applied to a term that does not vanish with the weights: no series at 0."
            )
        kept, whole = raised(inner.kept), raised(inner.whole)
        degree = self.cut.degree(node.function)
        there = [bool(c != 0) for c in taylor(node.function, len(whole) + 1)]
        first = CONSTANT if there[0] else Powers(most=0)
        chosen = union(p for k, p in enumerate(kept, 1) if there[k] and k <= degree)
        beyond = union(p for k, p in enumerate(whole, 1) if there[k] and k > degree)
        gap = union(p for k, p in enumerate(with_dropped(inner), 1) if there[k] and k <= degree)
        return Parts(first | chosen, beyond | gap)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Parts:
        """Those of the base and of all powers of the scores, of which the first are kept."""
        inner = self(node.args[0])
        scores = Parts(_without_constant(inner.kept), _without_constant(inner.dropped))
        base = CONSTANT | _constant_part(inner.whole)
        kept, whole, most = raised(scores.kept), raised(scores.whole), self.cut.scores
        chosen = union(p for k, p in enumerate(kept, 1) if k <= most)
        gap = union(p for k, p in enumerate(with_dropped(scores), 1) if k <= most)
        beyond = union(p for k, p in enumerate(whole, 1) if k > most)
        if self.cut.attention is not None:  # a series in the scores, whatever their power
            beyond |= _constant_part(inner.whole)
        return Parts(base * (CONSTANT | chosen), base * (gap | beyond))

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Parts:
        """Odd powers of x where its square is small beside eps; else a function of directions, of power 0."""
        if self.cut.linear:
            inner = self(node.args[0])
            odd = union(raised(inner.whole)[2::2])
            return Parts(inner.kept, inner.dropped | odd)
        low, inner = self._beyond(node.args[0])
        return self._analytic(Parts(inner.kept.lowered(low), inner.dropped.lowered(low)), lambda k: True)

    def smooth(self, node: MatrixFunction) -> Parts:
        """Those of the series about the constant part of its argument; about zero, some degrees may be missing."""
        inner = self(node.args[0])
        about_zero = not inner.whole.every & ONE
        return self._analytic(inner, partial(has_degree, node) if about_zero else lambda k: True)

    def _analytic(self, inner: Parts, there: Callable[[int], bool]) -> Parts:
        """Those of a series, kept whole, with terms of some degrees in what varies."""
        step = Parts(_without_constant(inner.kept), _without_constant(inner.dropped))
        first = CONSTANT | _constant_part(inner.whole)
        zeroth = CONSTANT if there(0) else Powers(most=0)
        kept = union([zeroth, *(p for k, p in enumerate(raised(step.kept), 1) if there(k))])
        dropped = union(p for k, p in enumerate(with_dropped(step), 1) if there(k))
        return Parts(first * kept, first * dropped)

    @rule(Rate)
    def rate(self, node: Rate) -> Parts:
        """One less, without what is constant."""
        inner = self.to(self.order + 1)(node.whole)
        return Parts(inner.kept.lowered(1), inner.dropped.lowered(1))

    def _beyond(self, node: Matrix) -> tuple[int, Parts]:
        """Lowest power of what is normalised, and powers as far beyond it as others go."""
        count = self
        while (low := lowest(count(node).whole.every)) == float("inf"):
            count = count.to(2 * count.order + 1)
        if low > 1 or self is self._outermost:
            count = self.to(self.order + int(low) + SPARE * (self is self._outermost))
        return int(low), count(node)


def with_dropped(inner: Parts) -> list[Powers]:
    """Powers 1, 2, .. of the whole, of which at least one factor is dropped."""
    if not inner.dropped.every:
        return []
    whole = [CONSTANT, *raised(inner.whole)]
    return [inner.dropped * p for p in whole]


def _constant_part(powers: Powers) -> Powers:
    """Terms of power 0."""
    return Powers(powers.every & ONE, {w: p & ONE for w, p in powers.held.items() if p & ONE}, powers.most)


def _without_constant(powers: Powers) -> Powers:
    """Terms of other powers than 0."""
    return Powers(powers.every & ~ONE, {w: p & ~ONE for w, p in powers.held.items()}, powers.most)
