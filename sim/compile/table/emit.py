"""From a graph of operations to the table that the interpreter carries out, and the buffers it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np
import scipy.sparse as sparse

from ...kernel import operations
from ...kernel.alignment import whole_lines
from ..graph import Graph
from ..rows import row_blocks
from ..rows.row_blocks import Stretch, in_stretches, lives, one_by_one
from ..rows.row_teams import in_teams
from .memory import LEAVES, Memory, Slot, memory_for, wanted_nodes
from .table_writer import Array, TableWriter, Terms


@dataclass(frozen=True, eq=False)
class Kernel:
    """A right-hand side as data: the table of operations with sparse indices, numbers, and the scratch it needs."""

    floats: np.ndarray
    ints: np.ndarray
    work_size: int


class Emitter(TableWriter):
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
        super().__init__(graph)
        self.layout, self.outputs, self.blocks = layout, outputs, blocks

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
