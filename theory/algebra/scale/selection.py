"""The first terms of a series that hold some weights, taken out of an expression without expanding the rest.

A network of many layers is a sum over paths, most of which meet several blocks; the first term that holds a weight is
on a path that meets its own block alone. Terms are asked for from the top: a product asks its factors for those pairs
of powers that add up, and what has no such term, by `counting`, is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from operator import or_

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..matrices import diagonal, hadamard, product, total, transpose
from ..nodes import Matrix, MatrixFunction, RowNorm, RowSoftmax, matrix_symbols
from ..norms import along
from ..scalars.series_at_zero import taylor
from ..traversal import Dispatch, rule
from .counting import Count, lowest, members
from .series import base_of, summing_to_one

Found = Matrix | None  # None stands for no term


class CancelledError(ValueError):
    """The first terms of what is normalised cancel, so that its direction is that of terms not counted as first."""


class Selection(Dispatch):
    """Terms of an expression by power of the weight scale, those that hold some weights apart from the others.

    Parameters
    ----------
    count : Count
        Powers of the whole expression.
    chosen : collection of MatrixSymbol
        The weights of which at least one is to be held. They must be among those whose first terms are asked for:
        of what is nonlinear only the linear part is formed.
    """

    purpose = "taking terms out"

    def __init__(self, count: Count, chosen: Collection[sp.MatrixSymbol]) -> None:
        self.count, self.chosen = count, set(chosen)
        self.known: dict[tuple[Matrix, int, bool], Found] = {}
        self.counted: dict[Matrix, tuple[int, int]] = {}

    def term(self, node: Matrix, power: int, held: bool) -> Found:
        """Sum of the terms of one power that hold a chosen weight, or of those that hold none."""
        key = (node, power, held)
        if key not in self.known:
            self.known[key] = self._look(node, power, held)
        return self.known[key]

    def _look(self, node: Matrix, power: int, held: bool) -> Found:
        if not matrix_symbols(node) & self.count.weights:
            return node if power == 0 and not held else None
        if not self.powers(node, held) >> power & 1:
            return None
        return self.rule_of(node)(node, power, held)

    def powers(self, node: Matrix, held: bool) -> int:
        """Powers that terms which hold a chosen weight may have, or all."""
        if node not in self.counted:
            found = self.count(node).whole
            mine = reduce(or_, (found.held.get(w, 0) for w in self.chosen), 0)
            self.counted[node] = (found.every, mine)
        return self.counted[node][held]

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol, power: int, held: bool) -> Found:
        """A weight is one term."""
        return node if held == (node in self.chosen) else None

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd, power: int, held: bool) -> Found:
        """Term by term."""
        return _sum([self.term(t, power, held) for t in node.args])

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul, power: int, held: bool) -> Found:
        """All pairs of powers that add up."""
        scalar, factors = node.as_coeff_matrices()
        found = self._all(tuple(factors), power, held, product)
        return None if found is None else product(scalar, found)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct, power: int, held: bool) -> Found:
        """The same, entry by entry."""
        return self._all(tuple(node.args), power, held, hadamard)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower, power: int, held: bool) -> Found:
        """As a product with itself."""
        return self._all((node.base,) * int(node.exp), power, held, hadamard)

    def _all(
        self, factors: Sequence[Matrix], power: int, held: bool, combine: Callable[..., Matrix]
    ) -> Found:
        first, *rest = factors
        if not rest:
            return self.term(first, power, held)
        terms = []
        for mine, others in ((True, True), (True, False), (False, True)) if held else ((False, False),):
            for k in members(self.powers(first, mine)):
                head = self.term(first, k, mine) if k <= power else None
                tail = None if head is None else self._all(rest, power - k, others, combine)
                if head is not None and tail is not None:
                    terms.append(combine(head, tail))
        return _sum(terms)

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose, power: int, held: bool) -> Found:
        """Of the part."""
        return _map(transpose, self.term(node.arg, power, held))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix, power: int, held: bool) -> Found:
        """Of the part."""
        return _map(diagonal, self.term(node.args[0], power, held))

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction, power: int, held: bool) -> Found:
        """Term by term of the Taylor series."""
        low = int(lowest(self.powers(node.expr, False)))
        coefficients = taylor(node.function, power // low)
        terms = [
            _map(lambda x, c=c: product(c, x), self._all((node.expr,) * k, power, held, hadamard))
            for k, c in enumerate(coefficients)
            if k and c != 0
        ]
        if power == 0 and not held and coefficients[0] != 0:
            terms.append(product(coefficients[0], sp.OneMatrix(*node.shape)))
        return _sum(terms)

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction, power: int, held: bool) -> Found:
        """Of what it is made of."""
        return self.term(self.made_of(node), power, held)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax, power: int, held: bool) -> Found:
        """The base, and base o S less its row sums: what is linear in the scores."""
        scores = node.args[0]
        base = base_of(node)
        if (fixed := self._both(scores, 0)) is not None:
            base = RowSoftmax(fixed, base)
        base = summing_to_one(base)
        if power == 0:
            return base if held == bool(matrix_symbols(base) & self.chosen) else None
        S = self.term(scores, power, held)
        if S is None:
            return None
        weighted = hadamard(base, S)
        return total(weighted, product(-1, diagonal(product(weighted, sp.OneMatrix(base.cols, 1))), base))

    @rule(RowNorm)
    def norm(self, node: RowNorm, power: int, held: bool) -> Found:
        """Linear with gain eps^(-1/2), or the direction of the first terms, and its slope along the next."""
        x = node.args[0]
        if self.count.cut.linear:
            return _map(lambda t: product(node.eps ** sp.Rational(-1, 2), t), self.term(x, power, held))
        low = int(lowest(self.powers(x, False)))
        if (lead := self._both(x, low)) is None:
            raise CancelledError(f"the first terms of {x} cancel.")
        first = RowNorm(lead, node.eps)
        if power == 0:
            return first if held == bool(matrix_symbols(first) & self.chosen) else None
        return _map(lambda t: along(first, t), self.term(x, low + power, held))

    def _both(self, node: Matrix, power: int) -> Found:
        return _sum([self.term(node, power, held) for held in (False, True)])


def _sum(terms: Sequence[Found]) -> Found:
    there = [t for t in terms if t is not None]
    out = total(*there) if there else None
    return None if isinstance(out, sp.ZeroMatrix) else out


def _map(function: Callable[[Matrix], Matrix], found: Found) -> Found:
    return None if found is None else function(found)
