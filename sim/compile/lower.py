"""From matrix expressions to a graph of operations: data folded once, chains ordered by cost, results shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import proxy

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ...theory.algebra.chain import SPARSE_WEIGHT
from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import hadamard_factors, product, split, transpose
from ...theory.algebra.nodes import Centering, Matrix, MatrixFunction, RowNorm, RowSoftmax, matrix_symbols
from ...theory.algebra.norms import written_out
from ...theory.algebra.rebuild import canonical
from ...theory.algebra.sizes import scalar_value
from ...theory.algebra.traversal import Dispatch, rule
from .graph import Graph, Mark, Ref, shorten
from .host import Lowered
from .multiply import Multiplier, Readings
from .sampled import Sampler
from .scalar import apply_function

SPARSE_DENSITY = 0.15  # sparser than this, a folded product stays sparse


class Lowering(Dispatch):
    """Lowers expressions into one graph.

    Parameters
    ----------
    values : dict
        Data symbol -> array; every symbol that is not here is a weight.
    shapes : dict
        Weight name -> shape.
    sizes : dict
        Symbolic dimension -> number.
    folds : dict
        Data products folded so far, shared between lowerings.
    reading : str
        See `READINGS`.
    """

    purpose = "compilation"

    def __init__(
        self,
        values: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, int]],
        sizes: Mapping[sp.Symbol, int],
        folds: dict[Matrix, Any],
        reading: str = "together",
    ) -> None:
        self.graph = Graph()
        self.values, self.shapes, self.sizes, self.folds = values, shapes, sizes, folds
        host = proxy(self)  # a circle would keep the data, of a large vocabulary half a gigabyte, long after
        self.sampler, self.multiplier = Sampler(host), Multiplier(host)
        self.readings = Readings(host, reading, lambda term: host._opens_with_bags(term))
        self._lowered: dict[Matrix, Lowered] = {}
        self._is_data: dict[Matrix, bool] = {}

    def anew(self, reading: str) -> Lowering:
        """A lowering into an empty graph, for which all that is known of the data need not be found out again."""
        other = Lowering(self.values, self.shapes, self.sizes, self.folds, reading)
        other._is_data, other.sampler.pattern_of = self._is_data, self.sampler.pattern_of
        other.multiplier.operands = self.multiplier.operands
        return other

    def mark(self) -> tuple[Mark, tuple[int, ...]]:
        """How far it has come, to go back to."""
        return self.graph.mark(), tuple(map(len, self._found()))

    def back_to(self, mark: tuple[Mark, tuple[int, ...]]) -> None:
        """Forget what was lowered since."""
        self.graph.back_to(mark[0])
        for found, size in zip(self._found(), mark[1], strict=True):
            shorten(found, size)

    def _found(self) -> tuple[dict[Any, Any], ...]:
        """References by what they are of: with its graph, all that lowering changes. They only grow."""
        return self._lowered, self.sampler.sampled, self.readings.hand

    def lower(self, expr: Matrix) -> Lowered:
        """Coefficient and reference of an expression; an expression and its transpose are lowered once."""
        found = self._lowered.get(expr)
        if found is None:
            coefficient, ref = found = self._lowered[expr] = self._lower(expr)
            self._lowered.setdefault(transpose(expr), (coefficient, ref.T))
        return found

    def number(self, expr: sp.Expr) -> float:
        """Value of a scalar of numbers and dimensions."""
        return scalar_value(expr, self.sizes)

    def _lower(self, expr: Matrix) -> Lowered:
        scalar, factors = split(expr)
        coefficient = self.number(scalar)
        factors = self.readings.spread(factors)
        if len(factors) == 1:
            inner, ref = self._atom(factors[0])
            return coefficient * inner, ref
        if (pattern := self.sampler.pattern_of(expr)) is not None:
            return self.sampler.lower(expr, pattern)
        pair = _summed_along_rows(factors)
        if pair is not None and not self.has_pattern(factors[0]):
            (a, x), (b, y) = map(self.lower_dense, pair)
            return coefficient * a * b, self.graph.row_dot(x, y)
        if (terms := self.readings.apart(factors)) is not None:
            inner, ref = self._total(terms)
            return coefficient * inner, ref
        inner, ref = self._chain(factors)
        return coefficient * inner, ref

    def _total(self, terms: Sequence[Matrix]) -> Lowered:
        return self.graph.combination([self.lower_dense(t) for t in terms])

    def lower_dense(self, expr: Matrix) -> Lowered:
        """The same, as an array without holes."""
        coefficient, ref = self.lower(expr)
        return coefficient, self.densified(ref)

    def is_data(self, expr: Matrix) -> bool:
        """Whether an expression holds no weight."""
        found = self._is_data.get(expr)
        if found is None:
            found = self._is_data[expr] = not any(s.name in self.shapes for s in matrix_symbols(expr))
        return found

    def has_pattern(self, expr: Matrix) -> bool:
        """Whether an expression is sparse by structure."""
        return self.sampler.pattern_of(expr) is not None

    def _atom(self, expr: Matrix) -> Lowered:
        if isinstance(expr, (Centering, DiagMatrix)):  # never written out, data or not
            return self.rule_of(expr)(expr)
        if self.is_data(expr):
            return 1.0, self.data(expr)
        if (pattern := self.sampler.pattern_of(expr)) is not None:
            return self.sampler.lower(expr, pattern)
        return self.rule_of(expr)(expr)

    @rule(Centering)
    def centering(self, node: Centering) -> Lowered:
        """Subtracts means; never stored."""
        size = int(self.number(node.rows))
        return 1.0, self.graph.add("centering", (), (size, size))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Lowered:
        """Scales rows or columns; only the column is stored."""
        coefficient, column = self.lower(node.args[0])
        size = max(self.graph.shape(column))
        return coefficient, self.graph.add("diag", (column,), (size, size))

    @rule(sp.MatrixSymbol)
    def weight(self, node: sp.MatrixSymbol) -> Lowered:
        """Part of the state."""
        return 1.0, self.graph.add("weight", (), self.shapes[node.name], node.name)

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Lowered:
        """The same array, read the other way."""
        coefficient, ref = self._atom(node.arg)
        return coefficient, ref.T

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Lowered:
        """A product that stands in another one as a factor."""
        return self.lower(node)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Lowered:
        """Linear combination."""
        return self._total(node.args)

    @rule(sp.HadamardProduct, sp.HadamardPower)
    def hadamards(self, node: Matrix) -> Lowered:
        """Product of powers, entry by entry."""
        coefficient, parts = 1.0, []
        for base, exponent in hadamard_factors(node):
            inner, ref = self.lower(base)
            coefficient *= inner**exponent
            parts.append((self.densified(ref), exponent))
        return coefficient, self.graph.hadamard(parts)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Lowered:
        """A function of one variable, entry by entry."""
        coefficient, ref = self.lower(node.expr)
        return apply_function(self.graph, node.function, coefficient, self.densified(ref))

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Lowered:
        """What it is made of."""
        return self.lower(canonical(self.made_of(node)))

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Lowered:
        """Dense; a base that is not sparse enters as its logarithm."""
        coefficient, ref = self.lower_dense(node.args[0])
        if node.base is not None:
            ref = self.graph.sum([(coefficient, ref), (1.0, self._log(node.base))])
            coefficient = 1.0
        ref = self.graph.unflipped(ref)
        return 1.0, self.graph.add("softmax", (ref,), self.graph.shape(ref), coefficient)

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Lowered:
        """Rows scaled by a column, which the slope reads too."""
        return self.lower(written_out(node))

    def _log(self, base: Matrix) -> Ref:
        value = self.folded(base)
        with np.errstate(divide="ignore"):
            logarithm = np.log(value.toarray() if sparse.issparse(value) else value)
        return self.graph.add_data(logarithm, ("log", base))

    def densified(self, ref: Ref) -> Ref:
        """The same matrix as an array without holes."""
        node = self.graph.nodes[ref.node]
        if node.op == "pattern":
            return self.graph.densify(ref)
        if node.op == "centering":
            size = node.shape[0]
            return self.graph.add_data(np.eye(size) - 1.0 / size, ("dense", "centering", size))
        if node.op == "diag":
            return self.graph.densify(self._diagonal_pattern(ref))
        if self.graph.operand(ref).storage != "csr":
            return ref
        dense = self.graph.add_data(self.graph.value(Ref(ref.node)).toarray(), ("dense", node.payload))
        return dense.T if ref.flipped else dense

    def _diagonal_pattern(self, ref: Ref) -> Ref:
        node = self.graph.nodes[ref.node]
        eye = self.graph.add_data(sparse.eye_array(node.shape[0], format="csr"), ("eye", node.shape[0]))
        column = (
            self.graph.unflipped(node.args[0]) if self.graph.shape(node.args[0])[1] == 1 else node.args[0].T
        )
        return self.graph.add("pattern", (self.graph.unflipped(column), eye), node.shape, "diag")

    def data(self, expr: Matrix) -> Ref:
        """Fold a data expression; an expression and its transpose share one array."""
        flipped = transpose(expr)
        if flipped in self.folds and expr not in self.folds:
            return self.graph.add_data(self.folds[flipped], flipped).T
        return self.graph.add_data(self.folded(expr), expr)

    def folded(self, expr: Matrix) -> Any:
        """Value of a data expression: sparse if few of its entries are not zero."""
        if expr not in self.folds:
            value = evaluate(expr, self.values, self.sizes)
            if sparse.issparse(value):
                value = value.tocsr()
                if value.nnz > SPARSE_DENSITY * value.shape[0] * value.shape[1]:
                    value = value.toarray()
            self.folds[expr] = value
        return self.folds[expr]

    def _chain(self, factors: list[Matrix]) -> Lowered:
        factors, coefficient, refs = self._fuse_softmax(factors), 1.0, []
        while (found := self.readings.joined(factors)) is not None:
            place, inner, ref = found
            coefficient *= inner
            factors = [*factors[: place.start], ref, *factors[place.stop :]]
        if len(factors) == 1:
            return coefficient, factors[0]
        for factor in factors:
            if isinstance(factor, Ref):
                refs.append(factor)
                continue
            inner, ref = self._atom(factor)
            coefficient *= inner
            refs.append(ref)
        return coefficient, self.multiplier.multiply(factors, refs)

    def _fuse_softmax(self, factors: list[Any]) -> list[Any]:
        """Replace C^T diag(w) softmax(C X) by one operation that never stores the (n, d_vocab) softmax."""
        for i in range(len(factors) - 2):
            bag, weight, soft = factors[i : i + 3]
            if not (self._is_bag_softmax(soft) and isinstance(weight, DiagMatrix) and self.is_data(weight)):
                continue
            scalar, inner = split(soft.args[0])
            if bag != transpose(inner[0]):
                continue
            coefficient, x = self.lower_dense(product(scalar, *inner[1:]))
            x = self.graph.unflipped(x)
            bags = sparse.csr_array(self.values[str(inner[0])])
            counts, column = self.graph.add_data(bags, ("csr", inner[0])), self.data(weight.args[0])
            cost = SPARSE_WEIGHT * 2.0 * bags.nnz * self.graph.shape(x)[1]
            fused = self.graph.add(
                "bag_softmax", (x, counts, column), self.graph.shape(x), coefficient, cost=cost
            )
            return [*factors[:i], fused, *factors[i + 3 :]]
        return factors

    def _opens_with_bags(self, term: Matrix) -> bool:
        return self._is_bag_softmax(split(term)[1][0])

    def _is_bag_softmax(self, expr: Any) -> bool:
        """softmax(C X) with counts C: every row a sum of rows of X, which are taken as often as C says."""
        if not isinstance(expr, RowSoftmax) or expr.base is not None:
            return False
        _, inner = split(expr.args[0])
        bag = len(inner) > 1 and isinstance(inner[0], sp.MatrixSymbol)
        counts = self.values.get(inner[0].name) if bag else None
        if counts is None:
            return False
        entries = sparse.csr_array(counts).data
        return bool((entries == np.floor(entries)).all() and (entries >= 0.0).all())


def _summed_along_rows(factors: list[Matrix]) -> tuple[Matrix, Matrix] | None:
    """A and B of (A o B) 1."""
    if len(factors) != 2 or not isinstance(factors[1], sp.OneMatrix) or factors[1].cols != 1:
        return None
    parts = [base for base, exponent in hadamard_factors(factors[0]) for _ in range(exponent)]
    return (parts[0], parts[1]) if len(parts) == 2 else None
