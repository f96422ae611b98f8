"""From a graph of operations to the table that the interpreter carries out, and the buffers it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sparse

from ..kernel import operations
from ..kernel.alignment import whole_lines
from .graph import Graph, Node, Ref
from .memory import LEAVES, Memory, Slot, bag_scratch, memory_for, wanted_nodes
from .rows import row_blocks
from .rows.row_blocks import Stretch, by_rows, in_stretches, lives, one_by_one
from .rows.row_teams import in_teams

Terms = Sequence[tuple[float, Ref]]
Array = tuple[int, int, int, int, bool]  # buffer, start, rows and columns as stored, transposed
NEAR_AT_HAND = 2**12  # numbers that the nearest cache holds
MANY_TO_ONE = 16  # entries per row of such a result that make it worth while to go through it for each


@dataclass(frozen=True, eq=False)
class Kernel:
    """A right-hand side as data: the table of operations with sparse indices, numbers, and the scratch it needs."""

    floats: np.ndarray
    ints: np.ndarray
    work_size: int


class Emitter:
    """Writes one kernel.

    Parameters
    ----------
    graph : Graph
        Operations in order of evaluation.
    layout : dict
        Weight -> (offset in the flat state, shape).
    outputs : dict
        Weight -> terms that sum to dW/dt.
    blocks : bool, default True
        Whether large arrays are worked through block by block of rows, in parts that threads share where that suits
        (see `row_blocks` and `row_teams`), unless it takes more memory.
    """

    def __init__(
        self, graph: Graph, layout: Mapping[str, tuple[int, tuple[int, ...]]], outputs: Mapping[str, Terms],
        blocks: bool = True,
    ) -> None:  # fmt: skip
        self.graph, self.layout, self.outputs, self.blocks = graph, layout, outputs, blocks
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

    def run(self) -> Kernel:
        """Emit all operations and return the kernel."""
        direct = self._direct_outputs()
        for stretch in self._planned(direct):
            for index in stretch.nodes:
                self._place(index, direct)
            self.totals = stretch.totals
            if stretch.parts:
                self._emit_parts(stretch)
            else:
                self._emit_blocks(stretch.nodes, stretch.blocks)
            self.rows = None
        for weight, terms in self.outputs.items():
            if not (len(terms) == 1 and terms[0][1].node in direct):
                self._combine(self._output(weight), terms)
        ints = [self.count, len(self.table) + 2, *self.table]
        return Kernel(
            np.append(self.floats.joined(), 0.0),
            np.concatenate([np.array(ints, dtype=np.int64), self.indices.joined()]),
            max(self.memory.size, 1),
        )

    def _planned(self, direct: Mapping[int, tuple[str, bool]]) -> list[Stretch]:
        """Stretches of nodes in order; all are given places in memory."""
        wanted = wanted_nodes(self.graph, self.outputs)
        whole = one_by_one(wanted)
        self.memory = self._memory_of(whole, direct)
        for plan in (in_teams, in_stretches) if self.blocks else ():
            stretches = plan(self.graph, wanted, self.outputs, direct)
            if stretches is None:
                continue
            tried = self._memory_of(stretches, direct)
            if tried.size <= row_blocks.MOST * self.memory.size:
                self.memory = tried
                return stretches
        return whole

    def _emit_blocks(self, nodes: Sequence[int], blocks: Sequence[range | None]) -> None:
        self.begun = False
        for self.rows in blocks:
            for index in nodes:
                self._emit(index)
            self.begun = True

    def _emit_parts(self, stretch: Stretch) -> None:
        """Write parts that threads share, each with sums over its own rows, and add these up."""
        before, kept, parts = self.arrays, (self.table, self.count), list[list[int]]()
        sums: dict[int, list[Array]] = {t: [] for t in stretch.totals}
        for k, blocks in enumerate(stretch.shares):
            self.table, self.count = [], 0
            for t, found in sums.items():
                buffer, start = self.memory.places["sums", t]
                shape = self.graph.nodes[t].shape
                found.append((buffer, start + k * whole_lines(prod(shape)), *shape, False))
            self.arrays = before | {t: found[-1] for t, found in sums.items()}
            self._emit_blocks(stretch.nodes, blocks)
            parts.append([operations.PART, len(self.table) + 3, self.count, *self.table])
        (self.table, self.count), self.arrays = kept, before
        # code and length of a part come before its numbers
        first = operations.TEAM_HEAD + len(parts) + 2
        begins = accumulate([first, *(len(each) for each in parts[:-1])])
        self._write(operations.TEAM, 0, self.memory.own, len(parts), tuple(begins), *parts)
        for t, found in sums.items():
            buffer, start, rows, cols, flipped = self.arrays[t]
            operands: list[Array] = [(*each[:4], flipped) for each in found]
            ones = self.floats.add([0.0, *(1.0 for _ in found)])
            self._sum((buffer, start, rows, cols, False), ones, operands)

    def _data(self, index: int) -> None:
        value = self.graph.data[index]
        if not sparse.issparse(value):
            self.arrays[index] = (operations.FLOATS, self.floats.add(value), *value.shape, False)

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

    def _place(self, index: int, direct: Mapping[int, tuple[str, bool]]) -> None:
        """Give a node its buffer: that of the state or of data, its part of `out`, or where it was given a place."""
        node = self.graph.nodes[index]
        if node.op == "weight":
            self.arrays[index] = (operations.Y, self.layout[node.payload][0], *node.shape, False)
        elif node.op == "data":
            self._data(index)
        elif node.op in LEAVES:
            return  # operations read their parts
        elif index in direct:
            weight, flipped = direct[index]
            self.arrays[index] = (*self._output(weight)[:4], flipped)
        else:
            self.arrays[index] = (*self.memory.places[index], *node.shape, False)

    def _memory_of(self, stretches: Sequence[Stretch], direct: Mapping[int, tuple[str, bool]]) -> Memory:
        """Where all nodes lie; parts of the result are written by their products, or at the end as sums of others."""
        found, end = lives(stretches, self.graph, self.outputs)
        written = {weight: found[index].made for index, (weight, _) in direct.items()}
        places = {weight: self.layout[weight] for weight in self.outputs}
        slots = [Slot(start, prod(shape), written.get(w, end)) for w, (start, shape) in places.items()]
        return memory_for(self.graph, stretches, found, slots, direct)

    def _output(self, weight: str) -> Array:
        offset, shape = self.layout[weight]
        return (operations.OUT, offset, shape[0], shape[1], False)

    def _direct_outputs(self) -> dict[int, tuple[str, bool]]:
        """Products that are an equation's only term, wanted nowhere else: they are written straight to `out`."""
        uses = [r.node for node in self.graph.nodes for r in node.args]
        uses += [r.node for terms in self.outputs.values() for _, r in terms]
        direct = {}
        for weight, terms in self.outputs.items():
            if len(terms) == 1 and terms[0][0] == 1.0 and uses.count(terms[0][1].node) == 1:
                ref = terms[0][1]
                node = self.graph.nodes[ref.node]
                dense = all(self.graph.operand(r).storage == "dense" for r in node.args)
                if node.op == "matmul" and (dense or not ref.flipped):
                    direct[ref.node] = (weight, ref.flipped)
        return direct

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
