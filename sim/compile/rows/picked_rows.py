"""Right-hand sides rewritten so that rows are picked early, and products are formed at these alone.

Rows picked from an entrywise product are those of its factors, R (A o B) = (R A) o (R B), so that a pattern over all
rows shrinks to the rows that are wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ....theory.algebra.matrices import diagonal, hadamard, product, split, terms_of, total, transpose
from ....theory.algebra.nodes import Matrix, StochasticSymbol
from ....theory.algebra.rebuild import Rebuild
from ....theory.algebra.traversal import rule


class PickedRows(Rebuild):
    """Moves data that pick rows, each at most once, into entrywise products and out of their factors.

    Parameters
    ----------
    values : dict
        Data symbol -> array; what rows picked from data are is added to it, under the name of a new symbol.
    """

    purpose = "picking rows"

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values
        self._picks: dict[str, bool] = {}

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """Pickers move inwards."""
        scalar, factors = split(super().mat_mul(node))
        for i in range(len(factors) - 1):
            pair = self._pair(*factors[i : i + 2])
            if pair is None and (turned := self._pair(*(transpose(f) for f in factors[i : i + 2][::-1]))):
                pair = [transpose(f) for f in reversed(turned)]
            if pair is not None:
                return self(product(scalar, *factors[:i], *pair, *factors[i + 2 :]))
        return product(scalar, *factors)

    def _pair(self, picker: Matrix, other: Matrix) -> list[Matrix] | None:
        """R times what follows it, if that can be written better."""
        if not self._is_picker(picker):
            return None
        if isinstance(other, sp.Transpose) and other.arg == picker:
            return [sp.Identity(picker.rows)]
        if isinstance(other, DiagMatrix):
            return [diagonal(self(product(picker, other.args[0]))), picker]
        if self._is_sparse(other):
            return [self._rows_of(picker, other)]
        if isinstance(other, sp.HadamardProduct) and any(map(self._is_sparse, other.args)):
            return [hadamard(*(self(product(picker, f)) for f in other.args))]
        if isinstance(other, sp.MatAdd):
            return self._of_sum(picker, other)
        return None

    def _of_sum(self, picker: Matrix, other: sp.MatAdd) -> list[Matrix] | None:
        """R A + R B, where each is picked from data or from what they multiply, and not all are single rows of data."""
        picked, gain = [], False
        for term in other.args:
            scalar, (first, *rest) = split(term)
            found = self(product(picker, term))
            if split(found)[1][0] != picker:
                gain = True
            elif self._is_stored(first):
                found = product(scalar, self._rows_of(picker, first), *rest)
            else:
                return None
            picked.append(found)
        return [total(*picked)] if gain else None

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        """A o (R^T B) = R^T ((R A) o B), and the like for columns."""
        whole = super().hadamard_product(node)
        if not isinstance(whole, sp.HadamardProduct):
            return whole
        for factors, turn in ((list(whole.args), False), ([transpose(f) for f in whole.args], True)):
            picker = next((p for f in factors if (p := self._spread_by(f)) is not None), None)
            if picker is not None:
                inside = hadamard(*(self(product(picker, f)) for f in factors))
                found = product(transpose(picker), inside)
                return transpose(found) if turn else found
        return whole

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        """R^T A + R^T B = R^T (A + B) where all terms are such."""
        whole = total(*map(self, node.args))
        if (found := self._out_of_sum(whole)) is not None:
            return found
        found = self._out_of_sum(transpose(whole))
        return whole if found is None else transpose(found)

    def _out_of_sum(self, whole: Matrix) -> Matrix | None:
        """R^T (A + B) of a sum all terms of which open with R^T."""
        parts, picker = [], None
        for term in terms_of(whole):
            scalar, factors = split(term)
            opens = self._spread_by(product(*factors))
            if opens is None or len(factors) == 1 or picker not in (None, opens):
                return None
            picker = opens
            parts.append(product(scalar, *factors[1:]))
        return None if picker is None else product(transpose(picker), total(*parts))

    def _spread_by(self, factor: Matrix) -> Matrix | None:
        """R of a product that opens with R^T."""
        first = split(factor)[1][0]
        return first.arg if isinstance(first, sp.Transpose) and self._is_picker(first.arg) else None

    def _is_picker(self, factor: Matrix) -> bool:
        if not isinstance(factor, StochasticSymbol):
            return False
        if factor.name not in self._picks:
            self._picks[factor.name] = _picks_rows(self.values.get(factor.name))
        return self._picks[factor.name]

    def _is_sparse(self, factor: Matrix) -> bool:
        """Whether a factor is sparse data with several entries a row: who looks at whom."""
        return self._is_stored(factor) and (value := self._value(factor)).nnz > value.shape[0]

    def _is_stored(self, factor: Matrix) -> bool:
        """Whether a factor is sparse data."""
        bare = factor.arg if isinstance(factor, sp.Transpose) else factor
        return isinstance(bare, sp.MatrixSymbol) and sparse.issparse(self.values.get(bare.name))

    def _rows_of(self, picker: Matrix, factor: Matrix) -> Matrix:
        """Symbol of rows picked from data: one that is there, or a new one."""
        value = self.values[picker.name] @ sparse.csr_array(self._value(factor))
        for name, known in self.values.items():
            if sparse.issparse(known) and known.shape == value.shape and abs(known - value).nnz == 0:
                return StochasticSymbol(name, picker.rows, factor.cols)
        name = f"{picker.name}_{self._name(factor)}"
        self.values[name] = value
        return StochasticSymbol(name, picker.rows, factor.cols)

    def _value(self, factor: Matrix) -> Any:
        turned = isinstance(factor, sp.Transpose)
        return self.values[factor.arg.name].T if turned else self.values[factor.name]

    def _name(self, factor: Matrix) -> str:
        return f"{factor.arg.name}_T" if isinstance(factor, sp.Transpose) else factor.name


def _picks_rows(value: Any) -> bool:
    """Whether a matrix of data picks rows, each at most once."""
    if not sparse.issparse(value):
        return False
    rows = sparse.csr_array(value)
    return (
        rows.shape[0] < rows.shape[1]
        and bool((rows.data == 1.0).all() and (np.diff(rows.indptr) == 1).all())
        and np.unique(rows.indices).size == rows.shape[0]
    )
