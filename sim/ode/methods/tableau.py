"""Explicit Runge-Kutta methods as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ....theory.base.frozen import FrozenRecord
from .method import Method

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from ..stepper import StepControl, Stepper


# Pointers, columns and values of the rows, how much of y each leads with, and nodes.
StepTable = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class RungeKutta(FrozenRecord, Method):
    """Table of an explicit Runge-Kutta method with embedded error estimate and dense output.

    With ``k_0 .. k_{s-1}`` the stages and ``k_s = f(t + h, y_new)``, which is the next step's first stage.

    Attributes
    ----------
    name : str
        Name by which `solve` finds it.
    order : int
        Order of the solution that is continued.
    error_order : int
        The error estimate shrinks like ``h**error_order``.
    dense_order : int
        Order of the dense output.
    a, b, c : ndarray, shapes (s, s), (s,), (s,)
        ``k_i = f(t + c_i h, y + h sum_j a_ij k_j)``, ``y_new = y + h sum_j b_j k_j``.
    e : ndarray, shape (m, s + 1)
        Error estimates ``h sum_j e_j k_j``. With one row, its norm counts; with two, ``E5`` and ``E3`` are
        combined to ``|E5|^2 / sqrt(|E5|^2 + 0.01 |E3|^2)`` (Hairer, Norsett, Wanner I, section II.10).
    a_extra, c_extra : ndarray, shapes (x, s + 1 + x), (x,)
        Stages that only the dense output needs, counted from ``k_{s+1}``.
    interpolant : callable
        ``theta (m,) -> weights (m, s + 1 + x)``: ``y(t + theta h) = y + h sum_j weights_j k_j``.
    reference : str
        Where the table comes from.
    safety : float
        Safety factor of the step controller.
    approaches : bool
        Whether steps towards a blow-up are taken in its time (see `smallinit.sim.ode.explicit.approach`), but for those
        of a fixed size.
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    e: np.ndarray
    a_extra: np.ndarray
    c_extra: np.ndarray
    interpolant: Callable[[np.ndarray], np.ndarray]
    reference: str
    safety: float = 0.9
    approaches: bool = True
    least = 0.2
    stiff_cure = 'method="rkc"'

    def prepare(self, problem: Problem) -> None:
        """Load the compiled loop."""
        from ..explicit import table_stepper

        del problem, table_stepper

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        from ..explicit.table_stepper import TableStepper

        return TableStepper(problem, y0, t0, t1, self, control)

    @property
    def retry(self) -> float:
        """Safety factor of the step controller after a step whose error was too large."""
        return self.safety

    @property
    def stages(self) -> int:
        """Number s of stages of a step, without the first stage of the next."""
        return len(self.b)

    @property
    def error_needs_new(self) -> bool:
        """Whether the error estimate uses ``k_s``."""
        return bool(np.any(self.e[:, self.stages]))

    @cached_property
    def step_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Non-zero entries of the rows a_0 .. a_{s-1}, b, e_0 .. as (pointers, columns, values)."""
        wide = np.zeros((self.stages + 1, self.stages + 1))
        wide[:-1, :-1], wide[-1, :-1] = self.a, self.b
        return compress_rows(np.vstack([wide, self.e]))

    @cached_property
    def step_table(self) -> StepTable:
        """The same as steps take it: with how much of y each row leads with, and the nodes."""
        lead = np.repeat([1.0, 0.0], [self.stages + 1, len(self.e)])
        return *self.step_rows, lead, np.array(self.c, np.float64)

    @cached_property
    def sharing(self) -> np.ndarray:
        """What the rows of `step_table` share, see `shared_in`."""
        return self.shared_in(self.step_table)

    def shared_in(self, table: StepTable) -> np.ndarray:
        """Which rows of a table take the same four slopes, so that one pass over these can serve all.

        Returns
        -------
        ndarray of int64, shape (2, s + 1)
            How many entries of each row earlier ones have added up, and up to which row all take its next four. Of the
            new state, to the end of the table where its two errors take the same slopes throughout.
        """
        pointers, columns = table[:2]
        s, rows = self.stages, [columns[p:q].tolist() for p, q in pairwise(pointers)]
        begun, until = np.zeros(s + 1, np.int64), np.arange(1, s + 2)
        for i in range(1, s):
            four, row = slice(begun[i], begun[i] + 4), i + 1
            while (
                row < s + self.error_needs_new
                and begun[row] == begun[i]
                and len(rows[i][four]) == 4
                and rows[row][four] == rows[i][four]
            ):
                begun[row] += 4
                row += 1
            until[i] = row
        if len(rows) == s + 3 and len(rows[s]) >= 4 and rows[s] == rows[s + 1] == rows[s + 2]:
            until[s] = s + 3
        return np.stack([begun, until])

    @cached_property
    def extra_table(self) -> StepTable:
        """The same of the stages that only the dense output needs."""
        return *self.extra_rows, np.ones(len(self.c_extra)), np.array(self.c_extra, np.float64)

    @cached_property
    def whole(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (s + 1, s + 1) of the stages and of the new state, `e`, and nodes (s + 1,)."""
        wide = np.zeros((self.stages + 1, self.stages + 1))
        wide[:-1, :-1], wide[-1, :-1] = self.a, self.b
        return wide, np.array(self.e, np.float64, order="C"), np.append(self.c, 1.0)

    @staticmethod
    def step_table_of(rows: np.ndarray, lead: np.ndarray, nodes: np.ndarray) -> StepTable:
        """Rows of weights of the slopes as steps take them."""
        return *compress_rows(rows), lead, nodes

    def full_table(self) -> tuple[StepTable, np.ndarray, np.ndarray]:
        """As `step_table`, of a table that lacks no entry: room for the numbers of one step towards a pole.

        With it comes room for the forms that they are made of, see `smallinit.sim.ode.explicit.pole_rows`.
        """
        s, used = self.stages, self.stages + self.error_needs_new
        pattern = np.tri(s + 1 + len(self.e), s + 1, -1)
        pattern[s + 1 :] = np.arange(s + 1) < used
        table = self.step_table_of(pattern, np.empty(len(pattern)), np.empty(s + 1))
        return table, np.empty((s + 1, s + 2)), np.empty((s + 1, s + 2))

    @property
    def middle(self) -> int:
        """Stage nearest to the middle of a step, by which a pole is found; 0 where none is looked for."""
        inside = np.where((self.c > 0.0) & (self.c < 1.0), np.abs(self.c - 0.5), np.inf)
        return int(np.argmin(inside)) if self.approaches and np.isfinite(inside).any() else 0

    @cached_property
    def extra_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Non-zero entries of the rows of `a_extra` as (pointers, columns, values)."""
        return compress_rows(self.a_extra)

    def __repr__(self) -> str:
        """Name and orders."""
        return f"RungeKutta({self.name!r}, order={self.order}, dense_order={self.dense_order})"


def compress_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the non-zero entries: row i is ``[pointers[i]:pointers[i + 1]]`` of columns and values."""
    rows, columns = np.nonzero(table)
    pointers = np.searchsorted(rows, np.arange(len(table) + 1)).astype(np.int64)
    return pointers, columns.astype(np.int64), np.ascontiguousarray(table[rows, columns], dtype=np.float64)
