"""Right-hand sides rewritten so that equal rows are worked on once: what data read depends on few distinct rows.

A residual stream opens with X W_E + P W_pos, whose row is the same wherever the same token stands at the same place.
With T one-hot, a row for every row of the data that says which distinct one it is, X = T X' and P = T P', and whatever
is done row by row is done to the distinct rows: f(T x) = T f(x). Where another product comes to T, it sums up what
belongs to one distinct row, (A o M T^T) T = (A T) o M, so that a pattern over all rows becomes one over distinct rows,
and so do derivatives on their way back to the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ....theory.algebra.matrices import (
    diagonal,
    hadamard,
    hadamard_power,
    product,
    split,
    terms_of,
    total,
    transpose,
)
from ....theory.algebra.nodes import (
    Matrix,
    MatrixFunction,
    RowLogSumExp,
    RowNorm,
    RowSoftmax,
    StochasticSymbol,
    matrix_symbols,
    shared,
)
from ....theory.algebra.rebuild import Rebuild
from ....theory.algebra.traversal import rule
from ....theory.data.inputs import ROW_WEIGHTS

WORTH = 0.5  # share of rows that are distinct, up to which they are worked on alone
NO_INPUTS = ("Y", ROW_WEIGHTS.name)
ROW_WISE = (RowNorm, RowSoftmax, RowLogSumExp)


def equal_rows(rows: sparse.csr_array) -> np.ndarray:
    """Number of the class of equal rows that each row belongs to, in order of first occurrence."""
    rows.sum_duplicates()
    seen: dict[bytes, int] = {}
    group = np.empty(rows.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        a, b = rows.indptr[i], rows.indptr[i + 1]
        key = rows.indices[a:b].tobytes() + rows.data[a:b].tobytes()
        group[i] = seen.setdefault(key, len(seen))
    return group


class SharedRows(Rebuild):
    """Moves T through an expression: out of what is done row by row, into what it is multiplied by.

    Parameters
    ----------
    exprs : iterable of Matrix
        All that will be rewritten.
    values : dict
        Data symbol -> array; those of new symbols are added.
    sizes : dict
        Symbolic dimension -> number; the numbers of distinct rows are added.

    Attributes
    ----------
    found : bool
        Whether there are rows to share.
    """

    purpose = "sharing rows"

    def __init__(self, exprs: Iterable[Matrix], values: dict[str, Any], sizes: dict[sp.Symbol, int]) -> None:
        super().__init__()
        self.values, self.sizes = values, sizes
        self.selectors: dict[Matrix, None] = {}  # symbols whose rows are one-hot
        self._distinct: dict[Matrix, Matrix] = {}
        self._met: dict[tuple[Matrix, Matrix], Matrix | None] = {}
        for symbols in _readers(exprs, values).values():
            self._share(symbols)
        self.found = bool(self.selectors)

    def _share(self, symbols: list[sp.MatrixSymbol]) -> None:
        """T for data with a common dimension of rows, if few of these differ."""
        rows = symbols[0].rows
        group = equal_rows(sparse.hstack([sparse.csr_array(self.values[s.name]) for s in symbols], "csr"))
        first = np.unique(group, return_index=True)[1]
        if first.size > WORTH * group.size:
            return
        size = sp.Symbol(f"{rows}_distinct", integer=True, positive=True)
        self.sizes[size] = first.size
        ones = (np.ones(group.size), group, np.arange(group.size + 1))
        chosen = StochasticSymbol(f"distinct_{rows}", rows, size)
        self.values[chosen.name] = sparse.csr_array(ones, shape=(group.size, first.size))
        self.selectors[chosen] = None
        for symbol in symbols:
            one = type(symbol)(f"{symbol.name}_distinct", size, symbol.cols)
            self.values[one.name] = self.values[symbol.name][first]
            self._distinct[symbol] = product(chosen, one)

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> Matrix:
        """Data with equal rows: T times the distinct ones."""
        return self._distinct.get(node, node)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """T and what stands beside it."""
        return self._chain(super().mat_mul(node))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        """T a + T b = T (a + b), and the like for columns."""
        whole = total(*map(self, node.args))
        return transpose(self._added(transpose(self._added(whole))))

    def _added(self, expr: Matrix) -> Matrix:
        """Terms that open with the same T as one; those with equal rows, 1 v = T 1 v, go with the only T."""
        groups = self._grouped(terms_of(expr))
        if len(groups) == 2 and None in groups and all(map(_is_even, groups[None])):
            (chosen,) = (g for g in groups if g is not None)
            groups[chosen] += groups.pop(None)
        return total(*self._parts(groups, total))

    def _grouped(self, parts: Iterable[Matrix]) -> dict[Matrix | None, list[Matrix]]:
        groups: dict[Matrix | None, list[Matrix]] = {}
        for part in parts:
            groups.setdefault(self._opening(part), []).append(part)
        return groups

    def _parts(self, groups: Mapping[Matrix | None, list[Matrix]], combine: Any) -> list[Matrix]:
        """What opens with no T, and of each T what is combined after it."""
        found = list(groups.get(None, ()))
        for chosen, parts in groups.items():
            if chosen is not None:
                one = parts[0] if len(parts) == 1 else combine(*(_within(chosen, p) for p in parts))
                found.append(one if len(parts) == 1 else product(chosen, self._chain(one)))
        return found

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        """T a o T b = T (a o b), and the like for columns."""
        whole = hadamard(*map(self, node.args))
        return transpose(self._multiplied(transpose(self._multiplied(whole))))

    def _multiplied(self, expr: Matrix) -> Matrix:
        """The factors of an entrywise product that open with the same T as one; diagonals around it stay."""
        scalar, chain = split(expr)
        for i, core in enumerate(chain):
            if isinstance(core, sp.HadamardProduct):
                parts = self._parts(self._grouped(core.args), hadamard)
                chain[i] = hadamard(*parts) if len(parts) > 1 else parts[0]
        return self._chain(product(scalar, *chain))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        """(T x)^k = T x^k."""
        return self._entrywise(self(node.base), lambda x: hadamard_power(x, node.exp))

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        """f(T x) = T f(x), as every row of T has one entry."""
        return self._entrywise(self(node.expr), lambda x: shared(ElementwiseApplyFunction, node.function, x))

    def _entrywise(self, x: Matrix, function: Any) -> Matrix:
        if (chosen := self._opening(x)) is not None:
            return product(chosen, self._entrywise(_after_first(x), function))
        if (chosen := self._opening(transpose(x))) is not None:
            return transpose(product(chosen, transpose(function(transpose(_after_first(transpose(x)))))))
        return function(x)

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Matrix:
        """Functions of rows alone."""
        x, *rest = map(self, node.matrices)
        chosen = self._opening(x)
        if chosen is None or rest or not isinstance(node, ROW_WISE):
            return node.of(x, *rest)
        return product(chosen, node.of(_after_first(x)))

    def apart(self, expr: Matrix) -> tuple[Matrix | None, Matrix]:
        """T of an expression that opens with it, else None, and what follows."""
        found = self(expr)
        chosen = self._opening(found)
        return chosen, found if chosen is None else _after_first(found)

    def _opening(self, expr: Matrix) -> Matrix | None:
        """T of a product that opens with it."""
        first = split(expr)[1][0]
        return first if first in self.selectors else None

    def _chain(self, expr: Matrix) -> Matrix:
        """A product in which T has met what stands beside it."""
        scalar, factors = split(expr)
        for i in range(len(factors) - 1):
            left, right = factors[i : i + 2]
            found = self._pair(left, right)
            if found is None and (turned := self._pair(transpose(right), transpose(left))) is not None:
                found = transpose(turned)
            if found is not None:
                return self._chain(product(scalar, *factors[:i], found, *factors[i + 2 :]))
        return expr

    def _pair(self, left: Matrix, right: Matrix) -> Matrix | None:
        """Left times T, or times ones, if that can be written better."""
        if right in self.selectors:
            return self._times(left, right)
        if isinstance(right, sp.OneMatrix) and not isinstance(left, sp.OneMatrix):
            for chosen in [s for s in self.selectors if s.rows == right.rows]:
                if (found := self._times(left, chosen)) is not None:
                    return product(found, sp.OneMatrix(chosen.cols, right.cols))
        return None

    def _times(self, expr: Matrix, chosen: Matrix) -> Matrix | None:
        """An expression times T, with T inside it; None where it cannot get there."""
        if (expr, chosen) not in self._met:
            self._met[expr, chosen] = self._inside(expr, chosen)
        return self._met[expr, chosen]

    def _inside(self, expr: Matrix, chosen: Matrix) -> Matrix | None:
        scalar, factors = split(expr)
        *before, last = factors
        if isinstance(last, DiagMatrix) and before and before[-1] == transpose(chosen):
            # T^T diag(c) T = diag(T^T c)
            met = diagonal(self._chain(product(before[-1], last.args[0])))
            return self._chain(product(scalar, *before[:-1], met))
        if before or scalar != 1:
            found = self._times(last, chosen)
            return None if found is None else self._chain(product(scalar, *before, found))
        if isinstance(last, sp.Transpose) and last.arg in self.selectors:
            same = last.arg == chosen
            return diagonal(product(last, sp.OneMatrix(last.cols, 1))) if same else None
        if isinstance(last, DiagMatrix):
            column = last.args[0]
            same = self._opening(column) == chosen
            return product(chosen, diagonal(_after_first(column))) if same else None
        if isinstance(last, sp.MatAdd):
            return self._into_sum(last, chosen)
        if isinstance(last, sp.HadamardProduct):
            return self._into_entries(last, chosen)
        if isinstance(last, RowSoftmax) and last.base is not None:
            return self._into_softmax(last, chosen)
        return self._of_data(last, chosen)

    def _into_sum(self, expr: sp.MatAdd, chosen: Matrix) -> Matrix | None:
        met = {t: self._times(t, chosen) for t in expr.args}
        if all(m is None for m in met.values()):
            return None
        rest = [t for t, m in met.items() if m is None]
        parts = [m for m in met.values() if m is not None]
        whole = total(*parts, product(total(*rest), chosen)) if rest else total(*parts)
        return transpose(self._added(transpose(self._added(whole))))

    def _into_entries(self, expr: sp.HadamardProduct, chosen: Matrix) -> Matrix | None:
        """(A o M T^T) T = (A T) o M."""
        turned = {f: self._opening(transpose(f)) == chosen for f in expr.args}
        if not any(turned.values()):
            return None
        spread = [transpose(_after_first(transpose(f))) for f, mine in turned.items() if mine]
        others = [f for f, mine in turned.items() if not mine]
        if not others:
            return None
        other = hadamard(*others)
        met = self._times(other, chosen)
        met = product(other, chosen) if met is None else met
        return self._multiplied(hadamard(met, *spread))

    def _into_softmax(self, expr: RowSoftmax, chosen: Matrix) -> Matrix | None:
        """softmax(M T^T; A) T = softmax(M; A T)."""
        scores, base = transpose(expr.args[0]), self._times(expr.base, chosen)
        if base is None or self._opening(scores) != chosen:
            return None
        return RowSoftmax(transpose(_after_first(scores)), base)

    def _of_data(self, factor: Matrix, chosen: Matrix) -> Matrix | None:
        """Sparse data times T as one symbol, itself a T if its rows are one-hot."""
        turned = isinstance(factor, sp.Transpose)
        bare = factor.arg if turned else factor
        value = self.values.get(bare.name) if isinstance(bare, sp.MatrixSymbol) else None
        if value is None or not sparse.issparse(value):
            return None
        found = sparse.csr_array((value.T if turned else value) @ self.values[chosen.name])
        kind = StochasticSymbol if isinstance(bare, StochasticSymbol) and not turned else sp.MatrixSymbol
        name = f"{bare.name}_T_{chosen.name}" if turned else f"{bare.name}_{chosen.name}"
        symbol = kind(name, factor.rows, chosen.cols)
        self.values[name] = found
        if kind is StochasticSymbol and (found.data == 1.0).all() and (np.diff(found.indptr) == 1).all():
            self.selectors[symbol] = None
        return symbol


def _after_first(expr: Matrix) -> Matrix:
    """A product without its first factor."""
    scalar, (first, *rest) = split(expr)
    return product(scalar, *(rest or [sp.Identity(first.cols)]))


def _within(chosen: Matrix, term: Matrix) -> Matrix:
    """What T is to be multiplied by to give a term that opens with it, or with ones."""
    if not _is_even(term):
        return _after_first(term)
    scalar, (ones, *rest) = split(term)
    return product(scalar, sp.OneMatrix(chosen.cols, ones.cols), *rest)


def _is_even(term: Matrix) -> bool:
    """Whether all rows of a term are equal: it opens with ones."""
    return isinstance(split(term)[1][0], sp.OneMatrix)


def _readers(exprs: Iterable[Matrix], values: Mapping[str, Any]) -> dict[sp.Symbol, list[sp.MatrixSymbol]]:
    """Dimension of rows -> the data that say what a row is: no labels or weights of rows, none that look at rows."""
    symbols = {s for e in exprs for s in matrix_symbols(e) if s.name in values}
    dimensions = {s.rows for s in symbols if sparse.issparse(values[s.name])}
    found: dict[sp.Symbol, list[sp.MatrixSymbol]] = {}
    for symbol in sorted(symbols, key=str):
        told = symbol.rows in dimensions and isinstance(symbol.rows, sp.Symbol)
        if told and symbol.cols not in dimensions and symbol.name not in NO_INPUTS:
            found.setdefault(symbol.rows, []).append(symbol)
    return found
