"""Stretches of operations that are worked through block by block of rows, so that what is between stays in the cache.

What does the same to every row of an array and looks at no other row (a function, a sum, a softmax, a sparse product)
takes as long as the array takes to come from memory and to go back. Several of these, one after the other, are carried
out for some rows at a time: what they alone read is as large as a block, and a row comes and goes once. A sparse
product that sums over the rows takes them as they come; that sum alone is in another order, and all other numbers are
the same to the last bit. Products of dense matrices stay whole: their threads wait for one another in each. Where
nearly all of the work is done row by row, threads share it otherwise: see `row_teams`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..graph import Graph, Node, Ref

Outputs = Mapping[str, Sequence[tuple[float, Ref]]]

LARGE = 2**20  # numbers of an array that no second cache holds
BLOCK = 2**16  # and of one of a block of rows, which that cache holds
LINE = 8  # rows that a block is a multiple of, so that each begins with a line of the cache
MOST = 1.0  # of the scratch memory that is taken without blocks: what waits for its block keeps alive what it reads
FEW = 4  # most rows of a sum over rows, for each of a block: it is gone through once a block
PARTS = 8  # of a stretch, at most: what threads take, whose sums are added up


@dataclass(frozen=True)
class Stretch:
    """Nodes that are evaluated together.

    Attributes
    ----------
    nodes : tuple of int
        In order of evaluation.
    rows, height : int
        How many rows they have, and how many are in a block; 0 where each is evaluated whole.
    totals : tuple of int
        Those that sum over these rows.
    parts : int
        How many parts the blocks make that threads share, see `row_teams`; 0 where one carries out all.
    """

    nodes: tuple[int, ...]
    rows: int = 0
    height: int = 0
    totals: tuple[int, ...] = ()
    parts: int = 0

    @property
    def blocks(self) -> list[range | None]:
        """Rows of each block; None where there are none."""
        if not self.rows:
            return [None]
        return [range(k, min(k + self.height, self.rows)) for k in range(0, self.rows, self.height)]

    @property
    def shares(self) -> list[list[range | None]]:
        """Blocks of each part, as even as can be."""
        blocks = self.blocks
        ends = [k * len(blocks) // self.parts for k in range(self.parts + 1)]
        return [blocks[first:last] for first, last in pairwise(ends)]


@dataclass(frozen=True)
class Life:
    """Places, in the order of stretches, at which a node is made and read for the last time.

    Attributes
    ----------
    made, read : int
        What blocks leave behind is made when the first begins; what all of them read is read until the last has ended.
    passing : bool
        Whether it is read by its own block alone.
    """

    made: int
    read: int
    passing: bool


def lives(stretches: Sequence[Stretch], graph: Graph, outputs: Outputs) -> tuple[dict[int, Life], int]:
    """Life of every node, and the place at which sums of outputs are formed."""
    place: dict[int, int] = {}
    home: dict[int, range] = {}  # places of the stretch
    for stretch in stretches:
        first = len(place)
        place |= {index: first + k for k, index in enumerate(stretch.nodes)}
        home |= dict.fromkeys(stretch.nodes, range(first, len(place)))
    totals = {index for stretch in stretches for index in stretch.totals}
    read = {ref.node: len(place) for terms in outputs.values() for _, ref in terms}
    for index, k in place.items():
        for ref in graph.nodes[index].args:
            until = k if home[ref.node] == home[index] else home[index][-1]
            read[ref.node] = max(read.get(ref.node, -1), until)
    found = {}
    for index, k in place.items():
        until, own = read.get(index, k), home[index]
        passing = len(own) > 1 and index not in totals and until in own
        found[index] = Life(k if passing else own[0], until, passing)
    return found, len(place)


def one_by_one(wanted: Collection[int]) -> list[Stretch]:
    """Nodes that are wanted, each evaluated whole."""
    return [Stretch((index,)) for index in sorted(wanted)]


def in_stretches(
    graph: Graph, wanted: Collection[int], outputs: Outputs, apart: Collection[int]
) -> list[Stretch]:
    """Nodes that are wanted, in stretches: what is evaluated by rows waits until something else reads it.

    Parameters
    ----------
    graph : Graph
        The operations.
    wanted : collection of int
        Nodes that are read.
    outputs : dict
        Weight -> terms that sum to dW/dt.
    apart : collection of int
        Nodes that have a place of their own, maybe as their transposes: they are not evaluated by rows.
    """
    plan = _Plan(graph, wanted, outputs, apart)
    for index in sorted(wanted):
        if index not in plan.sliced and index not in plan.done:
            plan.fetch(ref.node for ref in graph.nodes[index].args)
            plan.whole(index)
    plan.fetch(plan.sliced)
    return plan.stretches


class _Plan:
    """The stretches so far; `sliced` are the nodes evaluated by rows, with the operands that they read so."""

    def __init__(
        self, graph: Graph, wanted: Collection[int], outputs: Outputs, apart: Collection[int]
    ) -> None:
        self.graph, self.stretches, self.done = graph, list[Stretch](), set[int]()
        whole = {*apart, *(k for k in wanted if _dense_product(graph, graph.nodes[k]))}
        self.sliced = long_arrays(graph, wanted, whole)
        self.readers: dict[int, set[int | str]] = {k: set() for k in wanted}
        for reader, refs in self._reads(wanted, outputs):
            for ref in refs:
                self.readers[ref.node].add(reader)
        for k in sorted(wanted):
            if not graph.nodes[k].args:  # data and weights are there
                self._take([k])

    def _reads(self, wanted: Collection[int], outputs: Outputs) -> Iterable[tuple[int | str, list[Ref]]]:
        yield from ((k, list(self.graph.nodes[k].args)) for k in wanted)
        yield from ((weight, [ref for _, ref in terms]) for weight, terms in outputs.items())

    def whole(self, index: int) -> None:
        """Evaluate a node next, with the blocks of the last stretch if it sums over their rows, as the first to."""
        last = self.stretches[-1]
        if last.rows and not last.totals and self._sums(index, last):
            self.done.add(index)
            self.stretches[-1] = Stretch((*last.nodes, index), last.rows, last.height, (index,))
        else:
            self._take([index])

    def _sums(self, index: int, last: Stretch) -> bool:
        node = self.graph.nodes[index]
        if sums_rows(self.graph, index) != last.rows or _dense_product(self.graph, node):
            return False
        x = node.args[1].node
        return x in last.nodes and self.readers[x] == {index} and node.shape[0] <= FEW * last.height

    def fetch(self, nodes: Iterable[int]) -> None:
        """Evaluate what waits of these nodes, and all that it waits for."""
        levels: dict[int, int] = {}
        for k in nodes:
            self._climb(k, levels)
        groups: dict[tuple[int, int], list[int]] = {}
        for k, level in levels.items():
            groups.setdefault((level, self._shape(k)[0]), []).append(k)
        for _, group in sorted(groups.items()):
            if left := [k for k in group if k not in self.done]:  # an heir of the group before is done
                self._take(sorted(self._with_heirs(left)))

    def _climb(self, index: int, levels: dict[int, int]) -> int:
        """How many times, up to a node, all rows of something have to be there first; -1 for what is there."""
        if index in self.done or index not in self.sliced:
            return -1
        if index not in levels:
            met = enumerate(ref.node for ref in self.graph.nodes[index].args)
            above = [self._climb(k, levels) + (place not in self.sliced[index]) for place, k in met]
            levels[index] = max(0, *above)
        return levels[index]

    def _with_heirs(self, group: list[int]) -> list[int]:
        """Nodes to be evaluated together, and those after them that take the place of an array to be kept."""
        for k, places in self.sliced.items():
            if k in group or k in self.done or self._shape(k)[0] != self._shape(group[0])[0]:
                continue
            met = [ref.node for ref in self.graph.nodes[k].args]
            ready = all(m in self.done or (m in group and place in places) for place, m in enumerate(met))
            known = {*group, *self.done, k}
            left = [m for m in met if m in group and self.readers[m] <= known]
            if ready and any(self._shape(m)[1] >= self._shape(k)[1] for m in left):
                group.append(k)
        return group

    def _take(self, nodes: Sequence[int]) -> None:
        """Evaluate nodes with equal numbers of rows next: in blocks of them, if they are several."""
        self.done |= set(nodes)
        rows, height = self._shape(nodes[0])[0], block_height(max(self._shape(k)[1] for k in nodes))
        if len(nodes) == 1 or height >= rows:
            self.stretches += [Stretch((k,)) for k in nodes]
        else:
            self.stretches.append(Stretch(tuple(nodes), rows, height))

    def _shape(self, index: int) -> tuple[int, int]:
        return self.graph.nodes[index].shape


def long_arrays(graph: Graph, wanted: Collection[int], apart: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Nodes that are evaluated by rows, and the operands that they read so, where arrays of as many rows are large."""
    found = {k: by_rows(graph, graph.nodes[k]) for k in sorted(wanted) if k not in apart}
    shapes = {k: graph.nodes[k].shape for k, places in found.items() if places}
    large = {rows for rows, cols in shapes.values() if rows * cols >= LARGE}
    return {k: found[k] for k, (rows, _) in shapes.items() if rows in large}


def block_height(width: int) -> int:
    """How many rows a block of arrays has that are at most so wide."""
    return max(BLOCK // width // LINE, 1) * LINE


def sums_rows(graph: Graph, index: int) -> int:
    """Over how many rows a product sums, each of which adds to all its numbers; 0 if it does not."""
    node = graph.nodes[index]
    if node.op != "matmul":
        return 0
    a, b = node.args
    rows = graph.shape(a)[1]
    if not _lies_by_rows(graph, b, rows):
        return 0
    if graph.operand(a).storage == "csr":
        return rows
    dense = graph.operand(a).storage == "dense"
    return rows if dense and a.flipped and min(node.shape) > 1 else 0


def by_rows(graph: Graph, node: Node) -> tuple[int, ...]:
    """Which operands a node reads row by row, each row for the same one of the result; () if it looks at others too."""
    places = _row_wise(graph, node)
    read = [ref.node for ref in node.args]
    if {read[k] for k in places} & {m for k, m in enumerate(read) if k not in places}:
        return ()  # by rows and as a whole at once
    return places if all(_lies_by_rows(graph, node.args[k], node.shape[0]) for k in places) else ()


def _row_wise(graph: Graph, node: Node) -> tuple[int, ...]:
    if node.op in ("sum", "hadamard", "map", "softmax", "row_dot"):
        return tuple(range(len(node.args)))
    if node.op == "matmul":
        return (0,) if graph.operand(node.args[0]).storage == "csr" or min(node.shape) > 1 else ()
    if node.op == "scaled":
        return (0,) if node.payload else (0, 1)  # by columns, by rows
    return (0,) if node.op == "centred" and node.payload else ()


def _dense_product(graph: Graph, node: Node) -> bool:
    return node.op == "matmul" and graph.operand(node.args[0]).storage != "csr"


def _lies_by_rows(graph: Graph, ref: Ref, rows: int) -> bool:
    """Whether the rows of an operand lie one after the other; sparse data are stored as they are read."""
    sparse = graph.operand(ref).storage == "csr"
    return sparse or (not ref.flipped and graph.nodes[ref.node].shape[0] == rows)
