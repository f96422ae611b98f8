"""Where every intermediate result lies while it is wanted: in the scratch memory, or in a part of the result.

A part of the result is written once, and until then holds whatever fits: of a large vocabulary, that spares the scratch
memory arrays of the size of a weight.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from ...kernel.alignment import whole_lines
from ...kernel.operations import OUT, OWN, WORK
from ..graph import Graph, Node, Ref
from ..rows.row_blocks import Life, Stretch

Place = tuple[int, int]  # buffer, start
# What takes no memory of its own: parts of the state, data, and matrices that are never written out
LEAVES = ("weight", "data", "centering", "diag", "pattern")


@dataclass(frozen=True)
class Need:
    """Numbers that are written by one node and read for the last time by another, `made` <= `read`."""

    size: int
    made: int
    read: int


@dataclass(frozen=True)
class Slot:
    """A part of the result, which node `until` writes."""

    start: int
    size: int
    until: int


@dataclass(frozen=True)
class Memory:
    """Where everything lies.

    Attributes
    ----------
    places : dict
        Node, or what it needs besides -> buffer and start.
    size : int
        Numbers of scratch memory, that of a thread's own included.
    own : tuple of int
        Where the scratch memory of the first thread's own begins, and its size.
    passing : frozenset of int
        Nodes of which the rows at hand alone are kept.
    """

    places: Mapping[Hashable, Place] = field(default_factory=dict)
    size: int = 0
    own: tuple[int, int] = (0, 0)
    passing: frozenset[int] = frozenset()


@dataclass
class _Piece:
    """A stretch of memory, free before the node `busy`; a slot of the result has a start, and cannot grow."""

    size: int
    busy: float
    start: int | None = None
    owners: list[Hashable] = field(default_factory=list)


def placed(needs: Mapping[Hashable, Need], slots: Sequence[Slot]) -> tuple[dict[Hashable, Place], int]:
    """Place of each need, none over another while both are wanted, and the size of the scratch memory.

    From the last read to the first: what is wanted at the end can lie in no slot, and chooses before the others.
    """
    pieces = [_Piece(slot.size, slot.until, slot.start) for slot in slots]
    for key, need in sorted(needs.items(), key=lambda item: (item[1].read, item[1].made), reverse=True):
        free = [p for p in pieces if need.read < p.busy and (p.start is None or p.size >= need.size)]
        piece = min(free, key=lambda p: _cost(p, need), default=None)
        if piece is None:
            piece = _Piece(0, 0.0)
            pieces.append(piece)
        piece.size, piece.busy = max(piece.size, need.size), need.made
        piece.owners.append(key)
    return _end_to_end(pieces)


def _cost(piece: _Piece, need: Need) -> tuple[int, int]:
    """How much a piece grows by a need, and what it has beyond: the one that fits best is taken."""
    return max(need.size - piece.size, 0), max(piece.size - need.size, 0)


def _end_to_end(pieces: Sequence[_Piece]) -> tuple[dict[Hashable, Place], int]:
    places: dict[Hashable, Place] = {}
    size = 0
    for piece in pieces:
        place = (WORK, size) if piece.start is None else (OUT, piece.start)
        places |= dict.fromkeys(piece.owners, place)
        size += whole_lines(piece.size) if piece.start is None else 0
    return places, size


def memory_for(
    graph: Graph,
    stretches: Sequence[Stretch],
    lives: Mapping[int, Life],
    slots: Sequence[Slot],
    apart: Container[int],
) -> Memory:
    """Places of all that has to be kept; nodes `apart` have a place of their own."""
    wanted = _needs(graph, stretches, lives, apart) | _partial_sums(graph, stretches, lives)
    own, own_size = _own_places(stretches, lives, wanted)
    places, size = placed({key: need for key, need in wanted.items() if key not in own}, slots)
    passing = frozenset(index for index, life in lives.items() if life.passing)
    return Memory(places | own, size + own_size, (size, own_size), passing)


def _needs(
    graph: Graph, stretches: Sequence[Stretch], lives: Mapping[int, Life], apart: Container[int]
) -> dict[Hashable, Need]:
    """What has to be kept, and from when to when."""
    found: dict[Hashable, Need] = {}
    for stretch in stretches:
        for index in stretch.nodes:
            node, life = graph.nodes[index], lives[index]
            if node.op in LEAVES:
                continue
            if index not in apart:
                rows = stretch.height if life.passing else node.shape[0]
                found[index] = Need(rows * node.shape[1], life.made, life.read)
            if node.op == "bag_softmax":
                found["scratch", index] = Need(bag_scratch(node), life.made, life.made)
    return found


def _partial_sums(
    graph: Graph, stretches: Sequence[Stretch], lives: Mapping[int, Life]
) -> dict[Hashable, Need]:
    """What sums over the rows of each part take, until they have been added up."""
    found: dict[Hashable, Need] = {}
    for stretch in stretches:
        if stretch.parts:
            end = lives[stretch.nodes[0]].made + len(stretch.nodes) - 1
            for t in stretch.totals:
                size = stretch.parts * whole_lines(prod(graph.nodes[t].shape))
                found["sums", t] = Need(size, lives[t].made, end)
    return found


def _own_places(
    stretches: Sequence[Stretch], lives: Mapping[int, Life], needs: Mapping[Hashable, Need]
) -> tuple[dict[Hashable, Place], int]:
    """Places of what passes with the blocks of a thread, within memory of the thread's own, and the size of that."""
    places: dict[Hashable, Place] = {}
    most = 0
    for stretch in stretches:
        if stretch.parts:
            passing: dict[Hashable, Need] = {
                k: needs[k] for k in stretch.nodes if k in needs and lives[k].passing
            }
            found, size = placed(passing, [])
            places |= {k: (OWN, start) for k, (_, start) in found.items()}
            most = max(most, size)
    return places, most


def bag_scratch(node: Node) -> int:
    """Numbers that the softmax of bags takes besides its result."""
    return (node.shape[0] + 1) * node.shape[1]


def wanted_nodes(graph: Graph, outputs: Mapping[str, Sequence[tuple[float, Ref]]]) -> set[int]:
    """Nodes that outputs are made of."""
    wanted = {ref.node for terms in outputs.values() for _, ref in terms}
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in wanted:
            wanted |= {ref.node for ref in graph.nodes[index].args}
    return wanted
