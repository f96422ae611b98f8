"""What an optimizer and its steps ask for, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, choice, integer
from ..kernel.problem import Problem
from ..ode.methods import Method
from ..ode.outcome import Outcome, Status
from ..ode.solve import relative_tolerance
from ..optimizers.multirate import Multirate
from ..optimizers.optimizer import Optimizer
from ..optimizers.recursion import Steps
from ..optimizers.schedule import Clock
from ..optimizers.smooth import DISCRETE, Smooth
from .save_steps import MOST_STEPS, save_steps
from .tolerances import RTOL, default_atol

# What `rtol` is unless said, where gradient flow has RTOL: of extrapolated gradients, and of the ODE.
TOLERANCES = {"multirate": 0.01, "steps": 0.0, "flow": 1e-5}


@dataclass(frozen=True)
class StepPlan:
    """The steps of one optimizer.

    Attributes
    ----------
    optimizer : Optimizer
        What moves the weights.
    steps : int
        How many.
    saves : ndarray of int
        Steps to keep.
    method : Method
        How they are taken: "steps", "multirate" or "flow".
    rtol : float
        Its tolerance; 0 for "steps", which has none.
    clock : Clock
        Flow times of the steps.
    """

    optimizer: Optimizer
    steps: int
    saves: np.ndarray
    method: Method
    rtol: float
    clock: Clock

    @classmethod
    def of(
        cls, optimizer: Any, steps: Any, save_at: Any, method: Any, rtol: Any, beside: Mapping[str, Any],
        discrete_start: int | None = None,
    ) -> StepPlan:  # fmt: skip
        """Check what was asked for; `beside` are arguments that do not go with it, by name.

        Raises
        ------
        FieldError
            If one of the two is missing, one of `beside` is given, or a value is out of range.
        """
        if not isinstance(optimizer, Optimizer):
            hint = (
                "give one, such as AdamW(learning_rate=1e-3)." if optimizer is None else "use GD, AdamW, ..."
            )
            raise FieldError(
                "optimizer", f"must be an Optimizer with `steps`, got {brief(optimizer)}: {hint}"
            )
        if steps is None:
            raise FieldError("steps", "is missing: an `optimizer` moves by steps, not to a flow time.")
        for name, value in beside.items():
            if value is not None:
                raise FieldError(
                    name, f"is {brief(value)} beside an `optimizer`, which counts `steps`: leave it out."
                )
        count = integer("steps", steps, 0, MOST_STEPS)
        # The fewest gradients that the optimizer allows, unless said.
        name = ("multirate" if optimizer.elementwise else "steps") if method is None else method
        name = choice("method", name, tuple(TOLERANCES))
        tolerance = TOLERANCES[name] if rtol == RTOL else relative_tolerance(rtol)
        if name == "steps" and tolerance:
            raise FieldError(
                "rtol", f"is {rtol:g}, but each of the optimizer's own steps is taken as it is: leave it out."
            )
        if discrete_start is not None and name != "flow":
            raise FieldError(
                "discrete_start", f'belongs to the method "flow", not to {name!r}: leave it out.'
            )
        discrete = DISCRETE if discrete_start is None else integer("discrete_start", discrete_start, 0)
        chosen = _method(name, optimizer, tolerance, discrete)
        return cls(optimizer, count, save_steps(save_at, count), chosen, tolerance, optimizer.clock(count))

    @property
    def time(self) -> Callable[[Any], Any]:
        """Flow time of steps, whole or in between."""
        return self.clock.smooth_time if isinstance(self.method, Smooth) else self.clock.time

    def limits(self, problem: Problem, y0: np.ndarray, max_steps: int) -> dict[str, Any]:
        """What bounds the work: tolerances of the ODE; the other methods have none in that sense."""
        if isinstance(self.method, Smooth):
            return {"rtol": self.rtol, "atol": default_atol(problem, y0, self.rtol), "max_steps": max_steps}
        return {
            "max_steps": 32 * (self.steps + 1)
        }  # a block is at worst halved from 2^31, and takes a step then

    def in_time(self, outcome: Outcome) -> Outcome:
        """Where the run ended, in flow time; a recursion does not blow up, it diverges at a step."""
        t = float(self.time(outcome.t))
        irregular = (Status.NON_FINITE, Status.STEP_UNDERFLOW, Status.BLOW_UP)
        if outcome.status in irregular and not isinstance(self.method, Smooth):
            rate = f"lower `learning_rate` (it is {self.optimizer.learning_rate:g})"
            return Outcome(Status.NON_FINITE, t, f"diverged at step {int(outcome.t)}; {rate}")
        return replace(outcome, t=t)


def _method(name: str, optimizer: Optimizer, tolerance: float, discrete: int) -> Method:
    if name == "flow":
        return Smooth(optimizer, discrete)
    return Steps(optimizer) if name == "steps" else Multirate(optimizer, tolerance)
