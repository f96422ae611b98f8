"""What a page would write again and again gets a name: B, or B_1, B_2, ... where there are several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, TypeVar

import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..algebra.matrices import product, split, transpose
from ..algebra.nodes import Matrix, RowSoftmax, StochasticSymbol, matrix_symbols
from ..algebra.rebuild import Substitution
from ..algebra.traversal import parts
from .letters import free_name
from .roles import flips
from .substitution import Naming
from .text import text

Line = TypeVar("Line")
Run = tuple[int, ...]  # numbers of factors without a scalar; one number for what is no product
LETTER = "B"
LONG = 20  # characters of what gets a name
FRAME = 40  # characters that a name must save at least, besides what it stands for


def name_repeated(
    lines: Mapping[Line, Matrix], definitions: Mapping[str, Matrix], taken: Collection[str]
) -> tuple[dict[Line, Matrix], dict[str, Matrix]]:
    """Name what stands at least twice on a page and is long, what saves most first.

    Parts of expressions and runs of factors are looked at, each the same as its transpose; a shared part counts once
    for each place, as what holds it gets a name too.

    Parameters
    ----------
    lines : dict
        Any key -> expression.
    definitions : dict
        Name -> what it stands for, which `lines` are in terms of.
    taken : collection of str
        Names that no new one may have.

    Returns
    -------
    lines, definitions : dict
        The same in terms of more definitions, which stand before what uses them.
    """
    page: dict[Any, Matrix] = dict(enumerate([*lines.values(), *definitions.values()]))
    new: dict[sp.MatrixSymbol, Matrix] = {}
    runs = _Runs()
    while (found := runs.most_saving([*page.values(), *new.values()])) is not None:
        kind = StochasticSymbol if isinstance(found, RowSoftmax) else sp.MatrixSymbol
        symbol = kind(f"{LETTER}#{len(new)}", *found.shape)  # for now: no name that a page could have
        naming = Naming({symbol: found})
        page, new = ({key: naming(e) for key, e in part.items()} for part in (page, new))
        new[symbol] = found
    sides = dict(zip(lines, page.values(), strict=False))
    kept = dict(zip(definitions, list(page.values())[len(lines) :], strict=True))
    return _numbered(sides, kept, new, {*taken, *definitions})


def _numbered(
    lines: Mapping[Line, Matrix],
    definitions: Mapping[str, Matrix],
    new: Mapping[sp.MatrixSymbol, Matrix],
    taken: set[str],
) -> tuple[dict[Line, Matrix], dict[str, Matrix]]:
    """Put what is new before its first use, and number it in this order."""
    order: dict[Any, Matrix] = {}

    def visit(key: Any, meaning: Matrix) -> None:
        for inner in sorted(matrix_symbols(meaning) & new.keys(), key=str):
            if inner not in order:
                visit(inner, new[inner])
        order[key] = meaning

    for key, meaning in (*definitions.items(), *((None, line) for line in lines.values())):
        visit(key, meaning)
    order.pop(None, None)
    names: dict[sp.MatrixSymbol, Matrix] = {}
    for symbol in (key for key in order if key in new):
        names[symbol] = type(symbol)(free_name(LETTER, taken, int(len(new) > 1)), *symbol.shape)
        taken.add(names[symbol].name)
    renamed = Substitution(names)
    return (
        {key: renamed(line) for key, line in lines.items()},
        {names[key].name if key in names else key: renamed(meaning) for key, meaning in order.items()},
    )


class _Runs:
    """Runs of factors as numbers: which are the same or the transpose of each other, and how long they print."""

    def __init__(self) -> None:
        self.numbers: dict[Matrix, int] = {}
        self.factors: list[Matrix] = []
        self.turned: list[int] = []
        self.flips: list[int] = []
        self.lengths: dict[Run, int] = {}
        self.held: dict[Matrix, list[Run]] = {}

    def number(self, factor: Matrix) -> int:
        """Number of a factor, next to that of its transpose."""
        if factor not in self.numbers:
            for one in dict.fromkeys((factor, transpose(factor))):
                self.numbers[one] = len(self.factors)
                self.factors.append(one)
                self.flips.append(flips(one))
            pair = self.numbers[factor], self.numbers[transpose(factor)]
            self.turned += [pair[1], pair[0]][: len(set(pair))]
        return self.numbers[factor]

    def upright(self, run: Run) -> Run:
        """A run or its transpose, always the same of the two."""
        other = tuple(self.turned[factor] for factor in reversed(run))
        return min(run, other, key=lambda r: (sum(self.flips[factor] for factor in r), r))

    def meaning(self, run: Run) -> Matrix:
        """The product."""
        return product(*(self.factors[factor] for factor in run))

    def diagonal(self, run: Run) -> bool:
        """Whether it is one diagonal matrix: its column may have a name."""
        return len(run) == 1 and isinstance(self.factors[run[0]], DiagMatrix)

    def length(self, run: Run) -> int:
        """Characters of the product."""
        if run not in self.lengths:
            self.lengths[run] = len(text(self.meaning(run)))
        return self.lengths[run]

    def most_saving(self, lines: Iterable[Matrix]) -> Matrix | None:
        """The expression whose name shortens a page most, if any does."""
        saved = {
            run: (count - 1) * (self.length(run) - len(LETTER)) - FRAME
            for run, count in Counter(self.places(lines)).items()
            if count > 1 and self.length(run) > LONG and not self.diagonal(run)
        }
        best = max(saved, key=lambda run: (saved[run], run), default=None)
        return None if best is None or saved[best] <= 0 else self.meaning(best)

    def places(self, lines: Iterable[Matrix]) -> Iterator[Run]:
        """All runs of factors in lines, once for every place in what is different."""
        seen: set[Matrix] = set()
        waiting = list(lines)
        yield from map(self.whole, waiting)
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += parts(node)
                if node not in self.held:
                    self.held[node] = list(self.within(node))
                yield from self.held[node]

    def within(self, node: Matrix) -> Iterator[Run]:
        """Runs of factors that a node is built of, without itself."""
        if not isinstance(node, sp.MatMul):
            yield from map(self.whole, parts(node))
            return
        run = tuple(map(self.number, parts(node)))
        for i, j in combinations(range(len(run) + 1), 2):
            if j - i < len(run):
                yield self.upright(run[i:j])

    def whole(self, node: Matrix) -> Run:
        """The factors of an expression."""
        return self.upright(tuple(map(self.number, split(node)[1])))
