"""The operations of one right-hand side: hash-consed nodes, so that equal sub-expressions exist once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sparse

from ...theory.algebra.chain import ELEMENT_WEIGHT, Operand, product_cost


class Ref(NamedTuple):
    """A node's value, or its transpose."""

    node: int
    flipped: bool = False

    @property
    def T(self) -> Ref:
        """The transpose."""
        return Ref(self.node, not self.flipped)


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op : str
        "weight", "data", "centering", "diag", "pattern" (leaves), "matmul", "centred", "scaled", "copy", "sum",
        "hadamard", "map", "softmax", "bag_softmax", "stacked", "row_dot"; columns of values at a pattern: "sddmm",
        "gather", "gather_rows", "gather_cols", "segment_softmax"; from such a column: "pattern_dot", "densify".
    args : tuple of Ref
        Operands.
    shape : tuple of int
        Rows and columns.
    payload : hashable
        Weight name, data key, coefficients and constant, powers, or function with scale and parameter, by `op`.
    """

    op: str
    args: tuple[Ref, ...]
    shape: tuple[int, int]
    payload: Any = None


class Mark(NamedTuple):
    """How far a graph had come."""

    nodes: int
    data: int
    products: int
    cost: float


@dataclass
class Graph:
    """Nodes in order of evaluation, the data they read, and what one evaluation costs in dense flops."""

    nodes: list[Node] = field(default_factory=list)
    data: dict[int, Any] = field(default_factory=dict)
    products: dict[tuple[Ref, ...], Ref] = field(default_factory=dict)
    cost: float = 0.0
    _index: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def add(
        self, op: str, args: tuple[Ref, ...], shape: tuple[int, int], payload: Any = None, cost: float = 0.0
    ) -> Ref:
        """Return the node, new or existing; only a new one costs."""
        key = op, args, shape, payload
        place = self._index.get(key)
        if place is None:
            place = self._index[key] = len(self.nodes)
            self.nodes.append(Node(op, args, shape, payload))
            self.cost += cost
        return Ref(place)

    def mark(self) -> Mark:
        """How far it has come, to go back to."""
        return Mark(len(self.nodes), len(self.data), len(self.products), self.cost)

    def back_to(self, mark: Mark) -> None:
        """Forget all that was added since."""
        del self.nodes[mark.nodes :]
        for kept, size in ((self._index, mark.nodes), (self.data, mark.data), (self.products, mark.products)):
            shorten(kept, size)
        self.cost = mark.cost

    def copy(self) -> Graph:
        """As it is now, whatever is added to the other."""
        return Graph(list(self.nodes), dict(self.data), dict(self.products), self.cost, dict(self._index))

    def add_data(self, value: Any, key: Any) -> Ref:
        """Return the node of an array known before the first evaluation; `key` identifies it."""
        ref = self.add("data", (), tuple(value.shape), key)
        if ref.node not in self.data:
            self.data[ref.node] = value.tocsr() if sparse.issparse(value) else np.ascontiguousarray(value)
        return ref

    def value(self, ref: Ref) -> Any:
        """Array of a data node, transposed as the reference says."""
        array = self.data[ref.node]
        return array.T if ref.flipped else array

    def shape(self, ref: Ref) -> tuple[int, int]:
        """Rows and columns of a reference."""
        rows, cols = self.nodes[ref.node].shape
        return (cols, rows) if ref.flipped else (rows, cols)

    def operand(self, ref: Ref) -> Operand:
        """What the cost of multiplying by this reference depends on."""
        node = self.nodes[ref.node]
        if node.op in ("centering", "diag"):
            return Operand(node.op, node.shape)
        if node.op == "pattern":
            return Operand("csr", self.shape(ref), self.data[node.args[1].node].nnz)
        if node.op == "data" and sparse.issparse(self.data[ref.node]):
            return Operand("csr", self.shape(ref), self.data[ref.node].nnz)
        return Operand("dense", self.shape(ref))

    def matmul(self, a: Ref, b: Ref) -> Ref:
        """Product of two references, each computed in one canonical orientation."""
        left, right = self.operand(a).storage, self.operand(b).storage
        if right != "dense":
            return self.matmul(b.T, a.T).T  # kernels have the sparse, diagonal or centring factor on the left
        if left in ("centering", "diag"):
            return self._scaled_rows(a, b)
        if self.nodes[a.node].op == "pattern":
            return self._pattern_dot(a, self.unflipped(b))
        if left == "csr":
            return self._product(a, self.unflipped(b))
        rows, cols = self.shape(a)[0], self.shape(b)[1]
        if (cols, b.node, not b.flipped) > (rows, a.node, a.flipped):
            return self._product(b.T, a.T).T
        return self._product(a, b)

    def _product(self, a: Ref, b: Ref) -> Ref:
        shape = (self.shape(a)[0], self.shape(b)[1])
        return self.add("matmul", (a, b), shape, cost=product_cost(self.operand(a), self.operand(b)))

    def _pattern_dot(self, a: Ref, b: Ref) -> Ref:
        shape = (self.shape(a)[0], self.shape(b)[1])
        args = (*self.nodes[a.node].args, b)
        return self.add(
            "pattern_dot", args, shape, int(a.flipped), product_cost(self.operand(a), self.operand(b))
        )

    def densify(self, ref: Ref) -> Ref:
        """A matrix with a pattern, written out."""
        node = self.nodes[ref.node]
        cost = ELEMENT_WEIGHT * node.shape[0] * node.shape[1]
        return Ref(self.add("densify", node.args, node.shape, cost=cost).node, ref.flipped)

    def _scaled_rows(self, a: Ref, b: Ref) -> Ref:
        """Centring or diagonal scaling, in the orientation in which the operand is stored."""
        node, stored = self.nodes[a.node], Ref(b.node)
        op, args = ("centred", (stored,)) if node.op == "centering" else ("scaled", (stored, *node.args))
        shape = self.shape(stored)
        return Ref(
            self.add(op, args, shape, int(b.flipped), ELEMENT_WEIGHT * shape[0] * shape[1]).node, b.flipped
        )

    def unflipped(self, ref: Ref) -> Ref:
        """The same value stored row by row."""
        if not ref.flipped:
            return ref
        shape = self.shape(ref)
        return self.add("copy", (ref,), shape, cost=ELEMENT_WEIGHT * shape[0] * shape[1])

    def sum(self, terms: Sequence[tuple[float, Ref]], constant: float = 0.0) -> Ref:
        """Linear combination of references, plus a constant in every entry."""
        terms = sorted(terms, key=lambda term: term[1].node)
        payload = tuple(c for c, _ in terms), constant
        return self._elementwise("sum", tuple(r for _, r in terms), payload)

    def combination(self, terms: Sequence[tuple[float, Ref]]) -> tuple[float, Ref]:
        """Coefficient and reference of a linear combination; those that differ by a factor alone are one array."""
        first, terms = _without_factor(sorted(terms, key=lambda term: term[1].node))
        return first, self.sum(terms)

    def stacked(self, terms: Sequence[tuple[float, Ref]]) -> tuple[float, Ref]:
        """Coefficient and reference of matrices times coefficients, one below the other."""
        first, terms = _without_factor(terms)
        rows, cols = sum(self.shape(r)[0] for _, r in terms), self.shape(terms[0][1])[1]
        payload, args = tuple(c for c, _ in terms), tuple(r for _, r in terms)
        return first, self.add("stacked", args, (rows, cols), payload, cost=ELEMENT_WEIGHT * rows * cols)

    def row_dot(self, x: Ref, y: Ref) -> Ref:
        """Sums of x o y along the rows, as a column."""
        shape = self.shape(x)
        args = tuple(sorted((self.unflipped(x), self.unflipped(y)), key=lambda ref: ref.node))
        return self.add("row_dot", args, (shape[0], 1), cost=ELEMENT_WEIGHT * shape[0] * shape[1])

    def hadamard(self, parts: Sequence[tuple[Ref, int]]) -> Ref:
        """Product of powers of references, entry by entry."""
        parts = sorted(parts, key=lambda part: part[0].node)
        return self._elementwise("hadamard", tuple(r for r, _ in parts), tuple(p for _, p in parts))

    def map(self, x: Ref, function: str, scale: float = 1.0, parameter: float = 0.0) -> Ref:
        """A function of `operations.FUNCTIONS` applied to scale * x, entry by entry."""
        return self._elementwise("map", (x,), (function, scale, parameter))

    def _elementwise(self, op: str, args: tuple[Ref, ...], payload: Any) -> Ref:
        """An operation in the orientation in which fewest references are flipped."""
        flip = 2 * sum(r.flipped for r in args) > len(args)
        args = tuple(r.T for r in args) if flip else args
        shape = self.shape(args[0])
        ref = self.add(op, args, shape, payload, cost=ELEMENT_WEIGHT * shape[0] * shape[1] * len(args))
        return ref.T if flip else ref


def shorten(found: dict[Any, Any], size: int) -> None:
    """Take out of a dictionary what came into it last, down to a size."""
    while len(found) > size:
        found.popitem()


def _without_factor(terms: Sequence[tuple[float, Ref]]) -> tuple[float, Sequence[tuple[float, Ref]]]:
    """A factor that all coefficients share but for their signs, and the terms without it."""
    first = terms[0][0]
    if first == 0.0 or any(abs(c) != abs(first) for c, _ in terms):
        return 1.0, terms
    return first, [(c / first, r) for c, r in terms]
