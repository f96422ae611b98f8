"""Whether RKC or BDF would take less to the end: by counted calls, and by what sizes say of the work beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...kernel.work import flops, operations_of
from .relay import StayTerms

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from ..stepper import Stepper

# Microseconds of a call of a small flow: at the least, for each operation, number it writes, unknown and operation of a
# product; and of what BDF does besides an evaluation. `python tests/benchmarks/choice_constants.py` measures them and
# those below: a call is up to 1.6 times as dear.
LEAST, OPERATION, NUMBER, UNKNOWN, PRODUCT = 0.4, 0.037, 0.0023, 0.002, 5e-5
BESIDES, EACH = 177.0, 0.14
# Evaluations of BDF, at the tolerances that it is given after RKC: of a change to it; while flow time grows by a factor
# of e, twice as many as it needs at the least; and in place of a step of RKC at rtol 1, a number that falls with rtol
# as orders 2 and 5 have it. The first is chosen, not measured.
CHANGE, FOLD, STEP = 100.0, 150.0, 14.0
WORTH = 1.5  # how much dearer than BDF to the end RKC is to be
FEWEST = 20  # steps of RKC that say what it costs
# of BDF after RKC, from which it has states enough for a high order from its first step
AFTER_RKC = StayTerms(settling=5, trial=5, again=20, later=40, doubt=2.0)


def price(problem: Problem) -> float:
    """Calls of RKC that take as long as an evaluation of BDF, by sizes alone."""
    operations = sum(1 for _ in operations_of(problem))
    call = LEAST + OPERATION * operations + NUMBER * problem.work.size
    call += UNKNOWN * problem.n + PRODUCT * flops(problem)
    return 1.0 + (BESIDES + EACH * problem.n) / call


class Outlook:
    """Says at each look at RKC what that would take to the end by its calls of late, and what BDF would.

    Steps along a flow that slows down grow in proportion to the time gone by. Those of RKC take more stages, as the
    root of that time, until these are `MOST_STAGES`; BDF needs about as many evaluations for each factor of e. Where
    steps do not grow, or rates rise, RKC takes more than is expected here. Where more directions are fast than BDF
    learns it is dear, which a stay with it shows.

    Parameters
    ----------
    problem : Problem
        The flow.
    rtol : float
        Relative tolerance.
    t0, t1 : float
        Start and end in flow time.
    """

    def __init__(self, problem: Problem, rtol: float, t0: float, t1: float) -> None:
        self.price = price(problem)
        self._t0, self._span = t0, t1 - t0
        self._step = STEP * rtol ** (1.0 / 6.0)
        self._before = (0.0, 0, 0)  # time gone by, steps and calls at the last look
        self._scale = self._most = 1.0

    def begin(self, stepper: Stepper) -> None:
        """Take note of where RKC stands as it begins, or begins anew."""
        counts = stepper.counts()
        self._before = stepper.t - self._t0, counts["accepted"], counts["rhs_calls"]

    def prefers_bdf(self, stepper: Stepper) -> bool:
        """Whether BDF would have had less to do since the last look at RKC, and clearly less to do from here."""
        from ..explicit.rkc_steps import MOST_STAGES  # compiled or loaded long since: RKC is at work

        start, steps, calls = self._before
        self.begin(stepper)
        now, steps, calls = self._before[0], self._before[1] - steps, self._before[2] - calls
        if steps < FEWEST or not start > 0.0:
            return False
        if not (folds := math.log(now / start)) > 0.0:  # steps too short to be told from the time gone by
            return False
        middle = math.sqrt(start * now)
        self._scale = calls / (now - start) * math.sqrt(middle)
        self._most = middle * max(1.0, MOST_STAGES * steps / calls) ** 2
        a_fold = max(FOLD, self._step * steps / folds)
        to_come = CHANGE + a_fold * math.log(self._span / now)
        left = self._taken(self._span) - self._taken(now)
        return bool(calls > self.price * a_fold * folds and left > WORTH * self.price * to_come)

    def _taken(self, gone: float) -> float:
        """Calls of RKC up to a time gone by, up to a constant: in proportion to its root until stages are the most."""
        most = min(gone, self._most)
        return self._scale * (2.0 * math.sqrt(most) + (gone - most) / math.sqrt(self._most))

    def seen(self, stepper: Stepper) -> Seen:
        """BDF at work, as a `Stay` sees it that holds it against RKC."""
        gone, counts = stepper.t - self._t0, stepper.counts()
        return Seen(counts["accepted"], self._taken(gone), self.price * counts["rhs_calls"])


@dataclass(frozen=True)
class Seen:
    """What a `Stay` asks of a stepper: its steps, the calls that RKC would have taken as far, and its own in those."""

    accepted: int
    swept: float
    calls: float
    radius: float = 1.0

    def counts(self) -> dict[str, float]:
        """Return "rhs_calls"."""
        return {"rhs_calls": self.calls}
