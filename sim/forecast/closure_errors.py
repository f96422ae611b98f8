"""The error of a closure along its path: under gradient flow by an equation, under an optimizer beside the exact one.

Under gradient flow an error grows as the exact gradient responds, and is followed to a few digits. Under an optimizer
no bound follows from residuals: the steps of Adam and of sign descent turn a small error of a small gradient into one
of the size of the rate, and moments remember it. There the exact closure is moved by the optimizer too, in blocks,
which takes fewer gradients than training, and until it is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import joint_norm
from ...theory.flows.flow import Flow, derive
from ..compile.compiler import compile_flow, evaluate_flow
from ..integration.integrate import integrate
from ..ode.events import Event
from ..optimizers.optimizer import Optimizer
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ..kernel.problem import Problem

RTOL, TINY = 1e-3, np.finfo(float).tiny


class Lack:
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
        with np.errstate(all="ignore"):  # far beyond the horizon the exact gradient may leave the floats
            self.size = np.linalg.norm(lacking, axis=1) / np.maximum(np.linalg.norm(wanted, axis=1), TINY)
            steps = -0.5 * learning_rate * np.gradient(wanted, self.t, axis=0)
            steps[~np.isfinite(steps)] = 0.0
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
        first = self.y[1] - self.y[0]
        # A weight at rest may yet be moved by errors of the others: the size is then that of all weights.
        size = float(np.sqrt(np.mean((first[part] if first[part].any() else first) ** 2)))
        if not size:  # nothing moves, and with a tolerance of zero SciPy never ends its first step
            return np.zeros(len(self.t))
        solution = solve_ivp(
            slope, (self.t[0], self.t[-1]), np.zeros(self.y.shape[1]), "RK45", self.t, rtol=RTOL,
            atol=RTOL * tol * size, events=beyond,
        )  # fmt: skip
        found = [relative(t, e) for t, e in zip(solution.t[1:], solution.y.T[1:], strict=True)]
        error[1 : len(found) + 1] = found
        return error


def _derivative(problem: Problem, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(y)
    problem(0.0, y, out)
    return out


@dataclass(frozen=True, eq=False)
class StepPaths:
    """A theory and the exact closure under one optimizer, from one start.

    Attributes
    ----------
    flow, data, start
        The closure, validated.
    optimizer : Optimizer
        What moves both.
    method : str or None
        How the theory is moved; see `integrate`.
    batch_size : int or None
        Of whose mean both are.
    """

    flow: Flow
    data: Dataset
    start: Mapping[str, np.ndarray]
    optimizer: Optimizer
    method: str | None
    batch_size: int | None

    def theory(self, end: int, points: int) -> Trajectory:
        """The theory at so many steps up to `end`, half of them in even ratios, or at those before it diverges."""
        even, ratios = np.linspace(0, end, points - points // 2), np.geomspace(1, end, points // 2)
        saves = np.unique(np.rint([*even, *ratios]).astype(np.int64))
        return self._moved(self.flow, end, saves, method=self.method)

    def exact(self, theory: Trajectory, weight: str, beyond: float) -> Trajectory:
        """The exact closure at the steps of the theory, until a weight's relative error exceeds `beyond`."""
        from scipy.interpolate import PchipInterpolator

        path, first = PchipInterpolator(theory.t, theory.weights[weight]), self.start[weight]

        def excess(t: float, weights: Mapping[str, np.ndarray]) -> float:
            if t < theory.t[1]:  # displacements are too small there for what lies between saved steps
                return -beyond
            return relative_error(path(min(t, theory.t[-1])), weights[weight], first) - beyond

        lost = Event(excess, terminal=True, name="lost")
        steps = np.asarray(theory.steps).astype(np.int64)
        return self._moved(derive(self.flow.model, "exact"), int(steps[-1]), steps, events=lost)

    def _moved(self, flow: Flow, end: int, saves: np.ndarray, **options: Any) -> Trajectory:
        options |= {"optimizer": self.optimizer, "batch_size": self.batch_size, "throw": False}
        return integrate(flow, self.data, self.start, steps=end, save_at=saves, **options)

    def residual(self, theory: Trajectory, count: int) -> np.ndarray:
        """Norm of the exact gradient minus the theory's over that of the exact one, at the first steps (count,)."""
        exact, found = derive(self.flow.model, "exact"), []
        for i in range(count):
            ours, wanted = (evaluate_flow(f, self.data, theory.state(i)) for f in (self.flow, exact))
            found.append(relative_gap(ours, wanted))
        return np.array(found)


def relative_gap(ours: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """|ours - wanted| / |wanted| of gradients of all weights together."""
    return joint_norm(ours[n] - wanted[n] for n in ours) / max(joint_norm(wanted.values()), TINY)


def relative_error(ours: np.ndarray, wanted: np.ndarray, first: np.ndarray) -> float:
    """Distance of two states of a weight over the displacement of the second; 0 at the start."""
    gap, moved = np.linalg.norm(ours - wanted), np.linalg.norm(wanted - first)
    return float(gap / max(moved, TINY)) if gap else 0.0


def errors_at(theory: Trajectory, exact: Trajectory, weight: str) -> np.ndarray:
    """Relative error of a weight at the steps of the theory (n_t,); nan where the exact closure did not get."""
    steps = np.asarray(theory.steps).tolist()
    reached = {step: i for i, step in enumerate(np.asarray(exact.steps).tolist())}
    first = theory.weights[weight][0]
    return np.array(
        [
            relative_error(theory.weights[weight][i], exact.weights[weight][reached[step]], first)
            if step in reached
            else np.nan
            for i, step in enumerate(steps)
        ]
    )
