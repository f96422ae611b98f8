"""What an optimizer and its steps ask for, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, choice, integer
from ...theory.flows.closure import Closure
from ..kernel.problem import Problem
from ..ode.asked import relative_tolerance
from ..ode.methods import Method
from ..ode.outcome import Outcome, Status
from ..optimizers.minibatches import GradientRows
from ..optimizers.multirate import Multirate
from ..optimizers.optimizer import Optimizer, SignGD
from ..optimizers.recursion import Steps
from ..optimizers.schedule import Clock, warn_of_end
from ..optimizers.smooth import DISCRETE, Smooth
from .save_steps import MOST_STEPS, save_steps
from .tolerances import default_atol

if TYPE_CHECKING:
    from ...theory.flows.flow import Flow
    from ..reduced.reduction import Reduction

# What `rtol` is unless said: of extrapolated gradients, and of the ODE.
TOLERANCES = {"multirate": 0.012, "steps": 0.0, "flow": 1e-5}
LIMITS = (Status.MAX_STEPS, Status.MAX_SECONDS)


@dataclass(frozen=True, eq=False)
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
    name : str
        How they are taken: "steps", "multirate" or "flow".
    rtol : float
        Its tolerance; 0 for "steps", which has none.
    discrete_start : int
        How many of them "flow" takes one by one.
    clock : Clock
        Flow times of the steps.
    batch_size, seed : int or None
        Sequences per minibatch, None for all of them; which minibatches, None for their mean.
    """

    optimizer: Optimizer
    steps: int
    saves: np.ndarray
    name: str
    rtol: float
    discrete_start: int
    clock: Clock
    batch_size: int | None = None
    seed: int | None = None

    @classmethod
    def of(
        cls, optimizer: Any, steps: Any, save_at: Any, method: Any, rtol: Any, beside: Mapping[str, Any],
        discrete_start: int | None = None, batch_size: int | None = None, seed: int | None = None,
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
        if batch_size is not None:
            integer("batch_size", batch_size, 1)
        if seed is not None:
            integer("seed", seed, 0)
        # The fewest gradients that the optimizer and its batches allow, unless said.
        jumps = (
            isinstance(optimizer, SignGD) and optimizer.eps == 0.0
        )  # at every change of a sign, as no path does
        blocks = optimizer.elementwise and seed is None and not jumps
        name = ("multirate" if blocks else "steps") if method is None else method
        tolerance, discrete = _of_method(choice("method", name, tuple(TOLERANCES)), rtol, discrete_start)
        if name == "multirate" and seed is not None:
            raise FieldError("seed", f'is {seed}, whose batches "multirate" cannot foresee: use "steps".')
        if name == "flow" and batch_size is not None:
            raise FieldError("batch_size", f'is {batch_size}, but "flow" is of the full batch: use "steps".')
        saves = save_steps(save_at, count)
        plan = cls(
            optimizer, count, saves, name, tolerance, discrete, optimizer.clock(count), batch_size, seed
        )
        warn_of_end(optimizer.learning_rate, optimizer.schedule, count)
        plan.method()  # refuses what the optimizer cannot do
        return plan

    def method(self, batches: GradientRows | None = None) -> Method:
        """How the steps are taken, on these batches."""
        if self.name == "flow":
            return Smooth(self.optimizer, self.discrete_start)
        if self.name == "steps":
            return Steps(self.optimizer, batches)
        return Multirate(self.optimizer, self.rtol, batches)

    @property
    def drawn(self) -> str:
        """For labels."""
        size = "" if self.batch_size is None else f", batches of {self.batch_size}"
        return size + ("" if self.seed is None else f", seed {self.seed}")

    @property
    def time(self) -> Callable[[Any], Any]:
        """Flow time of steps, whole or in between."""
        return self.clock.smooth_time if self.name == "flow" else self.clock.time

    def limits(self, problem: Problem, y0: np.ndarray, max_steps: int) -> dict[str, Any]:
        """What bounds the work: tolerances of the ODE; the other methods have none in that sense."""
        if self.name == "flow":
            return {"rtol": self.rtol, "atol": default_atol(problem, y0, self.rtol), "max_steps": max_steps}
        return {
            "max_steps": 32 * (self.steps + 1)
        }  # a block is at worst halved from 2^31, and takes a step then

    def in_time(self, outcome: Outcome, flow: Flow | Reduction) -> Outcome:
        """Where a run of a flow ended, in flow time; a recursion does not blow up, it diverges at a step.

        The flow of a loss that is a series may blow up at any rate, so that no lower one helps there.
        """
        t = float(self.time(outcome.t))
        if outcome.status in LIMITS:
            return Outcome(
                outcome.status, t, f"step {outcome.t:.6g} of {self.steps} was reached{self._remedy}"
            )
        irregular = (Status.NON_FINITE, Status.STEP_UNDERFLOW, Status.BLOW_UP)
        if outcome.status in irregular and self.name != "flow":
            rate = f"lower `learning_rate` (it is {self.optimizer.learning_rate:g})"
            other = (
                ", or take the closure softmax: a series of the loss may blow up at any rate"
                if not Closure.of(flow.closure, flow.model).whole_loss
                else ""
            )
            return Outcome(Status.NON_FINITE, t, f"diverged at step {int(outcome.t)}; {rate}{other}")
        return replace(outcome, t=t)

    @property
    def _remedy(self) -> str:
        """What helps where a limit came before the end."""
        if self.name == "steps":
            faster = self.optimizer.elementwise and self.seed is None
            return '; use a higher limit, or method "multirate".' if faster else "; use a higher limit."
        if self.name == "flow":
            return '; use a larger `rtol`, a higher limit, or method "steps".'
        return "; use a larger `rtol` or a higher limit."


def _of_method(name: str, rtol: Any, discrete_start: int | None) -> tuple[float, int]:
    """Tolerance and discrete steps of a method, which may have neither."""
    tolerance = TOLERANCES[name] if rtol is None else relative_tolerance(rtol)
    if name == "steps" and rtol is not None:
        raise FieldError(
            "rtol", f"is {rtol:g}, but each of the optimizer's own steps is taken as it is: leave it out."
        )
    if discrete_start is not None and name != "flow":
        raise FieldError("discrete_start", f'belongs to the method "flow", not to {name!r}: leave it out.')
    if discrete_start is None:
        return tolerance, DISCRETE
    return tolerance, integer("discrete_start", discrete_start, 0, MOST_STEPS)


def check_asked(optimizer: Any, batch_size: Any, seed: Any) -> None:
    """Refuse a batch size without an optimizer, and a seed without a batch size."""
    for name, value, other, asked in (
        ("batch_size", batch_size, "an `optimizer`", optimizer),
        ("seed", seed, "a `batch_size`", batch_size),
    ):
        if value is not None and asked is None:
            raise FieldError(name, f"is {brief(value)} without {other}: give one, or leave it out.")
