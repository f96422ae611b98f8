"""What each operation of a graph is in the table that the interpreter carries out, with the numbers that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...kernel import operations
from ..graph import Graph, Node, Ref
from ..rows.row_blocks import by_rows
from .memory import LEAVES, Memory, bag_scratch

Terms = Sequence[tuple[float, Ref]]
Array = tuple[int, int, int, int, bool]  # buffer, start, rows and columns as stored, transposed
NEAR_AT_HAND = 2**12  # numbers that the nearest cache holds
MANY_TO_ONE = 16  # entries per row of such a result that make it worth while to go through it for each


@dataclass(eq=False)
class _Store:
    """Arrays laid end to end."""

    dtype: type
    parts: list[np.ndarray] = field(default_factory=list)
    size: int = 0

    def add(self, value: Any) -> int:
        """Append an array and return where it starts."""
        start = self.size
        self.parts.append(np.ascontiguousarray(value, dtype=self.dtype).ravel())
        self.size += self.parts[-1].size
        return start

    def joined(self) -> np.ndarray:
        return np.concatenate([*self.parts, np.zeros(0, self.dtype)])


class TableWriter:
    """Writes operations one after another, whole or for some of their rows, once it is known where arrays lie.

    Parameters
    ----------
    graph : Graph
        Operations in order of evaluation.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.table: list[int] = []
        self.count = 0
        self.floats, self.indices = _Store(np.float64), _Store(np.int64)
        self.arrays: dict[int, Array] = {}
        self.sparse: dict[Ref, list[int]] = {}
        self.columns: dict[Ref, Any] = {}  # sparse data, column by column
        self.memory = Memory()
        self.rows: range | None = None  # these, within a block
        self.totals: tuple[int, ...] = ()  # nodes that these rows are summed to
        self.begun = False  # whether there is a sum of rows before these

    def _emit(self, index: int) -> None:
        """Write the operation of a node, or of the rows at hand by the same rows of what it reads row by row."""
        node, whole = self.graph.nodes[index], self.arrays
        if node.op in LEAVES:
            return
        if self.rows is not None:
            summed = index in self.totals
            met = range(len(node.args)) if summed else by_rows(self.graph, node)
            parts = [node.args[k].node for k in met] + [index] * (not summed)
            self.arrays = whole | {k: self._part(k, self.rows) for k in parts if k in whole}
        getattr(self, f"_emit_{node.op}")(Ref(index), node)
        self.arrays = whole

    def _part(self, index: int, rows: range) -> Array:
        """Some rows of an array; of one that is read in their block alone, there are no others."""
        buffer, start, _, cols, flipped = self.arrays[index]
        before = 0 if index in self.memory.passing else rows.start * cols
        return buffer, start + before, len(rows), cols, flipped

    def _csr(self, ref: Ref) -> list[int]:
        """Descriptor of sparse data, stored once for each orientation in which it is read."""
        if ref not in self.sparse:
            self.sparse[ref] = self._stored(self.graph.value(ref).tocsr())
        return self.sparse[ref]

    def _csr_part(self, ref: Ref, rows: range, summed: bool) -> list[int]:
        """The same of some rows; or, for a sum over these, of as many columns."""
        if summed:
            if ref not in self.columns:
                self.columns[ref] = self.graph.value(ref).tocsc()
            return self._stored(self.columns[ref][:, rows.start : rows.stop].tocsr())
        values, indices, indptr, _, nnz = self._csr(ref)  # pointers count from the first value
        return [values, indices, indptr + rows.start, len(rows), nnz]

    def _stored(self, array: Any) -> list[int]:
        array.sum_duplicates()
        parts = [self.floats.add(array.data), self.indices.add(array.indices), self.indices.add(array.indptr)]
        return [*parts, array.shape[0], array.nnz]

    def _array(self, ref: Ref) -> Array:
        *stored, flipped = self.arrays[ref.node]
        return (*stored, flipped != ref.flipped)  # pyright: ignore[reportReturnType]

    def _plain(self, ref: Ref) -> Array:
        """An operand whose operation reads it row by row."""
        array = self._array(ref)
        if array[4]:
            raise RuntimeError(f"operand {ref} is stored transposed; `graph.unflipped` is missing.")
        return array

    def _write(self, code: int, *parts: Any) -> None:
        numbers = [int(n) for part in parts for n in (part if isinstance(part, (tuple, list)) else (part,))]
        self.table += [code, len(numbers) + 2, *numbers]
        self.count += 1

    def _combine(self, target: Array, terms: Terms, constant: float = 0.0) -> None:
        numbers = self.floats.add([constant, *(c for c, _ in terms)])
        self._sum(target, numbers, [self._array(r) for _, r in terms])

    def _sum(self, target: Array, numbers: int, operands: Sequence[Array]) -> None:
        self._write(operations.SUM, len(operands), numbers, target, *operands)

    def _emit_matmul(self, target: Ref, node: Node) -> None:
        a, b = node.args
        if self.graph.operand(a).storage == "csr":
            self._sparse_product(target, a, b)
            return
        if self._array(target)[4]:
            target, a, b = target.T, b.T, a.T
        added = target.node in self.totals and self.begun
        code = operations.DOT_ADDED if added else operations.DOT
        self._write(code, self._plain(target), self._array(a), self._array(b))

    def _sparse_product(self, target: Ref, a: Ref, b: Ref) -> None:
        arrays = self._plain(target), self._plain(b)
        if self.rows is not None:
            summed = target.node in self.totals
            part = self._csr_part(a, self.rows, summed)
            self._write(operations.CSR_DOT, *arrays, part, summed and self.begun)
        elif self._meets_few_rows(self.graph.nodes[target.node]):
            self._write(operations.CSR_TURNED, *arrays, self._csr(a.T))
        else:
            self._write(operations.CSR_DOT, *arrays, self._csr(a), False)

    def _meets_few_rows(self, node: Node) -> bool:
        """Whether a result is so small that it had better be gone through for every row that is read."""
        rows, cols = node.shape
        return rows * cols <= NEAR_AT_HAND and self.graph.operand(node.args[0]).nnz > MANY_TO_ONE * rows

    def _emit_stacked(self, target: Ref, node: Node) -> None:
        buffer, start, _, cols, _ = self._plain(target)
        for coefficient, ref in zip(node.payload, node.args, strict=True):
            rows = self.graph.shape(ref)[0]
            self._combine((buffer, start, rows, cols, False), [(coefficient, ref)])
            start += rows * cols

    def _emit_row_dot(self, target: Ref, node: Node) -> None:
        x, y = node.args
        self._write(operations.ROW_DOT, self._plain(target), self._plain(x), self._plain(y))

    def _emit_centred(self, target: Ref, node: Node) -> None:
        self._write(operations.CENTRE, self._plain(target), self._plain(node.args[0]), node.payload)

    def _emit_scaled(self, target: Ref, node: Node) -> None:
        x, column = node.args
        parts = self._plain(target), self._plain(x), self._plain(Ref(column.node))
        self._write(operations.SCALE, *parts, node.payload)

    def _emit_copy(self, target: Ref, node: Node) -> None:
        self._combine(self._plain(target), [(1.0, node.args[0])])

    def _emit_sum(self, target: Ref, node: Node) -> None:
        coefficients, constant = node.payload
        self._combine(self._plain(target), list(zip(coefficients, node.args, strict=True)), constant)

    def _emit_hadamard(self, target: Ref, node: Node) -> None:
        operands = [(*self._array(r), power) for r, power in zip(node.args, node.payload, strict=True)]
        self._write(operations.HADAMARD, len(operands), self._plain(target), *operands)

    def _emit_map(self, target: Ref, node: Node) -> None:
        function, scale, parameter = node.payload
        numbers = self.floats.add([scale, parameter])
        code = operations.FUNCTIONS.index(function)
        self._write(operations.MAP, code, numbers, self._plain(target), self._plain(node.args[0]))

    def _emit_softmax(self, target: Ref, node: Node) -> None:
        scale = self.floats.add([node.payload])
        self._write(operations.SOFTMAX, self._plain(target), self._plain(node.args[0]), scale)

    def _emit_bag_softmax(self, target: Ref, node: Node) -> None:
        x, counts, column = node.args
        scratch = (*self.memory.places["scratch", target.node], 1, bag_scratch(node), False)
        parts = self._plain(target), self._plain(x), self._csr(counts), self._plain(Ref(column.node)), scratch
        self._write(operations.BAG_SOFTMAX, *parts, self.floats.add([node.payload]))

    def _at_pattern(self, code: int, target: Ref, x: Ref, pattern: Ref, *rest: Any) -> None:
        self._write(code, self._plain(target), self._plain(x), self._csr(pattern), *rest)

    def _emit_sddmm(self, target: Ref, node: Node) -> None:
        a, b, pattern = node.args
        self._at_pattern(operations.SDDMM, target, a, pattern, self._plain(b))

    def _emit_gather(self, target: Ref, node: Node) -> None:
        self._at_pattern(operations.GATHER, target, *node.args, node.payload)

    def _emit_gather_rows(self, target: Ref, node: Node) -> None:
        self._at_pattern(operations.GATHER_COLUMN, target, *node.args, 0)

    def _emit_gather_cols(self, target: Ref, node: Node) -> None:
        self._at_pattern(operations.GATHER_COLUMN, target, *node.args, 1)

    def _emit_segment_softmax(self, target: Ref, node: Node) -> None:
        self._at_pattern(operations.SEGMENT_SOFTMAX, target, *node.args, self.floats.add([node.payload]))

    def _emit_pattern_dot(self, target: Ref, node: Node) -> None:
        values, pattern, b = node.args
        self._at_pattern(operations.PATTERN_DOT, target, values, pattern, self._plain(b), node.payload)

    def _emit_densify(self, target: Ref, node: Node) -> None:
        self._at_pattern(operations.DENSIFY, target, *node.args)
