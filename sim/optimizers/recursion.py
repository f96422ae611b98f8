"""The optimizer's own steps on the gradient of a closure: no discretisation error, one evaluation a step."""

from __future__ import annotations

import numpy as np

from ..kernel.alignment import aligned
from ..kernel.problem import Problem
from ..ode.codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from ..ode.methods.method import Method
from ..ode.stepper import NotFiniteAtStart, StepControl, Stepper
from .minibatches import FullBatch, GradientRows
from .optimizer import Optimizer
from .updates import Polynomial, Updates


class RecursionStepper(Stepper):
    """Time counts steps; a call of the right-hand side is minus the gradient.

    Parameters
    ----------
    problem, y0, t0, t1
        As in `Method.begin`; t0 and t1 are whole.
    optimizer : Optimizer
        What moves the weights.
    batches : GradientRows
        Of which the gradient is, or the mean; None for the full batch.
    """

    name = "steps"

    def __init__(
        self,
        problem: Problem,
        y0: np.ndarray,
        t0: float,
        t1: float,
        optimizer: Optimizer,
        batches: GradientRows | None = None,
    ) -> None:
        self.problem, self.step, self.last = problem, int(t0), int(t1)
        self.updates = Updates(optimizer, problem, optimizer.clock(self.last))
        self._y, self._before, self._bad = aligned(len(y0)), y0.copy(), False
        self._y[:] = y0
        self.moments = self.updates.start(len(y0))
        self.calls, self._from = 0, self.step
        self._slope = aligned(len(y0))
        self.batches = (batches or FullBatch()).begun()
        self.gradient = self._evaluate(self._y)
        if not np.isfinite(self.gradient).all():
            raise NotFiniteAtStart(t0)
        self._extra = self.batches.noise(self._y)

    def _evaluate(self, y: np.ndarray) -> np.ndarray:
        self.batches.slope(self.problem, y, self._slope)
        self.calls += 1
        return -self._slope

    @property
    def t(self) -> float:
        """Steps taken."""
        return float(self.step)

    @property
    def t_before(self) -> float:
        """Step before the last."""
        return float(max(self.step - 1, self._from))

    @property
    def y(self) -> np.ndarray:
        """Weights."""
        return self._y

    @property
    def h(self) -> float:
        """One step."""
        return 1.0

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last step gave weights or a gradient that are not finite."""
        return self._bad

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take whole steps; see `Stepper`."""
        taken = 0
        while self.step < self.last and self.step < stop and taken < budget:
            if self.step - self._from >= limit:
                return OUT_OF_STEPS
            np.copyto(self._before, self._y)
            path = Polynomial(self.gradient)
            self.updates.take(self._y, self.moments, self.step, 1, path, self.batches.keep, self._extra)
            gradient = self._evaluate(self._y) if np.isfinite(self._y).all() else self.gradient * np.nan
            if not np.isfinite(gradient).all():
                np.copyto(self._y, self._before)
                self._bad = True
                return UNDERFLOW
            self.gradient, self._extra = gradient, self.batches.noise(self._y)
            self.step, taken = self.step + 1, taken + 1
        return DONE if self.step >= self.last else RUNNING

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Straight lines between steps."""
        for row, time in zip(out, times, strict=True):
            part = time - self.t_before
            np.multiply(self._before, 1.0 - part, out=row)
            row += part * self._y

    def counts(self) -> dict[str, int]:
        """Steps, none rejected, and evaluations of the gradient."""
        return {"accepted": self.step - self._from, "rejected": 0, "rhs_calls": self.calls}


class Steps(Method):
    """The recursion of an optimizer, as a method of `solve` whose time counts steps.

    Parameters
    ----------
    optimizer : Optimizer
        What moves the weights.
    batches : GradientRows
        Of which the gradient is, or the mean; None for the full batch.
    """

    name = "steps"
    reference = "the optimizer's own definition"

    def __init__(self, optimizer: Optimizer, batches: GradientRows | None = None) -> None:
        self.optimizer, self.batches = optimizer, batches

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start the recursion; tolerances play no part."""
        del control
        return RecursionStepper(problem, y0, t0, t1, self.optimizer, self.batches)
