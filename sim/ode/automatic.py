"""The automatic choice of a method: explicit while accuracy rules the step, RKC or BDF while stability does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..kernel.work import flops
from .methods import BDF, RKC, default_method
from .relay import CHECK, Relay, in_words
from .stepper import StepControl

if TYPE_CHECKING:
    from ..kernel.problem import Problem
    from .methods import Method

# Steps of the present size left to t1 from which RKC is tried: its first ones are short, and cost half as much as those
LEFT = 40
OFTEN = 2, 20  # steps between two looks of an explicit method and of BDF, where steps are dear
EASY = 0.3  # x order: step x spectral radius from which BDF is tried; it gains before stability holds the step down
DEAR = 8000.0  # operations of a right-hand side for each unknown, from which the vector work of BDF pays
MOST_HELD = 2**30  # bytes of vectors beyond which BDF, which holds many, is not taken
STIFF = 2.0  # step x spectral radius from which an explicit step is taken to be held down by stability


def _worth_bdf(problem: Problem) -> bool:
    """Whether a right-hand side is so dear that BDF has less to do, and not so large that it would hold too much."""
    return flops(problem) >= DEAR * problem.n and 8 * problem.n * BDF.vectors <= MOST_HELD


class SwitchingStepper(Relay):
    """A stepper that changes its method where the problem has become stiff, and back if that does not pay.

    A gradient flow is fast and smooth while it leaves the plateau, and slow but stiff afterwards. It is then BDF that
    needs the fewest right-hand sides, and RKC that has the least to do besides. The choice depends on the trajectory
    and on counted work alone, so it is the same every time.

    Attributes
    ----------
    at_work : Stepper
        That of the method in use.
    chosen : list of (str, float)
        Names of the methods, and the flow times from which they were used.

    Parameters
    ----------
    problem, y0, t0, t1, control
        As `Method.begin` takes them.
    where : callable
        Makes of a method one that takes its steps elsewhere, on a device; itself by default.
    """

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl,
        where: Callable[[Method], Method] = lambda method: method,
    ) -> None:  # fmt: skip
        self._problem, self._t1, self._control = problem, t1, control
        self.explicit, self.stabilised = where(default_method(control.rtol)), where(RKC)
        self._pause, self._stiff, self._dearer = (CHECK, CHECK), STIFF, 1.0
        if self.stabilised is RKC and _worth_bdf(problem):
            self.stabilised, self._pause = BDF, OFTEN
            self._stiff, self._dearer = EASY * default_method(control.rtol).order, 2.0
        self.chosen: list[tuple[str, float]] = []
        self._counts = {"accepted": 0, "rejected": 0, "rhs_calls": 0}
        self._history = np.zeros((0, 3))
        self._past: deque[tuple[float, np.ndarray]] = deque(maxlen=BDF.most_order + 1)
        self._cost, self._wait = np.inf, 1
        self._use(self.explicit, y0, t0, control.first_step)

    def _use(self, method: Method, y: np.ndarray, t: float, first_step: float | None) -> None:
        control = self._control
        if first_step != control.first_step:
            control = replace(control, first_step=first_step)
        self.name, self.at_work = method.name, method.begin(self._problem, y, t, self._t1, control)
        self.for_stiff = self.at_work.for_stiff
        self.chosen.append((method.name, t))
        self._mark, self._look = (t, 0), self._pause[method is self.stabilised]
        self._starting = method is BDF
        if self._halted:
            self.at_work.halt()

    @property
    def methods(self) -> str:
        """Methods used, each but the first with the flow time from which it was."""
        return in_words(self.chosen)

    @property
    def accepted(self) -> int:
        """Number of accepted steps, of all methods."""
        return self.at_work.accepted + self._counts["accepted"]

    def counts(self) -> dict[str, int]:
        """Return accepted steps, rejected steps and calls of the right-hand side, of all methods."""
        return {name: n + self._counts[name] for name, n in self.at_work.counts().items()}

    def history(self) -> np.ndarray:
        """Growth of accepted steps of all methods."""
        return np.concatenate([self._history, self.at_work.history()])

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps, after a look at whether the method is still the right one."""
        if self.at_work.accepted >= self._look:
            self._look = self.at_work.accepted + self._pause[self.name == self.stabilised.name]
            self._consider()
        used = self._counts["accepted"] + self._counts["rejected"]
        # Never past the next look: how many steps a call takes depends on the clock, the choice must not.
        budget = min(budget, self._look - self.at_work.accepted)
        if self.stabilised is BDF and self.name != BDF.name:
            return self._noting(stop, min(budget, 1), limit - used)
        return self.at_work.advance(stop, budget, limit - used)

    def _noting(self, stop: float, budget: int, limit: int) -> int:
        """Take one step, and keep the state before it: BDF goes on from several."""
        t, y, accepted = self.t, self.y.copy(), self.at_work.accepted
        code = self.at_work.advance(stop, budget, limit)
        if self.at_work.accepted > accepted:
            self._past.appendleft((t, y))
        return code

    def _consider(self) -> None:
        """Change the method where the other one is cheaper per unit of flow time."""
        t, calls = self.t, self.at_work.counts()["rhs_calls"]
        cost = (calls - self._mark[1]) / max(t - self._mark[0], 1e-300)
        self._mark = (t, calls)
        if self._starting:
            self._starting = False  # the first steps, of low order, say nothing of the cost
        elif self.name == self.stabilised.name:
            if cost > self._dearer * self._cost:
                self._change(self.explicit)
                self._wait *= 2  # it may pay later on
                self._look = self._wait * CHECK
        elif (self.stabilised is BDF or self._t1 - t > LEFT * self.h) and self._held_down():
            self._cost = cost
            self._change(self.stabilised)

    def _held_down(self) -> bool:
        """Whether stability holds an explicit step down; where a call is dear, without one."""
        from .explicit.table_stepper import TableStepper

        if self.stabilised is BDF and isinstance(self.at_work, TableStepper):
            return self.at_work.stage_stiffness() > self._stiff
        return self.stiffness() > self._stiff

    def _change(self, method: Method) -> None:
        from .bdf_stepper import BdfStepper

        self._counts = self.counts()
        self._history = self.history()
        self._use(method, self.y.copy(), self.t, self.h)
        if isinstance(self.at_work, BdfStepper):
            times, states = zip(*self._past, strict=True)
            self.at_work.recall(list(times), list(states))
        self._past.clear()
