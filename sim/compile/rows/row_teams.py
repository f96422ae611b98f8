"""Stretches of which threads take parts: whatever is done row by row, products and sums over rows among it.

All that does the same to every row is carried out for some rows at a time, see `row_blocks`; here products with the
rows of a dense matrix on the left are among it, and sums over the rows, sparse and dense, which end a stretch. The
blocks make a fixed number of parts, which threads take. Each part has the sums over its own rows, and these are added
up in order, so that no bit depends on how many threads there are, or on which was the first.
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph import Graph
from . import row_blocks
from .row_blocks import Outputs, Stretch, long_arrays, sums_rows

WHOLE = 0.1  # of the flops of all products, that may be left to one thread
LEAST_HEIGHT = 64  # rows of a block for which a product with the same matrix is as fast as of all of them


def in_teams(
    graph: Graph, wanted: Collection[int], outputs: Outputs, apart: Collection[int]
) -> list[Stretch] | None:
    """Nodes that are wanted, in stretches; None where too little of the work would be shared.

    Parameters are those of `row_blocks.in_stretches`; `outputs` are not looked at.
    """
    return _Teams(graph, wanted, apart).stretches()


class _Teams:
    """Stages, one after the other: what looks at other rows belongs to the one after all these rows are there."""

    def __init__(self, graph: Graph, wanted: Collection[int], apart: Collection[int]) -> None:
        self.graph, self.wanted = graph, sorted(wanted)
        self.sliced = long_arrays(graph, wanted, apart)
        self.home: dict[int, int] = {}  # of a sum over rows: how many these are
        self.stage: dict[int, int] = {}
        for k in self.wanted:
            self._set_stage(k)

    def _rows(self, k: int) -> int:
        return self.graph.nodes[k].shape[0]

    def _set_stage(self, k: int) -> None:
        args, along = [ref.node for ref in self.graph.nodes[k].args], self.sliced.get(k, ())
        if rows := self._summed(k):
            along = range(len(args))
        self.stage[k] = max((self._after(m, place in along) for place, m in enumerate(args)), default=0)
        if rows and any(m in self.sliced and self.stage[m] == self.stage[k] for m in args):
            self.home[k] = rows  # or its rows are all there, and it is evaluated as it stands

    def _after(self, k: int, along: bool) -> int:
        """The first stage of what reads a node, row by row or all of it."""
        return self.stage[k] + (k in self.home or (k in self.sliced and not along))

    def _summed(self, k: int) -> int:
        """Over how many rows a node sums, if it can take them as they come and is small; else 0."""
        rows, (height, width) = sums_rows(self.graph, k), self.graph.nodes[k].shape
        known = any(ref.node in self.sliced for ref in self.graph.nodes[k].args)
        return rows if known and height * width <= row_blocks.FEW * row_blocks.BLOCK else 0

    def stretches(self) -> list[Stretch] | None:
        """All nodes in order."""
        found = [Stretch((k,)) for k in self.wanted if not self.graph.nodes[k].args]
        for stage in range(max(self.stage.values(), default=0) + 1):
            now = [k for k in self.wanted if self.stage[k] == stage and self.graph.nodes[k].args]
            found += [Stretch((k,)) for k in now if k not in self.sliced and k not in self.home]
            by_height: dict[int, list[int]] = {}
            for k in now:
                if k in self.sliced or k in self.home:
                    by_height.setdefault(self.home.get(k, self._rows(k)), []).append(k)
            for rows, nodes in by_height.items():
                found += self._together(rows, nodes)
        return found if self._worth_it(found) else None

    def _together(self, rows: int, nodes: list[int]) -> list[Stretch]:
        width = max(self.graph.nodes[k].shape[1] for k in nodes if k in self.sliced)
        height = row_blocks.block_height(width)
        if len(nodes) == 1 or height >= rows:
            return [Stretch((k,)) for k in nodes]
        totals = tuple(k for k in nodes if k in self.home)
        return [Stretch(tuple(nodes), rows, height, totals, min(row_blocks.PARTS, -(-rows // height)))]

    def _worth_it(self, found: list[Stretch]) -> bool:
        """Whether stretches have nearly all products, and blocks that suit these."""
        every = whole = 0.0
        for stretch in found:
            flops = sum(self._flops(k) for k in stretch.nodes)
            if not stretch.parts:
                whole += flops
            elif flops and stretch.height < LEAST_HEIGHT:
                return False
            every += flops
        return any(stretch.parts for stretch in found) and whole <= WHOLE * every

    def _flops(self, k: int) -> float:
        node = self.graph.nodes[k]
        if node.op != "matmul" or self.graph.operand(node.args[0]).storage != "dense":
            return 0.0
        return 2.0 * node.shape[0] * node.shape[1] * self.graph.shape(node.args[0])[1]
