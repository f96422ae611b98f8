"""How long a theory will hold, from the theory alone: nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf, isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import choice, fraction, integer, kind_of, nonnegative
from ...theory.flows.flow import Flow
from ..integration.integrate import integrate
from ..integration.save_steps import MOST_STEPS
from ..integration.step_plan import StepPlan, check_asked
from ..ode.asked import interval
from ..ode.outcome import IntegrationError, Status
from ..optimizers.optimizer import Optimizer
from ..trajectory.trajectory import Trajectory
from .closure_errors import Lack, StepPaths, errors_at

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from ...theory.data.dataset import Dataset

SAFETY = 0.8  # part of the tolerance that the estimated error may use up
MOST_POINTS = 10**6
POINTS = 65  # states kept of the closure's trajectory
CLOSER = (
    12  # looks at most: again, up to twice the horizon, while it lies within the first quarter of the points
)
NEARLY = 0.98  # of the time at which the equations end: states beyond are too large to be of use


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(FrozenRecord):
    """Up to which flow time a theory's relative error stays below a tolerance; made by `certificate`.

    Attributes
    ----------
    horizon : float
        Certified flow time; infinity if the error stays below `tol` up to `t1`.
    tol : float
        Relative error of the displacement of `weight`.
    weight : str
        Name of the weight.
    t, error : ndarray, shape (n_t,)
        Flow times from 0 to a little past the horizon, and the estimated relative error there.
    residual : ndarray, shape (n_t,)
        Norm of the exact gradient minus the closure's along the theory, relative to the exact one.
    t1 : float
        Up to where the theory was looked at, in flow time: the time asked for, or the end of its equations.
    evaluations : int
        Of the exact gradient; what one step of full-batch training needs once.
    seconds : float
        Wall-clock time of everything.
    steps : ndarray or None, shape (n_t,)
        Steps of the optimizer at `t`, if one moves the theory.
    ended : str
        How the equations of the closure ended before the time asked for, and what to do; empty where they did not.
    """

    horizon: float
    tol: float
    weight: str
    t: Float[np.ndarray, " n_t"]
    error: Float[np.ndarray, " n_t"]
    residual: Float[np.ndarray, " n_t"]
    t1: float
    evaluations: int
    seconds: float
    steps: Int[np.ndarray, " n_t"] | None = None
    ended: str = ""

    @property
    def horizon_steps(self) -> float:
        """Certified steps, whole; infinity as for the horizon, nan without an optimizer."""
        if self.steps is None:
            return nan
        return inf if self.horizon == inf else floor(np.interp(self.horizon, self.t, self.steps) + 1e-9)

    def __repr__(self) -> str:
        """What is certified, and at what cost."""
        until = f"up to t = {self.horizon:.4g}" if self.horizon < inf else f"to the end, t = {self.t1:.4g}"
        until += "" if isnan(self.horizon_steps) or self.horizon == inf else f", step {self.horizon_steps}"
        return (
            f"Certificate({self.weight} within {self.tol:.0%} {until}; "
            f"{self.evaluations} exact gradients, {self.seconds:.2f} s{self.ended and f'; {self.ended}'})"
        )


def certificate(
    flow: Flow,
    data: Dataset,
    start: Mapping[str, Any],
    t1: float | None = None,
    tol: float = 0.05,
    *,
    weight: str = "W_E",
    learning_rate: float = 0.0,
    points: int = POINTS,
    optimizer: Optimizer | None = None,
    steps: int | None = None,
    method: str | None = None,
    batch_size: int | None = None,
) -> Certificate:
    """Say up to which flow time a closure will follow training, without any training.

    Along the closure's trajectory ``w(t)`` the exact gradient differs by ``r = F_exact(w) - F(w)``. That drives an
    error ``e``, which grows as the exact gradient responds: ``de/dt = r + F_exact(w + e) - F_exact(w)``, e(0) = 0.
    With a learning rate, ``r`` gains what the steps of gradient descent do to first order,
    ``-(learning_rate / 2) d/dt F_exact(w(t))``. The horizon is where ``|e| / |w + e - w(0)|`` reaches 0.8 of `tol`; the
    error is followed only up to twice of it, and to three digits.

    With an `optimizer` the theory takes its steps, and so does the exact closure, in blocks where the optimizer allows
    (see `integrate`), until it has left the theory by twice `tol`: no bound holds under moments and signs, so that the
    error itself is followed. It includes what `method` does to the theory, and on minibatches it is that of the mean
    paths: the noise of a single run is none of the theory's.

    Parameters
    ----------
    flow : Flow
        A derived closure.
    data : Dataset
        Training data; the loss is its weighted mean.
    start : dict
        Weight name -> array (rows, cols) at t = 0.
    t1 : float
        Flow time up to which to look; a blow-up may come first. With an optimizer give `steps` in its place.
    tol : float
        Relative error of the displacement, between 0 and 1.
    weight : str
        Whose displacement.
    learning_rate : float
        Of the full-batch gradient descent that the theory is to follow; 0 is the gradient flow.
    points : int
        States of the closure's trajectory that are kept, at least 9; a short horizon takes as many again.
    optimizer, steps, method, batch_size
        What moves theory and training, up to which step to look, how the theory is moved and on which batches: as in
        `integrate`.

    Returns
    -------
    Certificate
        An estimate with a margin, no proof: docs/why.md says how often and by how much it is right.

    Raises
    ------
    ValueError
        For malformed input.
    IntegrationError
        If the closure cannot be integrated.
    """
    kind_of("flow", flow, Flow, "`derive` makes one")
    _check(flow, tol, weight, learning_rate, points)
    if optimizer is not None or steps is not None:
        given = {"t1": t1, "learning_rate": learning_rate or None}
        plan = StepPlan.of(optimizer, steps, None, method, None, given, batch_size=batch_size)
        paths = StepPaths(flow, data, flow.model.validate(start), plan.optimizer, method, batch_size)
        return _in_steps(paths, integer("steps", steps, 1, MOST_STEPS), tol, weight, points)
    check_asked(optimizer, batch_size, None)
    if method is not None or t1 is None:
        name, why = (
            ("t1", "is missing: give the end in flow time")
            if t1 is None
            else ("method", "is none of a flow's")
        )
        raise FieldError(name, f"{why}, or an `optimizer` and its `steps`.")
    interval(0.0, t1, empty=False)
    return _in_time(flow, data, start, t1, tol, weight, learning_rate, points)


def _in_steps(paths: StepPaths, steps: int, tol: float, weight: str, points: int) -> Certificate:
    """The certificate of a theory that an optimizer moves."""
    began, evaluations, end, looked, closer, ended = time.perf_counter(), 0, steps, 0.0, CLOSER, ""
    while True:
        theory = paths.theory(end, points)
        if len(theory) < 2:
            raise IntegrationError(str(theory.outcome), theory)
        early = "" if theory.outcome.status is Status.REACHED_END else str(theory.outcome)
        ended = ended or early  # a closer look does not come to where they end
        exact = paths.exact(theory, weight, 2.0 * tol)
        error = errors_at(theory, exact, weight)
        evaluations, looked = evaluations + exact.statistics["rhs_calls"], max(looked, float(theory.t[-1]))
        horizon = _horizon(theory.t, error, SAFETY * tol)
        at, closer = len(theory) // 4, closer - 1
        if len(theory) > end or horizon >= min(theory.t[at], 0.4 * theory.t[-1]) or not closer:
            break
        end = int(np.ceil(2.0 * np.interp(horizon, theory.t, np.asarray(theory.steps))))
    if horizon == inf and not (theory.outcome.status is Status.REACHED_END and end == steps):
        horizon = float(theory.t[-1])
    last = min(int(np.searchsorted(theory.t, horizon)) + 1, len(theory))
    residual = paths.residual(theory, last)
    seconds = time.perf_counter() - began
    return Certificate(
        horizon, tol, weight, theory.t[:last], error[:last], residual, looked, evaluations + last, seconds,
        np.asarray(theory.steps)[:last], ended,
    )  # fmt: skip


def _in_time(
    flow: Flow, data: Dataset, start: Mapping[str, Any], t1: float, tol: float, weight: str, learning_rate: float,
    points: int,
) -> Certificate:  # fmt: skip
    """The certificate of a flow."""
    began, evaluations, end, looked, closer = time.perf_counter(), 0, t1, 0.0, CLOSER
    ended = ""
    while True:
        states, early = _states(flow, data, start, end, points)
        ended = ended or early  # a closer look does not come to where they end
        lack = Lack(flow, data, states, learning_rate)
        error = lack.error(weight, tol)
        evaluations, looked, closer = (
            evaluations + lack.evaluations,
            max(looked, float(states.t[-1])),
            closer - 1,
        )
        horizon = _horizon(states.t, error, SAFETY * tol)
        near = min(states.t[points // 4], 0.4 * states.t[-1])
        if horizon == 0.0 or horizon >= near or not closer:
            break
        end = 2.0 * horizon  # the error grew where there are few points: look closer
    if horizon == inf and states.t[-1] < t1:
        horizon = float(states.t[-1])  # a blow-up, or a closer look that saw no farther
    last = min(int(np.searchsorted(states.t, horizon)) + 1, len(states))
    seconds = time.perf_counter() - began
    return Certificate(
        horizon, tol, weight, states.t[:last], error[:last], lack.size[:last], looked, evaluations, seconds,
        ended=ended,
    )  # fmt: skip


def _states(
    flow: Flow, data: Dataset, start: Mapping[str, Any], t1: float, points: int
) -> tuple[Trajectory, str]:
    """States of the closure up to `t1`, or shortly before its equations end, as dense as steps; and how they do."""
    seen = [0.0]

    def watch(t: float, weights: Any) -> float:
        seen.append(t)
        return 1.0

    found = integrate(flow, data, start, t1=t1, save_at=[t1], events=watch, throw=False)
    ended = "" if found.outcome.status is Status.REACHED_END else str(found.outcome)
    if found.outcome.status in (Status.BLOW_UP, Status.SINGULAR):
        t1 = NEARLY * found.outcome.t
    elif not found.outcome.success:
        raise IntegrationError(str(found.outcome), found)
    steps = np.unique([*(t for t in seen if t < t1), t1])
    times = np.interp(np.linspace(0, len(steps) - 1, points), np.arange(len(steps)), steps)
    return integrate(flow, data, start, t1=t1, save_at=times), ended


def _horizon(t: np.ndarray, error: np.ndarray, level: float) -> float:
    """First time at which the error reaches `level`; infinity if never, at the last known point where it is lost."""
    known = int(np.argmax(np.isnan(error))) if np.isnan(error).any() else len(error)
    horizon = float(first_crossing(t[:known], error[:known], level, rising=True))
    if horizon < inf or known == len(error):
        return horizon
    return float(t[known - 1]) if known > 1 else 0.5 * float(t[known])


def _check(flow: Flow, tol: float, weight: str, learning_rate: float, points: int) -> None:
    fraction("tol", tol)
    choice("weight", weight, flow.model.weights)
    nonnegative("learning_rate", learning_rate)
    integer("points", points, 9, MOST_POINTS)
