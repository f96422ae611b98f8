"""Matrices that are sparse by structure, with values computed at run time: attention and what it is multiplied by.

Such a matrix is a pattern, the nonzeros of a data matrix, and a column of values (nnz, 1). Sums, Hadamard products and
functions of matrices with one pattern are those of their columns; a product is evaluated at the pattern alone, so
nothing of the size (sequences x tokens) is ever formed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.chain import ELEMENT_WEIGHT, SPARSE_WEIGHT
from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import product, split, transpose
from ...theory.algebra.nodes import Matrix, RowSoftmax
from .graph import Ref
from .scalar import apply_function

if TYPE_CHECKING:
    from .lower import Lowering

Pattern = tuple[Matrix, bool]  # data expression whose nonzeros are meant, and whether transposed
Term = tuple[float, Ref]
LARGEST_DATA = 2**27  # bytes of a product of data that may be formed to be read at a pattern


class Sampler:
    """Lowers expressions at the nonzeros of a pattern, into the graph of a `Lowering`."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self._patterns: dict[Matrix, Pattern | None] = {}
        self._sampled: dict[tuple[Matrix, Matrix], Term] = {}

    def pattern_of(self, expr: Matrix) -> Pattern | None:
        """The pattern of an expression that is sparse by structure, else None."""
        if expr not in self._patterns:
            self._patterns[expr] = self._find(expr)
        return self._patterns[expr]

    def _find(self, expr: Matrix) -> Pattern | None:
        if self.lowering.is_data(expr):
            return None
        if isinstance(expr, RowSoftmax):
            return self._of_data(expr.base) if expr.base is not None else None
        if isinstance(expr, sp.Transpose):
            found = self.pattern_of(expr.arg)
            return None if found is None else (found[0], not found[1])
        if isinstance(expr, sp.HadamardProduct):
            data = [f for f in expr.args if self.lowering.is_data(f)]
            found = [p for f in expr.args if (p := self.pattern_of(f))] + [
                p for f in data if (p := self._of_data(f))
            ]
            return found[0] if found else None
        if isinstance(expr, sp.HadamardPower):
            return self.pattern_of(expr.base)
        if isinstance(expr, sp.MatMul):
            _, factors = split(expr)
            inner = [f for f in factors if not isinstance(f, DiagMatrix)]
            if len(inner) != 1:
                return None
            weighted = (
                self._of_data(inner[0]) if len(factors) > 1 and self.lowering.is_data(inner[0]) else None
            )
            return weighted or self.pattern_of(inner[0])
        if isinstance(expr, sp.MatAdd):
            found = [self.pattern_of(t) or self._of_data_term(t) for t in expr.args]
            return found[0] if all(p is not None and p == found[0] for p in found) else None
        return None

    def _of_data_term(self, expr: Matrix) -> Pattern | None:
        _, factors = split(expr)
        return self._of_data(factors[0]) if len(factors) == 1 and self.lowering.is_data(expr) else None

    def _of_data(self, expr: Matrix) -> Pattern | None:
        """Pattern of a data symbol that is stored sparse."""
        bare, flipped = (expr.arg, True) if isinstance(expr, sp.Transpose) else (expr, False)
        if isinstance(bare, sp.Identity):
            return bare, False
        if not isinstance(bare, sp.MatrixSymbol) or not sparse.issparse(self.lowering.values.get(bare.name)):
            return None
        return bare, flipped

    def lower(self, expr: Matrix, pattern: Pattern) -> Term:
        """Coefficient and reference of a matrix with a pattern."""
        key, flipped = pattern
        coefficient, values = self.sample(transpose(expr) if flipped else expr, key)
        data = self._csr(key)
        ref = self.lowering.graph.add("pattern", (values, data), self.lowering.graph.shape(data), "pattern")
        return coefficient, Ref(ref.node, flipped)

    def sample(self, expr: Matrix, key: Matrix) -> Term:
        """Coefficient and column of the values of an expression at the nonzeros of a pattern."""
        if (expr, key) not in self._sampled:
            self._sampled[expr, key] = self._sample(expr, key)
        return self._sampled[expr, key]

    def _sample(self, expr: Matrix, key: Matrix) -> Term:
        graph = self.lowering.graph
        if self.lowering.is_data(expr) and (known := self._data_at(expr, key)) is not None:
            return known
        if isinstance(expr, sp.MatAdd):
            return 1.0, graph.sum([self.sample(t, key) for t in expr.args])
        if isinstance(expr, (sp.HadamardProduct, sp.HadamardPower)):
            return self._hadamard(expr, key)
        if isinstance(expr, ElementwiseApplyFunction):
            coefficient, ref = self.sample(expr.expr, key)
            return apply_function(graph, expr.function, coefficient, ref)
        if isinstance(expr, RowSoftmax) and expr.base == key:
            return self._softmax(expr, key)
        if isinstance(expr, sp.MatMul):
            scalar, factors = split(expr)
            coefficient, ref = self._product(factors, key)
            return self.lowering.number(scalar) * coefficient, ref
        return self._gather(expr, key)

    def _softmax(self, expr: RowSoftmax, key: Matrix) -> Term:
        graph = self.lowering.graph
        coefficient, scores = self.sample(expr.args[0], key)
        args = (scores, self._csr(key))
        return 1.0, graph.add(
            "segment_softmax", args, graph.shape(scores), coefficient, cost=30.0 * self._nnz(key)
        )

    def _hadamard(self, expr: Matrix, key: Matrix) -> Term:
        coefficient, parts = 1.0, []
        for factor in expr.args if isinstance(expr, sp.HadamardProduct) else (expr,):
            base, exponent = (
                (factor.base, int(factor.exp)) if isinstance(factor, sp.HadamardPower) else (factor, 1)
            )
            inner, ref = self.sample(base, key)
            coefficient *= inner**exponent
            parts.append((ref, exponent))
        return coefficient, self.lowering.graph.hadamard(parts)

    def _product(self, factors: list[Matrix], key: Matrix) -> Term:
        """A chain at the pattern: diagonal factors and broadcasts gathered, the rest one row product per nonzero."""
        graph = self.lowering.graph
        if len(factors) == 1:
            return self.sample(factors[0], key)
        for side, op in ((0, "gather_rows"), (-1, "gather_cols")):
            if isinstance(factors[side], DiagMatrix):
                rest = factors[1:] if side == 0 else factors[:-1]
                return self._times(self._gathered(op, factors[side].args[0], key), self._product(rest, key))
        for k, factor in enumerate(factors):
            if isinstance(factor, sp.OneMatrix):
                left = product(*factors[:k], sp.OneMatrix(factor.rows, 1))
                right = transpose(product(sp.OneMatrix(1, factor.cols), *factors[k + 1 :]))
                return self._times(
                    self._gathered("gather_rows", left, key), self._gathered("gather_cols", right, key)
                )
        k = self._narrowest(factors)
        a, left = self.lowering.lower_dense(product(*factors[:k]))
        b, right = self.lowering.lower_dense(transpose(product(*factors[k:])))
        left, right = graph.unflipped(left), graph.unflipped(right)
        nnz, width = self._nnz(key), graph.shape(left)[1]
        args = (left, right, self._csr(key))
        return a * b, graph.add("sddmm", args, (nnz, 1), None, cost=SPARSE_WEIGHT * nnz * width)

    def _narrowest(self, factors: list[Matrix]) -> int:
        """Where to cut a chain in two: at its smallest inner dimension, weights rather than lone data on both sides."""

        def cost(k: int) -> tuple[float, int]:
            lone = sum(all(map(self.lowering.is_data, side)) for side in (factors[:k], factors[k:]))
            return self.lowering.number(factors[k].rows), lone

        return min(range(1, len(factors)), key=cost)

    def _times(self, a: Term, b: Term) -> Term:
        parts = [(a[1], 2)] if a[1] == b[1] else [(a[1], 1), (b[1], 1)]
        return a[0] * b[0], self.lowering.graph.hadamard(parts)

    def _gathered(self, op: str, column: Matrix, key: Matrix) -> Term:
        graph = self.lowering.graph
        coefficient, ref = self.lowering.lower_dense(column)
        args, nnz = (Ref(ref.node), self._csr(key)), self._nnz(key)
        return coefficient, graph.add(op, args, (nnz, 1), None, cost=ELEMENT_WEIGHT * nnz)

    def _gather(self, expr: Matrix, key: Matrix) -> Term:
        graph = self.lowering.graph
        coefficient, ref = self.lowering.lower_dense(expr)
        args, nnz = (Ref(ref.node), self._csr(key)), self._nnz(key)
        return coefficient, graph.add("gather", args, (nnz, 1), int(ref.flipped), cost=ELEMENT_WEIGHT * nnz)

    def _data_at(self, expr: Matrix, key: Matrix) -> Term | None:
        """Values of a data expression at a pattern, read once; None for products that are better sampled."""
        graph, pattern = self.lowering.graph, self._value(key)
        name = ("at", expr, key)
        if isinstance(expr, sp.OneMatrix):
            return 1.0, graph.add_data(np.ones((pattern.nnz, 1)), ("ones", pattern.nnz))
        if expr == key:
            return 1.0, graph.add_data(pattern.data.reshape(-1, 1), name)
        size = np.prod([self.lowering.number(s) for s in expr.shape])
        if isinstance(expr, sp.MatMul) and 8 * size > LARGEST_DATA:
            return None
        value = evaluate(expr, self.lowering.values, self.lowering.sizes)
        rows, cols = _coordinates(pattern)
        found = value.tocsr()[rows, cols] if sparse.issparse(value) else value[rows, cols]
        return 1.0, graph.add_data(np.asarray(found, dtype=np.float64).reshape(-1, 1), name)

    def _value(self, key: Matrix) -> sparse.csr_array:
        data = self._csr(key)
        return self.lowering.graph.data[data.node]

    def _csr(self, key: Matrix) -> Ref:
        if isinstance(key, sp.Identity):
            size = int(self.lowering.number(key.rows))
            return self.lowering.graph.add_data(sparse.eye_array(size, format="csr"), ("csr", key))
        array = sparse.csr_array(self.lowering.values[key.name])
        array.sum_duplicates()
        return self.lowering.graph.add_data(array, ("csr", key))

    def _nnz(self, key: Matrix) -> int:
        return int(self._value(key).nnz)


def _coordinates(pattern: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every stored entry, in storage order."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices
