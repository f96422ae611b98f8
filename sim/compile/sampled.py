"""Matrices that are sparse by structure, with values computed at run time: attention and what it is multiplied by.

Such a matrix is a pattern, the nonzeros of a data matrix, and a column of values (nnz, 1). Sums, Hadamard products and
functions of matrices with one pattern are those of their columns; a product is evaluated at the pattern alone, so
nothing of the size (sequences x tokens) is ever formed.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.chain import ELEMENT_WEIGHT, SPARSE_WEIGHT
from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import hadamard_factors, product, split, transpose
from ...theory.algebra.nodes import Matrix, MatrixFunction, RowSoftmax
from ...theory.algebra.traversal import LEAVES, Dispatch, Traversal, rule
from .graph import Ref
from .host import Host, Lowered
from .scalar import apply_function

Pattern = tuple[Matrix, bool]  # data expression whose nonzeros are meant, and whether transposed
LARGEST_DATA = 2**27  # bytes of a product of data that may be formed to be read at a pattern


class _Patterns(Traversal):
    """The pattern of an expression that is sparse by structure, else None."""

    purpose = "patterns"

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def __call__(self, node: Matrix) -> Pattern | None:
        """The pattern; data are read as they are and have none."""
        return None if self.host.is_data(node) else super().__call__(node)

    @rule(*LEAVES, ElementwiseApplyFunction, DiagMatrix, MatrixFunction)
    def without(self, node: Matrix) -> None:
        return None

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Pattern | None:
        return self._of_data(node.base) if node.base is not None else None

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Pattern | None:
        found = self(node.arg)
        return None if found is None else (found[0], not found[1])

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Pattern | None:
        data = [f for f in node.args if self.host.is_data(f)]
        found = [p for f in node.args if (p := self(f))] + [p for f in data if (p := self._of_data(f))]
        return found[0] if found else None

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Pattern | None:
        return self(node.base)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Pattern | None:
        _, factors = split(node)
        inner = [f for f in factors if not isinstance(f, DiagMatrix)]
        if len(inner) != 1:
            return None
        weighted = self._of_data(inner[0]) if len(factors) > 1 and self.host.is_data(inner[0]) else None
        return weighted or self(inner[0])

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Pattern | None:
        found = [self(t) or self._of_data_term(t) for t in node.args]
        return found[0] if all(p is not None and p == found[0] for p in found) else None

    def _of_data_term(self, expr: Matrix) -> Pattern | None:
        _, factors = split(expr)
        return self._of_data(factors[0]) if len(factors) == 1 and self.host.is_data(expr) else None

    def _of_data(self, expr: Matrix) -> Pattern | None:
        """Pattern of a data symbol that is stored sparse."""
        bare, flipped = (expr.arg, True) if isinstance(expr, sp.Transpose) else (expr, False)
        if isinstance(bare, sp.Identity):
            return bare, False
        if not isinstance(bare, sp.MatrixSymbol) or not sparse.issparse(self.host.values.get(bare.name)):
            return None
        return bare, flipped


class Sampler(Dispatch):
    """Lowers expressions at the nonzeros of a pattern, into the graph of a `Host`."""

    purpose = "sampling at nonzeros"

    def __init__(self, host: Host) -> None:
        self.host, self.pattern_of = host, _Patterns(host)
        self.sampled: dict[tuple[Matrix, Matrix], Lowered] = {}

    def lower(self, expr: Matrix, pattern: Pattern) -> Lowered:
        """Coefficient and reference of a matrix with a pattern."""
        key, flipped = pattern
        coefficient, values = self.sample(transpose(expr) if flipped else expr, key)
        data = self._csr(key)
        ref = self.host.graph.add("pattern", (values, data), self.host.graph.shape(data), "pattern")
        return coefficient, Ref(ref.node, flipped)

    def sample(self, expr: Matrix, key: Matrix) -> Lowered:
        """Coefficient and column of the values of an expression at the nonzeros of a pattern."""
        if (expr, key) not in self.sampled:
            self.sampled[expr, key] = self._sample(expr, key)
        return self.sampled[expr, key]

    def _sample(self, expr: Matrix, key: Matrix) -> Lowered:
        if self.host.is_data(expr) and (known := self._data_at(expr, key)) is not None:
            return known
        return self.rule_of(expr)(expr, key)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd, key: Matrix) -> Lowered:
        """Term by term."""
        return self.host.graph.combination([self.sample(t, key) for t in node.args])

    @rule(sp.HadamardProduct, sp.HadamardPower)
    def hadamards(self, node: Matrix, key: Matrix) -> Lowered:
        """Factor by factor, with powers."""
        coefficient, parts = 1.0, []
        for base, exponent in hadamard_factors(node):
            inner, ref = self.sample(base, key)
            coefficient *= inner**exponent
            parts.append((ref, exponent))
        return coefficient, self.host.graph.hadamard(parts)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction, key: Matrix) -> Lowered:
        """The function of what stands at the places."""
        coefficient, ref = self.sample(node.expr, key)
        return apply_function(self.host.graph, node.function, coefficient, ref)

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax, key: Matrix) -> Lowered:
        """Row by row over the places of the base; one with another base is read where it is needed."""
        if node.base != key:
            return self._gather(node, key)
        graph = self.host.graph
        coefficient, scores = self.sample(node.args[0], key)
        args, cost = (scores, self._csr(key)), 30.0 * self._nnz(key)
        return 1.0, graph.add("segment_softmax", args, graph.shape(scores), coefficient, cost=cost)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul, key: Matrix) -> Lowered:
        """A chain, never formed."""
        scalar, factors = split(node)
        coefficient, ref = self._product(factors, key)
        return self.host.number(scalar) * coefficient, ref

    def _product(self, factors: list[Matrix], key: Matrix) -> Lowered:
        """A chain at the pattern: diagonal factors and broadcasts gathered, the rest one row product per nonzero."""
        graph = self.host.graph
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
        a, left = self.host.lower_dense(product(*factors[:k]))
        b, right = self.host.lower_dense(transpose(product(*factors[k:])))
        left, right = graph.unflipped(left), graph.unflipped(right)
        nnz, width = self._nnz(key), graph.shape(left)[1]
        args = (left, right, self._csr(key))
        return a * b, graph.add("sddmm", args, (nnz, 1), None, cost=SPARSE_WEIGHT * nnz * width)

    def _narrowest(self, factors: list[Matrix]) -> int:
        """Where to cut a chain in two: at its smallest inner dimension, weights rather than lone data on both sides."""

        def cost(k: int) -> tuple[float, int]:
            lone = sum(all(map(self.host.is_data, side)) for side in (factors[:k], factors[k:]))
            return self.host.number(factors[k].rows), lone

        return min(range(1, len(factors)), key=cost)

    def _times(self, a: Lowered, b: Lowered) -> Lowered:
        parts = [(a[1], 2)] if a[1] == b[1] else [(a[1], 1), (b[1], 1)]
        return a[0] * b[0], self.host.graph.hadamard(parts)

    def _gathered(self, op: str, column: Matrix, key: Matrix) -> Lowered:
        graph = self.host.graph
        coefficient, ref = self.host.lower_dense(column)
        args, nnz = (Ref(ref.node), self._csr(key)), self._nnz(key)
        return coefficient, graph.add(op, args, (nnz, 1), None, cost=ELEMENT_WEIGHT * nnz)

    @rule(*LEAVES, sp.Transpose, DiagMatrix, MatrixFunction)
    def _gather(self, expr: Matrix, key: Matrix) -> Lowered:
        graph = self.host.graph
        coefficient, ref = self.host.lower_dense(expr)
        args, nnz = (Ref(ref.node), self._csr(key)), self._nnz(key)
        return coefficient, graph.add("gather", args, (nnz, 1), int(ref.flipped), cost=ELEMENT_WEIGHT * nnz)

    def _data_at(self, expr: Matrix, key: Matrix) -> Lowered | None:
        """Values of a data expression at a pattern, read once; None for products that are better sampled."""
        graph, pattern = self.host.graph, self._value(key)
        name = ("at", expr, key)
        if isinstance(expr, sp.OneMatrix):
            return 1.0, graph.add_data(np.ones((pattern.nnz, 1)), ("ones", pattern.nnz))
        if expr == key:
            return 1.0, graph.add_data(pattern.data.reshape(-1, 1), name)
        size = np.prod([self.host.number(s) for s in expr.shape])
        if isinstance(expr, sp.MatMul) and 8 * size > LARGEST_DATA:
            return None
        value = evaluate(expr, self.host.values, self.host.sizes)
        rows, cols = _coordinates(pattern)
        found = value.tocsr()[rows, cols] if sparse.issparse(value) else value[rows, cols]
        return 1.0, graph.add_data(np.asarray(found, dtype=np.float64).reshape(-1, 1), name)

    def _value(self, key: Matrix) -> sparse.csr_array:
        data = self._csr(key)
        return self.host.graph.data[data.node]

    def _csr(self, key: Matrix) -> Ref:
        if isinstance(key, sp.Identity):
            size = int(self.host.number(key.rows))
            return self.host.graph.add_data(sparse.eye_array(size, format="csr"), ("csr", key))
        array = sparse.csr_array(self.host.values[key.name])
        array.sum_duplicates()
        return self.host.graph.add_data(array, ("csr", key))

    def _nnz(self, key: Matrix) -> int:
        return int(self._value(key).nnz)


def _coordinates(pattern: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every stored entry, in storage order."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices
