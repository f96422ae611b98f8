"""Where a closure that counts from the direction of normalised rows ends: one of them has shrunk to its eps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...theory.algebra.terms import CountSymbols
from ...theory.flows.divided import Divided, divided_rows, divides_by_first_terms, readers_of
from ...theory.flows.flow import Flow
from ...theory.printing.text import text
from ..compile.logits import value

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ..kernel.problem import Problem

# A row is of a direction from this multiple of eps on (as in `norm_regimes`); beside no eps, down to this part of the
# mean square of all rows.
MOST, LEAST = 10.0, 1e-8
LONGEST = 40  # symbols of rows that are written out


def explain_shrunk(flow: Flow, data: Dataset, problem: Problem) -> Callable[[np.ndarray], str] | None:
    """What `Collapse` asks of a state: which row has shrunk, in words; None if the closure divides by none."""
    if not divides_by_first_terms(flow):
        return None
    watched = ShrunkRows(flow, data)
    return lambda y: watched.explain(problem.unpack(y))


class ShrunkRows:
    """Rows that a closure divides by, on the training sequences; nothing is worked out before the first question."""

    def __init__(self, flow: Flow, data: Dataset) -> None:
        self.flow, self.data = flow, data
        self._rows: tuple[Divided, ...] = ()
        self._matrices: dict = {}

    def explain(self, weights: dict[str, np.ndarray]) -> str:
        """Which row has shrunk to its eps, and what to do; empty if none has."""
        model = self.flow.model
        if not self._matrices:
            self._rows = divided_rows(self.flow)
            self._matrices = dict(model.inputs(self.data.sequences[~self.data.held_out]))
        least = None
        for divided in self._rows:
            squares = np.asarray(value(divided.square, model, weights, self._matrices)).ravel()
            near = MOST * divided.eps or LEAST * float(squares.mean())
            share = float(squares.min()) / near if near > 0.0 else 0.0
            if share <= 1.0 and (least is None or share < least[0]):
                least = share, divided, squares
        return "" if least is None else self._words(*least[1:])

    def _words(self, divided: Divided, squares: np.ndarray) -> str:
        rows, at = divided.rows, int(np.argmin(squares))
        said = text(rows) if CountSymbols()(rows) <= LONGEST else "its first terms"
        readers = ", ".join(readers_of(self.flow.model, divided.square)) or "the logits"
        to = f"norm_eps = {divided.eps:.1e}" if divided.eps else "zero"
        return (
            f"{_place(at, squares.size, self.data)} of {said}, which is normalised for {readers}, has shrunk to {to} "
            f"(its mean square is {squares[at]:.1e}); the closure `{self.flow.closure}` counts from its direction and "
            "ends here: use `softmax` or `exact`."
        )


def _place(row: int, rows: int, data: Dataset) -> str:
    """A row in terms of the training sequences, where there is one each or one for every position."""
    sequences = data.sequences[~data.held_out]
    if rows == len(sequences):
        return f"the row of sequence {sequences[row].tolist()}"
    if rows == sequences.size:
        i, position = divmod(row, data.n_ctx)
        return f"the row of token {sequences[i, position]} at position {position}"
    return f"row {row}"
