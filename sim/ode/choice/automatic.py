"""The automatic choice of a method: explicit while accuracy rules the step, RKC or BDF while stability does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...kernel.work import flops
from ..growing import RISE
from ..methods import BDF, RKC, default_method
from ..stepper import StepControl
from .outlook import AFTER_RKC, Outlook
from .relay import CHECK, Relay, Stay, StayTerms, in_words

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from ..methods import Method

# Steps of the present size left to t1 from which RKC is tried: its first ones are short, and cost half as much as those
LEFT = 40
OFTEN = 2  # steps between two looks of an explicit method where steps are dear
# of BDF, whose first steps are of low order
BY_BDF = StayTerms(settling=20, trial=20, again=20, later=20, worth=2.0, doubt=1.0)
# of RKC where the state grows: it begins with steps that are far shorter than those that it comes to, see `growing`
GROWING = StayTerms(settling=20)
EASY = 0.3  # x order: step x spectral radius from which BDF is tried; it gains before stability holds the step down
DEAR = 8000.0  # operations of a right-hand side for each unknown, from which the vector work of BDF pays
MOST_HELD = 2**30  # bytes of vectors beyond which BDF, which holds many, is not taken
# Of the tolerances, for BDF after RKC: its errors add up along directions that are slow, to 80 times rtol in some flows
# where RKC makes 5
STRICT = 0.1
STIFF = 2.0  # step x spectral radius from which an explicit step is taken to be held down by stability


def _room_for_bdf(problem: Problem) -> bool:
    """Whether a state is not so large that BDF would hold too much."""
    return 8 * problem.n * BDF.vectors <= MOST_HELD


class SwitchingStepper(Relay):
    """A stepper that changes its method where the problem has become stiff, and back if that does not pay.

    A gradient flow is fast and smooth while it leaves the plateau, and slow but stiff afterwards. It is then BDF that
    needs the fewest right-hand sides, and RKC that has the least to do besides. Where a flow stays stiff for so long
    that RKC takes ever more calls, it is left for BDF later. The choice depends on the trajectory and on counted work
    alone, so it is the same every time.

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
        self._pause, self._stiff, self._terms = CHECK, STIFF, StayTerms()
        self._outlook: Outlook | None = None
        if self.stabilised is RKC and _room_for_bdf(problem):
            if flops(problem) >= DEAR * problem.n:
                self.stabilised, self._pause, self._terms = BDF, OFTEN, BY_BDF
                self._stiff = EASY * default_method(control.rtol).order
            else:
                self._outlook = Outlook(problem, control.rtol, t0, t1)
        self.chosen: list[tuple[str, float]] = []
        self._counts = {"accepted": 0, "rejected": 0, "rhs_calls": 0}
        self._history = np.zeros((0, 3))
        self._later: Stay | None = None  # with BDF after RKC
        self._past: deque[tuple[float, np.ndarray]] = deque(maxlen=BDF.most_order + 1)
        self._leaving = False  # RKC for BDF, as soon as its last states are kept
        self._stay: Stay | None = None
        self._wait = CHECK  # steps until another stay, after one that did not pay at all
        self._patience = self._looks = 0  # looks at RKC until BDF is tried again, and how many are to come
        self._use(self.explicit, y0, t0, control.first_step)
        self._look_after(self._pause)

    def _use(self, method: Method, y: np.ndarray, t: float, first_step: float | None) -> None:
        control = self._control
        if self._later is not None:
            control = replace(control, rtol=STRICT * control.rtol, atol=STRICT * control.atol)
        if first_step != control.first_step:
            control = replace(control, first_step=first_step)
        self.name, self.at_work = method.name, method.begin(self._problem, y, t, self._t1, control)
        self.for_stiff = self.at_work.for_stiff
        self.chosen.append((method.name, t))
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
            self._consider()
        used = self._counts["accepted"] + self._counts["rejected"]
        # Never past the next look: how many steps a call takes depends on the clock, the choice must not.
        budget = min(budget, self._look - self.at_work.accepted)
        if (self.stabilised is BDF or self._leaving) and self.name != BDF.name:
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
        """Leave the explicit method where stability holds it down, and the other one where that does not pay."""
        if self._stay is None:
            self._consider_explicit()
        elif self._later is not None:
            self._consider_bdf(self._later)
        elif self._leaving:
            self._leaving, self._later = False, Stay(1.0, AFTER_RKC)
            self._change(BDF)
            self._look = self._later.look
        elif self._stay.pays(self.at_work):
            self._look = self._stay.look
            self._consider_rkc(self._stay)
        else:
            self._go_back(self._stay.paid)

    def _consider_explicit(self) -> None:
        if not (self.stabilised is BDF or self._t1 - self.t > LEFT * self.h) or self._held() <= self._stiff:
            self._look_after(self._pause)
            return
        (steps, calls), now = self._before, self.at_work.counts()
        step = (now["rhs_calls"] - calls) / (now["accepted"] - steps)
        terms = GROWING if self.stabilised is not BDF and self._growing() else self._terms
        self._stay = Stay(step / self.h, terms)
        self._use_stabilised(self._stay)

    def _growing(self) -> bool:
        """Whether the state grows like an exponential or faster."""
        rows = self.at_work.history()[-2:, :2]
        if len(rows) < 2:
            return False
        (start, before), (end, now) = rows
        return bool(0.0 < now <= before + RISE * (end - start))

    def _use_stabilised(self, stay: Stay) -> None:
        self._change(self.stabilised)
        self._look = stay.look
        if self._outlook is not None:
            self._outlook.begin(self.at_work)

    def _consider_rkc(self, stay: Stay) -> None:
        """Leave RKC that has paid for BDF, where that has less to do; not until it has states to go on from."""
        if self._outlook is None or not self._outlook.prefers_bdf(self.at_work) or not stay.paid:
            return
        self._looks -= 1
        if self._looks < 0:
            self._leaving = True
            self._look = self.at_work.accepted + BDF.most_order + 1

    def _consider_bdf(self, later: Stay) -> None:
        """Take RKC again where BDF does not pay, for the longer the more often it has not paid at all."""
        if self._outlook is not None and not later.pays(self._outlook.seen(self.at_work)):
            self._patience = 0 if later.paid else 4 * self._patience + 3
            self._looks, self._later = self._patience, None
            if self._stay is not None:
                self._stay.resume()
                self._use_stabilised(self._stay)
        else:
            self._look = later.look

    def _go_back(self, paid: bool) -> None:
        """Take the explicit method again, for the longer the more often the other one has not paid at all."""
        self._stay = None
        self._change(self.explicit)
        self._look_after(CHECK if paid else self._wait)
        self._wait = CHECK if paid else 2 * self._wait

    def _look_after(self, steps: int) -> None:
        """Look at the explicit method after so many steps more."""
        counts = self.at_work.counts()
        self._before = counts["accepted"], counts["rhs_calls"]
        self._look = counts["accepted"] + steps

    def _held(self) -> float:
        """Step x spectral radius of the explicit method, without an evaluation where its stages tell."""
        from ..explicit.table_stepper import TableStepper

        return self.at_work.stage_stiffness() if isinstance(self.at_work, TableStepper) else self.stiffness()

    def _change(self, method: Method) -> None:
        from ..implicit.bdf_stepper import BdfStepper

        self._counts = self.counts()
        self._history = self.history()
        self._use(method, self.y.copy(), self.t, self.h)
        if isinstance(self.at_work, BdfStepper):
            times, states = zip(*self._past, strict=True)
            self.at_work.recall(list(times), list(states))
        self._past.clear()
