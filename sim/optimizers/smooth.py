"""An optimizer as a flow in the step s, dW/ds = -eta(s) kappa (u + lambda W): for analysis, and what equations print.

`GD` and `Momentum` have their decay in the gradient, as in their steps. Moments follow what their recursion does to a
gradient that stays, v' = r (g / (1 - mu) - v) with r = -ln mu; a' = r1 (g - a) / (1 - exp(-r1 (s + 1))) and likewise b'
for AdamW's bias-corrected a and b, where the offset 1 makes the first step Adam's. Against the steps the error falls as
the rate at a fixed product of rate and steps.
"""

from __future__ import annotations

import numpy as np

from ...theory.base.errors import FieldError
from ..kernel.problem import Problem
from ..ode.choice.automatic import SwitchingStepper
from ..ode.choice.relay import Relay
from ..ode.codes import DONE, RUNNING
from ..ode.methods.method import Method
from ..ode.stepper import StepControl, Stepper
from .optimizer import AdamW, Momentum, Optimizer, SignGD, Spectral
from .recursion import RecursionStepper
from .step_problem import step_problem

DISCRETE = 20  # steps taken as they are, until moments have forgotten that they began at nothing


class SmoothStepper(Relay):
    """First some steps of the recursion, then its flow; what it shows are the weights, time counts steps.

    Parameters
    ----------
    problem, y0, t0, t1
        As in `Method.begin`; t0 and t1 are whole.
    optimizer : Optimizer
        What moves the weights.
    discrete : int
        Number of steps taken one by one at the start.
    control : StepControl
        Tolerances of the integration, of weights and of moments in units of theirs.
    """

    name = "flow"

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, optimizer: Optimizer, discrete: int,
        control: StepControl,
    ) -> None:  # fmt: skip
        self._problem, self._t1, self._optimizer, self._control = problem, t1, optimizer, control
        self._n = problem.n
        self.first = RecursionStepper(problem, y0, t0, min(t0 + discrete, t1), optimizer)
        self.at_work: Stepper = self.first

    def _hand_over(self) -> None:
        """Go on from the last step as a flow."""
        first, o = self.first, self._optimizer
        moments, units = _moments(first, o), np.ones((len(first.updates.parts), 2))
        state = np.concatenate([first.y, *moments])
        sizes = [_rms(first.y[low:high]) for low, high, *_ in first.updates.parts]
        size = min((s for s in sizes if s > 0.0), default=1.0)
        for k, (low, high, *_) in enumerate(first.updates.parts):
            for m, moment in enumerate(moments):
                units[k, m] = (_rms(moment[low:high]) or 1.0) / size
                state[self._n * (m + 1) + low : self._n * (m + 1) + high] /= units[k, m]
        smooth = step_problem(self._problem, o, o.clock(int(self._t1)), units)
        self.at_work = SwitchingStepper(smooth, state, first.t, self._t1, self._control)
        if self._halted:
            self.at_work.halt()

    @property
    def y(self) -> np.ndarray:
        """Weights."""
        return self.at_work.y[: self._n]

    @property
    def methods(self) -> str:
        """What integrated the flow, each method with the step from which it did."""
        if not isinstance(self.at_work, SwitchingStepper):
            return self.name
        return ", ".join([self.name, *(f"{name} from step {s:.6g}" for name, s in self.at_work.chosen)])

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps of the recursion, then of the integration; see `Stepper`."""
        if self.at_work is self.first:
            if self.t < self.first.last:
                code = self.first.advance(stop, budget, limit)
                return RUNNING if code == DONE and self.t < self._t1 else code
            if self.t >= self._t1:
                return DONE
            self._hand_over()
        return self.at_work.advance(stop, budget, limit - self.first.accepted)

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the weights within the last accepted step."""
        if self.at_work is self.first:
            return self.first.dense(times, out)
        states = np.empty((len(times), len(self.at_work.y)))
        self.at_work.dense(times, states)
        out[:] = states[:, : self._n]
        return None

    def counts(self) -> dict[str, int]:
        """Steps of both kinds, and evaluations of the gradient."""
        counts = self.first.counts()
        if self.at_work is self.first:
            return counts
        return {name: n + counts[name] for name, n in self.at_work.counts().items()}


def _moments(first: RecursionStepper, o: Optimizer) -> list[np.ndarray]:
    """Moments at the weights reached, those that the next step would use: with the gradient here."""
    g = first.gradient.copy()
    if isinstance(o, AdamW):
        corrections = [1.0 - beta ** (first.step + 1) for beta in o.betas]
        return [
            (beta * m + (1.0 - beta) * new) / correction
            for beta, m, new, correction in zip(o.betas, first.moments, (g, g * g), corrections, strict=True)
        ]
    if isinstance(o, Momentum):
        for low, high, _, _, decay in first.updates.parts:
            g[low:high] += decay * first.y[low:high]
    return [o.momentum * m + g for m in first.moments] if isinstance(o, Momentum | Spectral) else []


def _rms(x: np.ndarray) -> float:
    top = float(np.abs(x).max(initial=0.0))
    return top * float(np.sqrt(np.mean((x / top) ** 2))) if top > 0.0 else 0.0


class Smooth(Method):
    """The flow of an optimizer, as a method of `solve` whose time counts steps.

    Parameters
    ----------
    optimizer : Optimizer
        What moves the weights.
    discrete : int
        Number of steps taken one by one at the start.

    Raises
    ------
    ValueError
        If the optimizer's direction jumps where a gradient changes its sign: such a flow has no solution.
    """

    name = "flow"
    reference = "module docstring; the continuous limit of the recursion at a fixed product of rate and steps"

    def __init__(self, optimizer: Optimizer, discrete: int = DISCRETE) -> None:
        o = optimizer
        if isinstance(o, SignGD) and o.eps == 0.0:
            raise FieldError(
                "eps",
                f'is 0, but method "flow" cannot follow {o.label} whose direction jumps with the sign of the '
                'gradient: give a positive `eps`, or use method "steps".',
            )
        self.optimizer, self.discrete = optimizer, discrete

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start with the recursion."""
        return SmoothStepper(problem, y0, t0, t1, self.optimizer, self.discrete, control)
