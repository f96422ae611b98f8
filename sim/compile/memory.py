"""Which piece of the scratch memory every intermediate result gets, and how long it keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .graph import Graph, Ref

Piece = tuple[int, int]  # start, numbers


@dataclass
class Memory:
    """Scratch memory, given out from the smallest free piece that is large enough."""

    size: int = 0
    free: list[Piece] = field(default_factory=list)
    taken: dict[int, Piece] = field(default_factory=dict)

    def allocate(self, size: int, owner: int) -> int:
        """Start of a piece that stays with `owner` until it is released."""
        self.taken[owner] = self._find(size)
        return self.taken[owner][0]

    def borrow(self, size: int) -> int:
        """Start of a piece for one operation alone."""
        piece = self._find(size)
        self.free.append(piece)
        return piece[0]

    def release(self, index: int, last_use: Mapping[int, int]) -> None:
        """Free the pieces whose owners are read for the last time by node `index`."""
        for owner in [n for n in self.taken if last_use.get(n) == index]:
            self.free.append(self.taken.pop(owner))

    def _find(self, size: int) -> Piece:
        fitting = [piece for piece in self.free if piece[1] >= size]
        if fitting:
            piece = min(fitting, key=lambda p: p[1])
            self.free.remove(piece)
            return piece
        self.size += size
        return self.size - size, size


def last_uses(graph: Graph, outputs: Mapping[str, Sequence[tuple[float, Ref]]]) -> dict[int, int]:
    """Node -> index of the last node that reads it; outputs read at the end."""
    last = {ref.node: len(graph.nodes) for terms in outputs.values() for _, ref in terms}
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in last:
            for ref in graph.nodes[index].args:
                last[ref.node] = max(last.get(ref.node, -1), index)
    return last
