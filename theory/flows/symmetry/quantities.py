"""The quantities among which the invariants of a flow are searched: sums over weights of what each of them adds.

========  =====================  ==================================
level     what a matrix X adds   direction of the symmetry
========  =====================  ==================================
WHOLE     X                      a b^T for any columns a, b
AXIS      X 1                    a 1^T for any column a
SUM       1^T X 1                1 1^T
GRAM      X^T X                  X s s^T for any column s
DIAGONAL  the diagonal of X^T X  X diag(s) for any column s
TRACE     the trace of X^T X     X
========  =====================  ==================================

X is a weight or its transpose; of a weight whose columns are those of several heads, GRAM and DIAGONAL take the columns
of one head at a time, X = W S with the head's selector S, along X s s^T S^T. The first three levels are linear in the
weights, the others quadratic; of either three,
each follows from the one above it. The direction is that in which X moves under the one-parameter group whose charge
the quantity is (`invariants` has the theorem).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp

from ...algebra.matrices import diagonal, hadamard_power, product, total, transpose
from ...algebra.nodes import HeadSymbol, Matrix

Space = tuple[sp.Expr, ...]


@dataclass(frozen=True)
class Term:
    """A weight, or its transpose, or the columns of one head of either, as it stands in a quantity."""

    weight: sp.MatrixSymbol
    flipped: bool = False
    head: HeadSymbol | None = None

    @property
    def whole(self) -> Matrix:
        """The weight or its transpose."""
        return transpose(self.weight) if self.flipped else self.weight

    @property
    def matrix(self) -> Matrix:
        """X."""
        return self.whole if self.head is None else product(self.whole, self.head)

    def turned(self, array: np.ndarray) -> np.ndarray:
        """An array of the weight's shape in the shape of X."""
        array = array.T if self.flipped else array
        if self.head is None:
            return array
        return np.split(array, int(self.head.rows / self.head.cols), axis=1)[self.head.index]

    def moved(self, step: Matrix) -> Matrix:
        """A direction of X as one of the weight."""
        step = step if self.head is None else product(step, transpose(self.head))
        return transpose(step) if self.flipped else step

    @property
    def label(self) -> str:
        """Name of the weight, with the number of the head."""
        return self.weight.name if self.head is None else f"{self.weight.name}[{self.head.index}]"


@dataclass(frozen=True)
class Level:
    """A way to make quantities of weights.

    Attributes
    ----------
    flips : bool
        Whether the transpose of a weight adds something else than the weight.
    space : callable
        X -> the dimensions of what it adds: only terms that agree in them add up.
    value, direction : callable
        X -> what it adds, as an expression; the direction of the symmetry, with free columns.
    rate : callable
        Arrays X and dX/dt -> the time derivative of what X adds.
    shown : callable
        Name of X, name of its transpose -> what X adds, as text; ``frame`` goes around the sum.
    """

    flips: bool
    space: Callable[[Matrix], Space]
    value: Callable[[Matrix], Matrix]
    direction: Callable[[Matrix], Matrix]
    rate: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shown: Callable[[str, str], str]
    frame: str = "{}"
    by_head: bool = False

    def spaces(
        self, weights: Sequence[sp.MatrixSymbol], heads: Sequence[HeadSymbol] = ()
    ) -> dict[Space, list[Term]]:
        """Terms that may stand in one sum, by their space and in the order of the weights."""
        found: dict[Space, list[Term]] = {}
        for weight in weights:
            for term in [Term(weight), Term(weight, True)][: 1 + self.flips]:
                mine = [h for h in heads if h.rows == term.whole.cols] if self.by_head else []
                for each in [replace(term, head=h) for h in mine] or [term]:
                    at = () if each.head is None else (each.head.index,)
                    found.setdefault((*self.space(each.matrix), *at), []).append(each)
        return found


def _ones(size: sp.Expr) -> Matrix:
    return sp.OneMatrix(size, 1)


def _free(letter: str, size: sp.Expr) -> Matrix:
    """A column that stands for any (of one entry: 1, its multiples follow); no weight can have its name."""
    return _ones(size) if size == 1 else sp.MatrixSymbol(f"<{letter}>", size, 1)


WHOLE = Level(
    flips=False,
    space=lambda x: x.shape,
    value=lambda x: x,
    direction=lambda x: product(_free("a", x.rows), transpose(_free("b", x.cols))),
    rate=lambda x, dx: dx,
    shown=lambda x, xt: x,
)
AXIS = Level(
    flips=True,
    space=lambda x: (x.rows,),
    value=lambda x: product(x, _ones(x.cols)),
    direction=lambda x: product(_free("a", x.rows), transpose(_ones(x.cols))),
    rate=lambda x, dx: dx.sum(axis=1),
    shown=lambda x, xt: f"{x}*1",
)
SUM = Level(
    flips=False,
    space=lambda x: (),
    value=lambda x: product(transpose(_ones(x.rows)), x, _ones(x.cols)),
    direction=lambda x: sp.OneMatrix(*x.shape),
    rate=lambda x, dx: dx.sum(keepdims=True),
    shown=lambda x, xt: f"1.T*{x}*1",
)
GRAM = Level(
    flips=True,
    space=lambda x: (x.cols,),
    value=lambda x: product(transpose(x), x),
    direction=lambda x: product(x, _free("s", x.cols), transpose(_free("s", x.cols))),
    rate=lambda x, dx: dx.T @ x + x.T @ dx,
    shown=lambda x, xt: f"{xt}*{x}",
    by_head=True,
)
DIAGONAL = Level(
    flips=True,
    space=lambda x: (x.cols,),
    value=lambda x: product(hadamard_power(transpose(x), sp.Integer(2)), _ones(x.rows)),
    direction=lambda x: product(x, diagonal(_free("s", x.cols))),
    rate=lambda x, dx: 2.0 * np.sum(x * dx, axis=0),
    shown=lambda x, xt: f"{xt}*{x}",
    frame="diag({})",
    by_head=True,
)
TRACE = Level(
    flips=False,
    space=lambda x: (),
    value=lambda x: product(transpose(_ones(x.rows)), hadamard_power(x, sp.Integer(2)), _ones(x.cols)),
    direction=lambda x: x,
    rate=lambda x, dx: 2.0 * np.sum(x * dx, keepdims=True),
    shown=lambda x, xt: f"tr({xt}*{x})",
)
ORDERS = ((WHOLE, AXIS, SUM), (GRAM, DIAGONAL, TRACE))


@dataclass(frozen=True)
class Quantity:
    """A sum of terms of one level and one space, with integer coefficients."""

    level: Level
    terms: tuple[tuple[Term, int], ...]

    @property
    def name(self) -> str:
        """For example "W_E.T*W_E - W_in*W_in.T"; sums over the first axis of weights are rows."""
        rows = self.level is AXIS and all(term.flipped for term, _ in self.terms)
        return self.level.frame.format(signed_sum((c, self._shown(t, rows)) for t, c in self.terms))

    def _shown(self, term: Term, rows: bool) -> str:
        name = term.label
        names = (f"{name}.T", name) if term.flipped else (name, f"{name}.T")
        if self.level is AXIS and term.matrix.cols == 1:
            return names[rows]
        return f"1.T*{name}" if rows else self.level.shown(*names)

    @property
    def degree(self) -> int:
        """Power of the weights: 1 or 2."""
        return 1 if self.level in ORDERS[0] else 2

    @property
    def expression(self) -> Matrix:
        """The quantity as an expression: a matrix, a column (also of a diagonal) or a (1, 1) matrix."""
        return total(*(product(c, self.level.value(t.matrix)) for t, c in self.terms))

    @property
    def directions(self) -> dict[sp.MatrixSymbol, Matrix]:
        """Weight -> the direction in which it moves under the symmetry."""
        moved: dict[sp.MatrixSymbol, list[Matrix]] = {}
        for term, c in self.terms:
            step = product(c, self.level.direction(term.matrix))
            moved.setdefault(term.weight, []).append(term.moved(step))
        return {w: total(*steps) for w, steps in moved.items()}


def signed_sum(terms: Iterator[tuple[int, str]]) -> str:
    """Text of a sum with integer coefficients."""
    out = ""
    for c, body in terms:
        sign = (" - " if out else "-") if c < 0 else (" + " if out else "")
        out += sign + (body if abs(c) == 1 else f"{abs(c)}*{body}")
    return out


def implied(level: Level, below: Level, coefficients: Mapping[Term, int]) -> list[dict[Term, int]]:
    """What a conserved sum of one level says of the next one."""
    if level is WHOLE:
        return [{Term(t.weight, side): c for t, c in coefficients.items()} for side in (False, True)]
    found: dict[Term, int] = {}
    for t, c in coefficients.items():
        lower = Term(t.weight, t.flipped and below.flips, t.head if below.by_head else None)
        found[lower] = found.get(lower, 0) + c
    return [found]
