"""Right-hand sides rewritten so that they cost less: terms that differ in one factor become one.

Derivatives arrive along several paths, and what they pass on the way back is the same for all: A X B + A Y B =
A (X + Y) B, entry by entry too, is passed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.matrices import diagonal, hadamard, product, split, terms_of, total, transpose
from ...theory.algebra.nodes import Centering, Matrix, matrix_symbols
from ...theory.algebra.rebuild import Rebuild
from ...theory.algebra.traversal import rule

Pattern = Any
Shared = tuple[Any, ...]  # what terms have in common: the kind of product, all factors but one, and its place


class Merged(Rebuild):
    """Merges terms.

    Parameters
    ----------
    weights : set of str
        Names of symbols that are no data.
    pattern_of : callable
        The pattern of an expression that is sparse by structure, else None: sums of different patterns are not formed.
    """

    purpose = "merging terms"

    def __init__(self, weights: set[str], pattern_of: Callable[[Matrix], Pattern]) -> None:
        super().__init__()
        self.weights, self.pattern_of = weights, pattern_of
        self._parts: dict[Matrix, list[int]] = {}
        self._shared: dict[Shared, int] = {}  # numbered, as they are long and looked up often

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """Factor by factor; sums down the columns of A o B with one of them whole, see `_column_sums`."""
        whole = super().mat_mul(node)
        scalar, factors = split(whole)
        if len(factors) == 2 and isinstance(factors[0], sp.OneMatrix) and factors[0].rows == 1:
            sums = [_column_sums(t) for t in terms_of(factors[1])]
            return product(scalar, self.mat_add(total(*sums))) if len(sums) > 1 else product(scalar, *sums)
        return whole

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        """Groups of terms become single ones, the largest first, until none are left."""
        terms = list(terms_of(total(*map(self, node.args))))
        while (group := self._group(terms)) is not None:
            shared, members = group
            one = self._one(shared, [terms[i] for i in members])
            rest = [t for i, t in enumerate(terms) if i not in members]
            terms = list(terms_of(total(*rest, *terms_of(one))))
        return _without_diagonals(terms)

    def _group(self, terms: list[Matrix]) -> tuple[Shared, list[int]] | None:
        """What the most terms share, and which these are."""
        groups: dict[int, list[int]] = {}
        for i, term in enumerate(terms):
            if (numbers := self._parts.get(term)) is None:
                found = self._sharable(term)
                numbers = self._parts[term] = [self._shared.setdefault(s, len(self._shared)) for s in found]
            for number in numbers:
                groups.setdefault(number, []).append(i)
        most = max(map(len, groups.values()), default=1)
        if most == 1:
            return None
        number, group = next((n, g) for n, g in groups.items() if len(g) == most)
        return next(islice(self._shared, number, None)), group

    def _sharable(self, term: Matrix) -> list[Shared]:
        """Everything but one factor, for each factor that may be added to others."""
        _, factors = split(term)
        if len(factors) == 1:
            (only,) = factors
            args = only.args if isinstance(only, sp.HadamardProduct) else ()
            kind, factors = "entries", list(args)
        else:
            kind, factors = "product", self._with_readings(factors)
        found = []
        for i, factor in enumerate(factors if len(factors) > 1 else ()):
            if (added := self._kind(factor)) is not None:
                found.append((kind, *factors[:i], added, *factors[i + 1 :]))
        return found

    def _with_readings(self, factors: list[Matrix]) -> list[Matrix]:
        """Factors of a product, with data and the weight that they read as one: X W_E and P W_pos are added."""
        found: list[Matrix] = []
        for factor in factors:
            if found and self._reads(found[-1], factor):
                found[-1] = product(found[-1], factor)
            else:
                found.append(factor)
        return found

    def _reads(self, first: Matrix, second: Matrix) -> bool:
        if all(isinstance(f, sp.Transpose) for f in (first, second)):
            first, second = second.arg, first.arg
        weight = isinstance(second, sp.MatrixSymbol) and second.name in self.weights
        return weight and isinstance(first, sp.MatrixSymbol) and first.name not in self.weights

    def _kind(self, factor: Matrix) -> tuple[Any, ...] | None:
        """With what a factor may be added: dense with dense, diagonal with diagonal, and patterns with their like."""
        if isinstance(factor, DiagMatrix):
            return ("diagonal",)
        if isinstance(factor, Centering) or not any(s.name in self.weights for s in matrix_symbols(factor)):
            return None
        return "sum", factor.shape, self.pattern_of(factor)

    def _one(self, shared: Shared, terms: list[Matrix]) -> Matrix:
        kind, *factors = shared
        place = next(i for i, f in enumerate(factors) if isinstance(f, tuple))
        added = []
        for term in terms:
            scalar, own = split(term)
            own = list(own[0].args) if kind == "entries" else self._with_readings(own)
            added.append((scalar, own[place]))
        common = added[0][0] if len({c for c, _ in added}) == 1 else sp.S.One
        if factors[place] == ("diagonal",):
            middle = diagonal(self(total(*(product(c / common, f.args[0]) for c, f in added))))
        else:
            middle = self(total(*(product(c / common, f) for c, f in added)))
        parts = [*factors[:place], middle, *factors[place + 1 :]]
        return product(common, hadamard(*parts) if kind == "entries" else product(*parts))


def _without_diagonals(terms: list[Matrix]) -> Matrix:
    """The sum, with each diagonal factor that opens or ends several of its terms taken out of them."""
    parts = [split(t) for t in terms]
    for end, rest in ((0, slice(1, None)), (-1, slice(None, -1))):
        outer = Counter(f[end] for _, f in parts if isinstance(f[end], DiagMatrix) and len(f) > 1)
        for diag in (d for d, count in outer.items() if count > 1):
            inside = [product(c, *f[rest]) for c, f in parts if f[end] == diag]
            inner = _without_diagonals(inside)
            others = [product(c, *f) for c, f in parts if f[end] != diag]
            whole = product(diag, inner) if end == 0 else product(inner, diag)
            return _without_diagonals([whole, *others]) if others else whole
    return total(*terms)


def _column_sums(term: Matrix) -> Matrix:
    """1^T (A o B), which is the diagonal of A^T B: that chain is cut where one side is a single computed factor.

    It has a row for every row of data, and what it meets there is what other derivatives need as well.
    """
    scalar, factors = split(term)
    (only, *more) = factors
    if not more and isinstance(only, sp.HadamardProduct) and len(only.args) == 2:
        left, right = only.args
        inner, chain = split(product(transpose(left), right))
        for first, *rest in (chain, [transpose(f) for f in reversed(chain)]):
            if rest and not isinstance(
                first.arg if isinstance(first, sp.Transpose) else first, sp.MatrixSymbol
            ):
                met = hadamard(transpose(first), product(inner, *rest))
                return product(scalar, sp.OneMatrix(1, met.rows), met)
    return product(scalar, sp.OneMatrix(1, term.rows), *factors)
