"""How long a theory will hold, from the theory alone: nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_crossing
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import choice, fraction, integer, kind_of, nonnegative
from ...theory.flows.flow import Flow, derive
from ..compile.compiler import compile_flow
from ..integration.integrate import integrate
from ..ode.outcome import IntegrationError, Status
from ..ode.solve import interval
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from jaxtyping import Float

    from ...theory.data.dataset import Dataset
    from ..kernel.problem import Problem

SAFETY = 0.8  # part of the tolerance that the estimated error may use up
MOST_POINTS = 10**6
POINTS = 65  # states kept of the closure's trajectory
CLOSER = (
    12  # looks at most: again, up to twice the horizon, while it lies within the first quarter of the points
)
NEARLY = 0.98  # of the blow-up time: states beyond are too large to be of use
RTOL, TINY = 1e-3, np.finfo(float).tiny


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
        Up to where the theory was looked at, in flow time: the time asked for, or its blow-up.
    evaluations : int
        Of the exact gradient; what one step of full-batch training needs once.
    seconds : float
        Wall-clock time of everything.
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

    def __repr__(self) -> str:
        """What is certified, and at what cost."""
        until = f"up to t = {self.horizon:.4g}" if self.horizon < inf else f"to the end, t = {self.t1:.4g}"
        return (
            f"Certificate({self.weight} within {self.tol:.0%} {until}; "
            f"{self.evaluations} exact gradients, {self.seconds:.2f} s)"
        )


def certificate(
    flow: Flow,
    data: Dataset,
    start: Mapping[str, Any],
    t1: float,
    tol: float = 0.05,
    *,
    weight: str = "W_E",
    learning_rate: float = 0.0,
    points: int = POINTS,
) -> Certificate:
    """Say up to which flow time a closure will follow training, without any training.

    Along the closure's trajectory ``w(t)`` the exact gradient differs by ``r = F_exact(w) - F(w)``. That drives an
    error ``e``, which grows as the exact gradient responds: ``de/dt = r + F_exact(w + e) - F_exact(w)``, e(0) = 0.
    With a learning rate, ``r`` gains what the steps of gradient descent do to first order,
    ``-(learning_rate / 2) d/dt F_exact(w(t))``. The horizon is where ``|e| / |w + e - w(0)|`` reaches 0.8 of `tol`; the
    error is followed only up to twice of it, and to three digits.

    Parameters
    ----------
    flow : Flow
        A derived closure.
    data : Dataset
        Training data; the loss is its weighted mean.
    start : dict
        Weight name -> array (rows, cols) at t = 0.
    t1 : float
        Flow time up to which to look; a blow-up may come first.
    tol : float
        Relative error of the displacement, between 0 and 1.
    weight : str
        Whose displacement.
    learning_rate : float
        Of the full-batch gradient descent that the theory is to follow; 0 is the gradient flow.
    points : int
        States of the closure's trajectory that are kept, at least 9; a short horizon takes as many again.

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
    interval(0.0, t1, empty=False)
    _check(flow, tol, weight, learning_rate, points)
    began, evaluations, end, looked, closer = time.perf_counter(), 0, t1, 0.0, CLOSER
    while True:
        states = _states(flow, data, start, end, points)
        lack = _Lack(flow, data, states, learning_rate)
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
        horizon, tol, weight, states.t[:last], error[:last], lack.size[:last], looked, evaluations, seconds
    )


class _Lack:
    """What a closure's right-hand side lacks along its trajectory, and the error that follows from it.

    Parameters
    ----------
    flow, data, states
        The closure and its trajectory.
    learning_rate : float
        Of the gradient descent to follow.
    """

    def __init__(self, flow: Flow, data: Dataset, states: Trajectory, learning_rate: float) -> None:
        from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

        start = states.state(0)
        self.problem = compile_flow(flow, data, start, fold=False)
        self.exact = compile_flow(derive(flow.model, "exact"), data, start, fold=False)
        self.t = states.t
        self.y = np.stack(
            [self.problem.pack({n: w[i] for n, w in states.weights.items()}) for i in range(len(states))]
        )
        slopes, wanted = (np.stack([_derivative(p, y) for y in self.y]) for p in (self.problem, self.exact))
        lacking = wanted - slopes
        self.size = np.linalg.norm(lacking, axis=1) / np.linalg.norm(wanted, axis=1)
        steps = -0.5 * learning_rate * np.gradient(wanted, self.t, axis=0)
        self.first, self.evaluations = (wanted[0], lacking[0] + steps[0]), len(self.t)
        # Local interpolation: the times may lie orders of magnitude more densely at one end.
        self.along = CubicHermiteSpline(self.t, self.y, slopes)
        with np.errstate(over="ignore"):  # of harmonic means of slopes next to zero
            self.steps = PchipInterpolator(self.t, steps)

    def error(self, weight: str, tol: float) -> np.ndarray:
        """Relative error of a weight's displacement at the saved times (n_t,); nan beyond 2 `tol`."""
        from scipy.integrate import solve_ivp

        offset, shape = self.problem.layout[weight]
        part = slice(offset, offset + shape[0] * shape[1])

        def slope(t: float, e: np.ndarray) -> np.ndarray:
            y = self.along(t)
            self.evaluations += 1
            return _derivative(self.exact, y + e) - _derivative(self.problem, y) + self.steps(t)

        def relative(t: float, e: np.ndarray) -> float:
            moved = self.along(t)[part] + e[part] - self.y[0][part]
            return float(np.linalg.norm(e[part]) / max(np.linalg.norm(moved), TINY))

        def beyond(t: float, e: np.ndarray) -> float:
            return relative(t, e) - 2.0 * tol if t > 1e-3 * self.t[1] else -1.0

        beyond.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
        wanted, driving = (float(np.linalg.norm(f[part])) for f in self.first)
        error = np.full(len(self.t), np.nan)
        error[0] = driving / max(wanted, TINY)  # the limit of `relative` as t goes to 0
        if error[0] > tol:
            return error
        first = self.y[1][part] - self.y[0][part]
        solution = solve_ivp(
            slope, (self.t[0], self.t[-1]), np.zeros(self.y.shape[1]), "RK45", self.t, rtol=RTOL,
            atol=RTOL * tol * float(np.sqrt(np.mean(first**2))), events=beyond,
        )  # fmt: skip
        found = [relative(t, e) for t, e in zip(solution.t[1:], solution.y.T[1:], strict=True)]
        error[1 : len(found) + 1] = found
        return error


def _states(flow: Flow, data: Dataset, start: Mapping[str, Any], t1: float, points: int) -> Trajectory:
    """States of the closure up to `t1`, or up to shortly before its blow-up, as dense as the integrator's steps."""
    seen = [0.0]

    def watch(t: float, weights: Any) -> float:
        seen.append(t)
        return 1.0

    found = integrate(flow, data, start, t1=t1, save_at=[t1], events=watch, throw=False)
    if found.outcome.status is Status.BLOW_UP:
        t1 = NEARLY * found.outcome.t
    elif not found.outcome.success:
        raise IntegrationError(str(found.outcome), found)
    steps = np.unique([*(t for t in seen if t < t1), t1])
    times = np.interp(np.linspace(0, len(steps) - 1, points), np.arange(len(steps)), steps)
    return integrate(flow, data, start, t1=t1, save_at=times)


def _derivative(problem: Problem, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(y)
    problem(0.0, y, out)
    return out


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
