"""Steps that have become so short that a run comes to no end, at a place that its equations know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .outcome import Outcome, Status
from .stepper import Stepper

# Of the flow time elapsed: steps as short as this take a hundred thousand for as much again. One may be the first of a
# method that takes over, so that some are waited for.
SHORT, IN_A_ROW = 1e-5, 16


class Collapse:
    """Asks, once steps have collapsed, whether the state is where the equations are singular.

    Parameters
    ----------
    t0 : float
        Flow time of the start.
    explain : callable
        State (n,) -> what is singular there, in words; empty if nothing is.
    """

    def __init__(self, t0: float, explain: Callable[[np.ndarray], str]) -> None:
        self._t0, self._explain, self._short = t0, explain, 0

    def outcome(self, stepper: Stepper) -> Outcome | None:
        """How the run ends after the step just accepted, if it does."""
        longest = max(stepper.t - stepper.t_before, stepper.h)
        self._short = self._short + 1 if longest <= SHORT * (stepper.t - self._t0) else 0
        if self._short < IN_A_ROW:
            return None
        self._short = 0  # short for another reason, steps are asked about from time to time
        return self.at(stepper)

    def at(self, stepper: Stepper) -> Outcome | None:
        """The end at the state reached, if the equations are singular there."""
        detail = self._explain(stepper.y)
        return Outcome(Status.SINGULAR, stepper.t, detail) if detail else None
