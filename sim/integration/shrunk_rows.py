"""Where a closure that counts from the direction of normalised rows ends: one of them has shrunk to its eps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.nodes import Matrix
from ...theory.algebra.terms import CountSymbols
from ...theory.flows.divided import Divided, divided_rows, divides_by_first_terms, readers_of
from ...theory.flows.flow import Flow
from ...theory.printing.text import text
from ..compile.logits import value
from ..compile.rows.shared_rows import SharedRows

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model
    from ..kernel.problem import Problem

# A row is of a direction from this multiple of eps on (as in `norm_regimes`); beside no eps, down to this part of the
# mean square of all rows.
MOST, LEAST = 10.0, 1e-8
SHRUNK = 0.1  # of its mean square at the start: a row that was as short from the beginning has not shrunk
ACROSS = 0.05  # of what it was before a step that leads past zero so closely: no direction is kept across it
LONGEST = 40  # symbols of rows that are written out


def shrunk_rows(flow: Any, data: Dataset) -> ShrunkRows | None:
    """What to watch while a flow is integrated; None if its closure divides by no first terms."""
    return ShrunkRows(flow, data) if isinstance(flow, Flow) and divides_by_first_terms(flow) else None


class ShrunkRows:
    """Rows that a closure divides by, on the training sequences; nothing is worked out before the first question."""

    def __init__(self, flow: Flow, data: Dataset) -> None:
        self.flow, self.data = flow, data

    def along(self, problem: Problem) -> ShrunkAlong:
        """What is asked along one run."""
        return ShrunkAlong(self, problem)

    @cached_property
    def kinds(self) -> list[_Kind]:
        """Each kind of rows, equal ones once."""
        values = dict(self.flow.model.inputs(self.data.sequences[~self.data.held_out]))
        divided = divided_rows(self.flow)
        share = SharedRows([d.rows for d in divided], values, {})
        parts = [(d, *share.apart(d.rows)) for d in divided]
        return [
            _Kind(d, rows, None if chosen is None else values[str(chosen)], values)
            for d, chosen, rows in parts
        ]

    def rows(self, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Rows of each kind (n, width), at some weights."""
        return [k.at(self.flow.model, weights) for k in self.kinds]

    def levels(self, squares: Sequence[np.ndarray]) -> list[float]:
        """Mean square of each kind of rows down to which a row is of a direction."""
        return [
            MOST * k.divided.eps or LEAST * float(x.mean()) for k, x in zip(self.kinds, squares, strict=True)
        ]

    def explain(self, squares: Sequence[np.ndarray], levels: Sequence[Any]) -> str:
        """Which row of these mean squares has shrunk to its level, and what to do; empty if none has."""
        least = None
        for kind, square, level in zip(self.kinds, squares, levels, strict=True):
            excess = square - level
            at = int(np.argmin(excess))
            if excess[at] <= 0.0 and (least is None or square[at] < least[0]):
                least = square[at], kind, at, square.size
        return "" if least is None else self._words(*least)

    def _words(self, square: float, kind: _Kind, at: int, count: int) -> str:
        divided, rows = kind.divided, kind.divided.rows
        said = text(rows) if CountSymbols()(rows) <= LONGEST else "its first terms"
        readers = ", ".join(readers_of(self.flow.model, divided.square)) or "the logits"
        to = f"norm_eps = {divided.eps:.1e}" if divided.eps else "zero"
        how = (
            f"has shrunk to {to}"
            if square <= MOST * divided.eps or not divided.eps
            else "is led past zero by a step"
        )
        return (
            f"{kind.place(at, count, self.data)} of {said}, which is normalised for {readers}, {how} (its mean square "
            f"is {square:.1e}); the closure `{self.flow.closure}` counts from its direction and ends here: use "
            "`softmax` or `exact`."
        )


class ShrunkAlong:
    """The rows along one run, from one state to the next: a `Singularity`.

    Parameters
    ----------
    shrunk : ShrunkRows
        What is watched.
    problem : Problem
        Names the parts of its states.
    """

    def __init__(self, shrunk: ShrunkRows, problem: Problem) -> None:
        self.shrunk, self.problem = shrunk, problem
        self._last: list[np.ndarray] | None = None
        self._first: list[np.ndarray] = []

    def begin(self, y: np.ndarray) -> None:
        """Note how long the rows are at the start."""
        self._first = self._squares(y)

    def _squares(self, y: np.ndarray) -> list[np.ndarray]:
        return [_mean_squares(x) for x in self.shrunk.rows(self.problem.unpack(y))]

    def at(self, y: np.ndarray) -> str:
        """Which row has shrunk at a state."""
        squares = self._squares(y)
        return self.shrunk.explain(squares, self.shrunk.levels(squares))

    def approached(self, y: np.ndarray) -> str:
        """Which row has shrunk at a state, and to a part of what it was at the start."""
        squares = self._squares(y)
        levels = zip(self.shrunk.levels(squares), self._first, strict=True)
        return self.shrunk.explain(squares, [np.minimum(level, SHRUNK * first) for level, first in levels])

    def passed(self, before: np.ndarray, y: np.ndarray) -> str:
        """Which row has shrunk on the straight line between two states, or passes zero there; see `_levels`."""
        if self._last is None:
            self._last = self.shrunk.rows(self.problem.unpack(before))
            self._first = [_mean_squares(x) for x in self._last]
        last, self._last = self._last, self.shrunk.rows(self.problem.unpack(y))
        nearest = [_nearest(*pair) for pair in zip(last, self._last, strict=True)]
        return self.shrunk.explain(nearest, self._levels(last))

    def _levels(self, last: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Levels of the rows, a part of what they were before the step if that is more, and of what they were first."""
        squares = [_mean_squares(x) for x in last]
        levels = self.shrunk.levels(squares)
        return [
            np.minimum(np.maximum(level, ACROSS * x), SHRUNK * first)
            for level, x, first in zip(levels, squares, self._first, strict=True)
        ]


def _mean_squares(x: np.ndarray) -> np.ndarray:
    return np.mean(x**2, axis=1)


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least mean square of each row on the straight line from a to b."""
    step = b - a
    lengths = np.sum(step**2, axis=1)
    part = np.clip(-np.sum(a * step, axis=1) / np.where(lengths > 0.0, lengths, 1.0), 0.0, 1.0)
    return _mean_squares(a + part[:, None] * step)


@dataclass(frozen=True)
class _Kind:
    """Rows that a closure divides by: an expression for the distinct ones, and which of all rows each is."""

    divided: Divided
    rows: Matrix
    selection: Any  # one-hot, a row for each of all rows; None where all are formed
    values: dict[str, Any]

    @cached_property
    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Which of the distinct rows there are, and where each stands first."""
        return np.unique(self.selection.indices, return_index=True)

    def at(self, model: Model, weights: dict[str, np.ndarray]) -> np.ndarray:
        """The rows, or, where only their mean squares are known, the roots of these."""
        found = np.asarray(value(self.rows, model, weights, self.values))
        found = np.sqrt(found) if self.divided.rows is self.divided.square else found
        return found if self.selection is None else found[self.first[0]]

    def place(self, at: int, count: int, data: Dataset) -> str:
        """Where a row stands, one of so many that are formed."""
        if self.selection is not None:
            at, count = int(self.first[1][at]), self.selection.shape[0]
        return _place(at, count, data)


def _place(row: int, rows: int, data: Dataset) -> str:
    """A row in terms of the training sequences, where there is one each or one for every position."""
    sequences = data.sequences[~data.held_out]
    if rows == len(sequences):
        return f"the row of sequence {sequences[row].tolist()}"
    if rows == sequences.size:
        i, position = divmod(row, data.n_ctx)
        return f"the row of token {sequences[i, position]} at position {position}"
    return f"row {row}"
