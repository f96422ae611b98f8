"""From a graph of operations to the text of one numba kernel, and the buffers it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sparse

from .graph import Graph, Node, Ref

HEADER = '''"""Generated right-hand side; the file's name is the hash of this text."""

import math

import numpy as np

from smallinit.sim import _kernels, _pattern_kernels
from smallinit.sim._cache import compiled
from smallinit.sim.problem import RHS_SIGNATURE


@compiled(RHS_SIGNATURE)
def rhs(t, y, out, floats, ints, work):
'''
Terms = list[tuple[float, Ref]]
ARITY = 4  # operands of one element-wise kernel; more take several passes


@dataclass(frozen=True)
class Kernel:
    """Source text and bound data of a right-hand side; the text does not depend on sizes that only offset buffers."""

    text: str
    floats: np.ndarray
    ints: np.ndarray
    work_size: int


@dataclass
class Emitter:
    """Writes one kernel.

    The integer buffer starts with a table of (start, stop, rows, cols) for every array, so that the same text serves
    every size; sparse index arrays follow.
    """

    graph: Graph
    layout: Mapping[str, tuple[int, tuple[int, ...]]]
    outputs: Mapping[str, Terms]
    lines: list[str] = field(default_factory=list)
    table: list[tuple[int, int, int, int]] = field(default_factory=list)
    floats: list[np.ndarray] = field(default_factory=list)
    ints: list[np.ndarray] = field(default_factory=list)
    float_size: int = 0
    int_size: int = 0
    names: dict[Ref, str] = field(default_factory=dict)
    free: list[tuple[int, int]] = field(default_factory=list)
    work_size: int = 0

    def run(self) -> Kernel:
        """Emit all operations and return the kernel."""
        direct = self._direct_outputs()
        last_use = self._last_uses()
        placed: dict[int, tuple[int, int]] = {}
        for index, node in enumerate(self.graph.nodes):
            if index not in last_use and index not in direct:
                continue
            if node.op == "weight":
                self._view(index, "y", self.layout[node.payload][0], node.shape)
            elif node.op == "data":
                self._data(index)
            elif node.op not in ("centering", "diag", "pattern"):
                placed |= self._place(index, node, direct)
                self._operation(index, node)
            self._release(index, last_use, placed)
        for weight, terms in self.outputs.items():
            self._output(weight, terms, direct)
        return self._kernel()

    def _kernel(self) -> Kernel:
        header = np.array(self.table, dtype=np.int64).ravel()
        shift = header.size
        for row, kind in enumerate(self._kinds):
            if kind == "ints":
                header[4 * row : 4 * row + 2] += shift
        text = HEADER + "\n".join("    " + line for line in self.lines) + "\n"
        floats = np.concatenate([*self.floats, np.zeros(1)])
        return Kernel(
            text, floats, np.concatenate([header, *self.ints]).astype(np.int64), max(self.work_size, 1)
        )

    _kinds: list[str] = field(default_factory=list)

    def _slice(self, buffer: str, start: int, stop: int, shape: tuple[int, ...]) -> str:
        h = 4 * len(self.table)
        rows, cols = (shape[0], shape[1]) if len(shape) == 2 else (shape[0], 1)
        self.table.append((start, stop, rows, cols))
        self._kinds.append(buffer)
        return f"_kernels.{'matrix' if len(shape) == 2 else 'part'}({buffer}, ints, {h})"

    def _view(self, index: int, buffer: str, start: int, shape: tuple[int, int]) -> None:
        self.lines.append(f"n{index} = {self._slice(buffer, start, start + shape[0] * shape[1], shape)}")
        self.names[Ref(index)] = f"n{index}"

    def _data(self, index: int) -> None:
        value = self.graph.data[index]
        if not sparse.issparse(value):
            start = self._store_floats(value)
            self._view(index, "floats", start, value.shape)
            return
        for ref in self._csr_uses(index):
            array = (value.T if ref.flipped else value).tocsr()
            array.sum_duplicates()
            name = f"n{index}{'t' if ref.flipped else ''}"
            start = self._store_floats(array.data)
            self.lines.append(f"{name}v = {self._slice('floats', start, start + array.nnz, (array.nnz,))}")
            for letter, part in (("i", array.indices), ("p", array.indptr)):
                first = self.int_size
                self.ints.append(part.astype(np.int64))
                self.int_size += part.size
                self.lines.append(
                    f"{name}{letter} = {self._slice('ints', first, first + part.size, (part.size,))}"
                )
            self.names[ref] = f"{name}v, {name}i, {name}p"

    def _csr_uses(self, index: int) -> list[Ref]:
        """Orientations in which operations read a sparse array."""
        used = {r for node in self.graph.nodes for r in node.args if r.node == index}
        used |= {r for terms in self.outputs.values() for _, r in terms if r.node == index}
        return sorted(used, key=lambda r: r.flipped)

    def _store_floats(self, value: np.ndarray) -> int:
        start = self.float_size
        self.floats.append(np.ascontiguousarray(value, dtype=np.float64).ravel())
        self.float_size += value.size
        return start

    def _last_uses(self) -> dict[int, int]:
        """Node -> index of the last node that reads it; outputs read at the end."""
        last: dict[int, int] = {}
        for terms in self.outputs.values():
            for _, ref in terms:
                last[ref.node] = len(self.graph.nodes)
        for index in range(len(self.graph.nodes) - 1, -1, -1):
            if index in last:
                for ref in self._reads(self.graph.nodes[index]):
                    last[ref.node] = max(last.get(ref.node, -1), index)
        return last

    def _reads(self, node: Node) -> list[Ref]:
        return list(node.args)

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

    def _place(
        self, index: int, node: Node, direct: Mapping[int, tuple[str, bool]]
    ) -> dict[int, tuple[int, int]]:
        """Give an operation its buffer: part of `out`, or the smallest free piece of `work` that holds it."""
        size = node.shape[0] * node.shape[1]
        if index in direct:
            weight, flipped = direct[index]
            shape = node.shape[::-1] if flipped else node.shape
            self.lines.append(f"o{index} = {self._slice('out', *self._span(weight), shape)}")
            self.names[Ref(index)] = f"o{index}.T" if flipped else f"o{index}"
            return {}
        start, room = self._allocate(size)
        self._view(index, "work", start, node.shape)
        return {index: (start, room)}

    def _span(self, weight: str) -> tuple[int, int]:
        offset, shape = self.layout[weight]
        return offset, offset + int(np.prod(shape))

    def _allocate(self, size: int) -> tuple[int, int]:
        fitting = [piece for piece in self.free if piece[1] >= size]
        if fitting:
            piece = min(fitting, key=lambda p: p[1])
            self.free.remove(piece)
            return piece
        start = self.work_size
        self.work_size += size
        return start, size

    def _release(self, index: int, last_use: Mapping[int, int], placed: dict[int, tuple[int, int]]) -> None:
        for node in [n for n in placed if last_use.get(n) == index]:
            self.free.append(placed.pop(node))

    def _name(self, ref: Ref) -> str:
        if ref in self.names:
            return self.names[ref]
        base = self.names[Ref(ref.node)]
        return base[:-2] if base.endswith(".T") else base + ".T"

    def _element(self, ref: Ref) -> str:
        return f"{self.names[Ref(ref.node)]}[{'j, i' if ref.flipped else 'i, j'}]"

    def _operation(self, index: int, node: Node) -> None:
        target, emit = self._name(Ref(index)), getattr(self, f"_emit_{node.op}")
        emit(index, node, target)

    def _emit_matmul(self, index: int, node: Node, target: str) -> None:
        a, b = node.args
        if self.graph.operand(a).storage == "csr":
            self.lines.append(f"_kernels.csr_dot({self.names[a]}, {self._name(b)}, {target})")
        elif target.endswith(".T"):
            self.lines.append(f"np.dot({self._name(b.T)}, {self._name(a.T)}, {target[:-2]})")
        else:
            self.lines.append(f"np.dot({self._name(a)}, {self._name(b)}, {target})")

    def _emit_centred(self, index: int, node: Node, target: str) -> None:
        self.lines.append(f"_kernels.centre({self._name(node.args[0])}, {node.payload}, {target})")

    def _emit_scaled(self, index: int, node: Node, target: str) -> None:
        x, column = node.args
        u = f"{self.names[Ref(column.node)]}.reshape({self.names[Ref(column.node)]}.size)"
        self.lines.append(f"_kernels.scale({self._name(x)}, {u}, {node.payload}, {target})")

    def _emit_copy(self, index: int, node: Node, target: str) -> None:
        self._combine(target, [(1.0, node.args[0])])

    def _emit_sum(self, index: int, node: Node, target: str) -> None:
        self._combine(target, list(zip(node.payload, node.args, strict=True)))

    def _emit_hadamard(self, index: int, node: Node, target: str) -> None:
        pairs = [(r, power) for r, power in zip(node.args, node.payload, strict=True)]
        for k in range(0, len(pairs), ARITY):
            part = pairs[k : k + ARITY]
            arguments = ", ".join(f"{self._name(r)}, {power}" for r, power in part)
            kernel = f"multiply{len(part)}" if k == 0 else f"multiply_into{len(part)}"
            self.lines.append(f"_kernels.{kernel}({arguments}, {target})")

    def _combine(self, target: str, terms: Terms) -> None:
        """A linear combination by calls: written out as loops, a long flow would take numba minutes to compile."""
        for k in range(0, len(terms), ARITY):
            part = terms[k : k + ARITY]
            arguments = ", ".join(f"{float(c)!r}, {self._name(r)}" for c, r in part)
            kernel = f"add{len(part)}" if k == 0 else f"add_into{len(part)}"
            self.lines.append(f"_kernels.{kernel}({arguments}, {target})")

    def _emit_map(self, index: int, node: Node, target: str) -> None:
        self._loop(target, node.payload, before=f"x = {self._element(node.args[0])}")

    def _emit_softmax(self, index: int, node: Node, target: str) -> None:
        self.lines.append(f"_kernels.row_softmax({self._name(node.args[0])}, {node.payload!r}, {target})")

    def _emit_bag_softmax(self, index: int, node: Node, target: str) -> None:
        x, counts, column = node.args
        start, room = self._allocate((node.shape[0] + 1) * node.shape[1])
        scratch = self._slice("work", start, start + room, (room,))
        self.free.append((start, room))
        w = f"{self.names[Ref(column.node)]}.reshape({self.names[Ref(column.node)]}.size)"
        arguments = f"{self._name(x)}, {node.payload!r}, {self.names[counts]}, {w}, {target}, {scratch}"
        self.lines.append(f"_kernels.bag_softmax({arguments})")

    def _at_pattern(self, kernel: str, arrays: list[Ref], pattern: Ref, *rest: str) -> None:
        names = [*(self._name(r) for r in arrays), self.names[pattern], *rest]
        self.lines.append(f"_pattern_kernels.{kernel}({', '.join(names)})")

    def _emit_sddmm(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("sddmm", list(node.args[:2]), node.args[2], target)

    def _emit_gather(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("gather", [node.args[0]], node.args[1], repr(node.payload), target)

    def _emit_gather_rows(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("gather_column", [node.args[0]], node.args[1], "0", target)

    def _emit_gather_cols(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("gather_column", [node.args[0]], node.args[1], "1", target)

    def _emit_segment_softmax(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("segment_softmax", [node.args[0]], node.args[1], repr(node.payload), target)

    def _emit_pattern_dot(self, index: int, node: Node, target: str) -> None:
        values, pattern, b = node.args
        kernel = "pattern_dot_transposed" if node.payload else "pattern_dot"
        self._at_pattern(kernel, [values], pattern, self._name(b), target)

    def _emit_densify(self, index: int, node: Node, target: str) -> None:
        self._at_pattern("densify", [node.args[0]], node.args[1], target)

    def _loop(self, target: str, value: str, before: str | None = None) -> None:
        self.lines += [f"for i in range({target}.shape[0]):", f"    for j in range({target}.shape[1]):"]
        self.lines += [f"        {before}"] if before else []
        self.lines.append(f"        {target}[i, j] = {value}")

    def _output(self, weight: str, terms: Terms, direct: Mapping[int, tuple[str, bool]]) -> None:
        if len(terms) == 1 and terms[0][1].node in direct:
            return
        _, shape = self.layout[weight]
        name = f"out_{weight}"
        self.lines.append(f"{name} = {self._slice('out', *self._span(weight), tuple(shape))}")
        if terms:
            self._combine(name, terms)
        else:
            self.lines.append(f"{name}[:] = 0.0")
