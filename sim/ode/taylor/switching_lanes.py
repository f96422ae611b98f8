"""Lanes that leave a member to RKC where it has become stiff, and take it back where that does not pay."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from ...kernel.problem import Problem
from ...kernel.threads.blas_threads import blas_threads
from ..choice.relay import CHECK, Stay, StayTerms, in_words
from ..codes import DONE, OUT_OF_STEPS, RUNNING
from ..methods.rkc import RKC
from ..stepper import REMEDY, NotFiniteAtStart, StepControl, Stepper
from . import series_steps as kernel
from .series_lanes import SeriesLanes
from .series_program import series_program

# Steps of the present size left to the end from which RKC is tried. Twice as many as in `automatic`: a step in lanes
# costs less, the short first steps of RKC do not
LEFT = 80
# Work of a coefficient of eight members in lanes (`Program.work`) that takes as long as a call of a small flow alone,
# and most that a call is said to be dearer than a coefficient of one lane: measured at 450 to 20,000
CALL, MOST = 6000.0, 4.0


class SwitchingLanes(SeriesLanes):
    """Chooses between Taylor series and RKC for each member, as `SwitchingStepper` does for a trajectory.

    A member leaves where stability ruled most of its last steps, as the terms of its series show, and comes back where
    RKC takes more than they would by now (see `Stay`). No other member has a say.

    Parameters
    ----------
    problem, order, rtol, starts, span, saves, name
        As of `SeriesLanes`.
    """

    looks = CHECK

    def __init__(
        self, problem: Problem, order: int, rtol: float, starts: Any, span: Any, saves: Any, name: str = "taylor"
    ) -> None:  # fmt: skip
        super().__init__(problem, order, rtol, starts, span, saves, name)
        self._given = problem
        self.chosen: dict[int, list[tuple[str, float]]] = {}
        self.alone = np.zeros((len(starts), 2), np.int64)  # rejected steps and calls of members that had left
        # steps until another stay with RKC after one that did not pay at all
        self.waits = np.full(len(starts), CHECK)
        self.dearer = min(MOST, max(1.0, CALL / series_program(problem).work))
        # calls up to each pause of those that have left their lanes, one after the other
        self._away: Iterator[int] | None = None

    @cached_property
    def problem(self) -> Problem:
        """The flow with memory of its own: each thread has lanes, and calls it at will."""
        return self._given.with_own_memory()

    def run(self, max_steps: int, budget: int = 2**62, until: float = math.inf, fixed: float = 0.0) -> None:
        """Carry on until all members are done, for `budget` rounds, or for as many calls by RKC as make these."""
        if self._goes_on(budget):
            return
        super().run(max_steps, budget, until, fixed)
        asking = np.flatnonzero(self.mark[kernel.ASKS])
        if asking.size:
            self.mark[kernel.ASKS] = 0
            self._away = chain.from_iterable(self._leave(i, max_steps) for i in asking.tolist())
            self._goes_on(budget)

    def _goes_on(self, budget: int) -> bool:
        """Let members that have left their lanes take some steps; whether there are more to come."""
        if self._away is None:
            return False
        with blas_threads(self.problem):
            for calls in self._away:
                budget -= 1 + calls // self.order
                if budget <= 0:
                    return True
        self._away = None
        return False

    def methods(self, member: int = 0) -> str:
        """Methods of a member, each but the first with the flow time from which it was."""
        return in_words(self.chosen[member]) if member in self.chosen else self.name

    def counts(self, member: int = 0) -> dict[str, int]:
        """Steps of a member, and evaluations of the flow: one for each coefficient, and those of RKC."""
        found, (rejected, calls) = super().counts(member), self.alone[member].tolist()
        trials, own = found["accepted"], found["rhs_calls"]
        return {"accepted": trials - rejected, "rejected": rejected, "rhs_calls": own + calls}

    def remedy(self, member: int = 0) -> str:
        """What helps where a limit was used up; not RKC, where it was at work."""
        by_rkc = member in self.chosen and self.chosen[member][-1][0] != self.name
        return REMEDY if by_rkc else super().remedy(member)

    def _leave(self, i: int, max_steps: int) -> Iterator[int]:
        """Go on with the member of lane i by RKC to its end, or until the lane has it back; pauses at each look."""
        m, t = int(self.mark[kernel.MEMBER, i]), float(self.lane[kernel.T, i])
        h, end = float(self.found[m, kernel.STEP]), float(self.span[m, kernel.END])
        limit = max_steps - int(self.count[m, kernel.STEPS])
        if end - t <= LEFT * h or limit <= 0:
            return
        control = StepControl(self.rtol, float(self.atol[i]), first_step=h)
        try:
            stepper = RKC.begin(self.problem, self.new[i :: kernel.LANES], t, end, control)
        except NotFiniteAtStart:  # the lane will say so
            return
        stay = Stay(self.order / h / self.dearer, StayTerms())
        code = yield from self._go_on(stepper, m, stay, limit)
        counts = stepper.counts()
        self.count[m, kernel.STEPS] += counts["accepted"] + counts["rejected"]
        self.alone[m] += counts["rejected"], counts["rhs_calls"]
        self.chosen.setdefault(m, [(self.name, float(self.span[m, kernel.START]))]).append((stepper.name, t))
        if code == DONE:
            self.count[m, kernel.CODE] = DONE
            self._put(i, 0.0, kernel.IDLE)
        else:  # to go on, or to end: an underflow may be a pole, which a series knows
            if code != OUT_OF_STEPS:
                self.chosen[m].append((self.name, stepper.t))
            self._come_back(i, m, stepper, stay.paid)

    def _go_on(self, stepper: Stepper, m: int, stay: Stay, limit: int) -> Generator[int, None, int]:
        """Advance until the end, or as long as the stay pays; yields the calls up to each look."""
        code, saves, calls = RUNNING, self.saves[m], 0
        while code == RUNNING:
            while code == RUNNING and stepper.accepted < stay.look:
                n = int(self.count[m, kernel.SAVED])
                stop = float(saves[n]) if n < len(saves) else math.inf
                code = stepper.advance(stop, stay.look - stepper.accepted, limit)
                now = int(np.searchsorted(saves, stepper.t, side="right"))
                if now > n:
                    stepper.dense(saves[n:now], self.states[m, n:now])
                    self.count[m, kernel.SAVED] = now
            before, calls = calls, stepper.counts()["rhs_calls"]
            yield calls - before
            if code == RUNNING and not stay.pays(stepper):
                break
        return code

    def _come_back(self, i: int, m: int, stepper: Stepper, paid: bool) -> None:
        """Put a member back into lane i, for the longer the more often RKC has not paid at all.

        The scale of its series is looked for anew.
        """
        self._put(i, stepper.y, m)
        self.lane[[kernel.T, kernel.T_PREV], i] = stepper.t
        steps = self.count[m, kernel.STEPS]
        self.mark[kernel.LOOKED, i] = steps
        self.mark[kernel.LOOK, i] = steps + (CHECK if paid else self.waits[m])
        self.waits[m] = CHECK if paid else 2 * self.waits[m]
        self.mark[kernel.HELD_THEN, i] = self.count[m, kernel.HELD]

    def _put(self, i: int, state: Any, m: int) -> None:
        self.mark[[kernel.MEMBER, kernel.FRESH], i] = m, 1
        self.new[i :: kernel.LANES] = state
