"""Integrations by Taylor series side by side in lanes: buffers, and the members that pass through them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...kernel.alignment import aligned
from ...kernel.problem import Problem
from ..endings import stuck, used_up
from ..explicit.registers import address_of
from ..outcome import Outcome, Status
from ..stepper import REMEDY, Lanes, NotFiniteAtStart, stiff_remedy
from . import series_steps as kernel
from .series_program import series_program

MAX_BYTES = 2**30  # of the coefficients of eight members


class SeriesLanes(Lanes):
    """Eight lanes of `series_steps`; a lane that is done takes the next member.

    Parameters
    ----------
    problem : Problem
        The flow.
    order : int
        Order of the series.
    rtol : float
        Relative tolerance.
    starts : ndarray, shape (batch, n)
        States at the start.
    span : ndarray, shape (batch, 3)
        Start and end in flow time, and absolute tolerance, of each.
    saves : ndarray, shape (batch, m)
        Flow times to save.
    name : str
        Of the method.
    """

    looks = kernel.NEVER  # steps between two looks at whether stability holds a lane down

    def __init__(
        self, problem: Problem, order: int, rtol: float, starts: Any, span: Any, saves: Any, name: str = "taylor"
    ) -> None:  # fmt: skip
        self.name, self.order, self.rtol = name, order, rtol
        table, batch, n = series_program(problem), *starts.shape
        stride = (order + 1) * kernel.LANES
        if table.slots * stride * 8 > MAX_BYTES:
            raise ValueError(
                f'`method` "taylor" is for small states: {table.slots:,} series of order {order} take more than'
                f' {MAX_BYTES >> 20} MiB; use method="dop853".'
            )
        scratch = np.zeros((2, max(table.widest, 1)))
        placed = table.placed(stride), table.floats, table.tables, table.numbers
        self.program = (*placed, scratch, address_of(problem.rhs))
        self.work, self.new = aligned(table.slots * stride, zero=True), np.zeros(n * kernel.LANES)
        self.lane, self.mark = (
            np.ones((kernel.N_LANE, kernel.LANES)),
            np.zeros((kernel.N_MARK, kernel.LANES), int),
        )
        self.mark[kernel.MEMBER] = kernel.IDLE
        self.atol, self.size = np.ones(kernel.LANES), np.zeros((kernel.N_SIZE, kernel.LANES))
        self.starts, self.span, self.saves = starts, span, saves
        self.states = np.empty((batch, saves.shape[1], n))
        self.found = np.full((batch, kernel.N_FOUND), np.nan)
        self.count = np.zeros((batch, kernel.N_COUNT), np.int64)
        self.next = 0

    def run(self, max_steps: int, budget: int = 2**62, until: float = math.inf, fixed: float = 0.0) -> None:
        """Carry on until all members are done; or for `budget` rounds, or until one has passed `until`."""
        self.next = kernel.run(
            self.program, self.work, self.new, self.order, self.rtol, self.lane, self.mark, self.atol,
            self.size, self.starts, self.span, self.saves, self.states, self.found, self.count,
            self.next, len(self.starts), max_steps, budget, until, fixed, self.looks,
        )  # fmt: skip

    @property
    def done(self) -> bool:
        """Whether every member has ended."""
        idle = self.mark[kernel.MEMBER] == kernel.IDLE
        return self.next == len(self.starts) and bool(idle.all())

    def saved(self, member: int) -> int:
        """Number of times that a member has saved."""
        return int(self.count[member, kernel.SAVED])

    def methods(self, member: int = 0) -> str:
        """Methods of a member, in words."""
        del member
        return self.name

    def counts(self, member: int = 0) -> dict[str, int]:
        """Steps of a member, and evaluations of the flow: one for each coefficient."""
        steps, rounds = (int(self.count[member, i]) for i in (kernel.STEPS, kernel.ROUNDS))
        return {"accepted": steps, "rejected": 0, "rhs_calls": rounds * self.order}

    def zeroth(self, lane: int = 0) -> np.ndarray:
        """State (n,) from which a lane's series starts."""
        stride = (self.order + 1) * kernel.LANES
        return self.work[lane : self.starts.shape[1] * stride : stride]

    def star(self, member: int = 0) -> float | None:
        """Time of the pole that ended a member, if one did."""
        star = float(self.found[member, kernel.STAR])
        return star if math.isfinite(star) else None

    def remedy(self, member: int = 0) -> str:
        """What helps where a limit was used up."""
        held = 2 * self.count[member, kernel.HELD] > self.count[member, kernel.STEPS]
        return stiff_remedy('method="rkc"') if held else REMEDY

    def outcome(self, member: int, max_steps: int) -> Outcome:
        """How a member ended, in the words of `solve`."""
        code, steps = (int(self.count[member, i]) for i in (kernel.CODE, kernel.STEPS))
        t, h, largest = (float(self.found[member, i]) for i in (kernel.AT, kernel.STEP, kernel.LARGEST))
        end = float(self.span[member, kernel.END])
        if code == kernel.DONE:
            return Outcome(Status.REACHED_END, end)
        if code == kernel.OUT_OF_STEPS:
            return used_up(Status.MAX_STEPS, t, end, f"{max_steps} steps", h, self.remedy(member))
        if code == kernel.NOT_FINITE and steps == 0 and self.star(member) is None:
            return Outcome(Status.NON_FINITE, t, str(NotFiniteAtStart(t)))
        return stuck(t, self.star(member), code == kernel.NOT_FINITE, largest)
