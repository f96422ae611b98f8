"""Two trajectories on common flow times, or the reason why they cannot be compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord, sealed
from ...theory.base.validate import kind_of

# float32 training starts from rounded weights; learning_rate * step is not the float of a typed-in time.
SAME_START = 1e-6
SAME_TIME = 1e-9
FEWEST_FOR_SPLINE = 4
ENOUGH_MATCHES = 5  # common saved times from which on nothing is interpolated


@dataclass(frozen=True, eq=False)
class Alignment(FrozenRecord):
    """A theory and a training run, and where their times meet.

    Attributes
    ----------
    theory, training : Trajectory
        At their own times.
    rows : ndarray of int, shape (n_t,)
        Which of the training's times are common.
    nearest : ndarray of int, shape (n_t,)
        The theory's nearest time to each.
    exact : ndarray of bool, shape (n_t,)
        Whether that is the same time; otherwise the theory's weights are interpolated.
    starts : mapping
        Weight name -> its value at t = 0 in the theory and in the training.
    """

    theory: Trajectory
    training: Trajectory
    rows: np.ndarray
    nearest: np.ndarray
    exact: np.ndarray
    starts: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @property
    def t(self) -> np.ndarray:
        """Common flow times (n_t,)."""
        return self.training.t[self.rows]

    def weights(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One weight (n_t, rows, cols) at the common times, in the theory and in the training."""
        return self._states.weights[name], self.training.weights[name][self.rows]

    def observable(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One observable at the common times, in the theory and in the training."""
        ours = self.theory[name][self.nearest] if self.exact.all() else self._states[name]
        return ours, self.training[name][self.rows]

    @cached_property
    def shared_observables(self) -> tuple[str, ...]:
        """Observables that both sides have at the common times."""
        ours = self.theory if self.exact.all() else self._states
        return tuple(name for name in self.training.observable_names if name in ours.observable_names)

    @cached_property
    def _states(self) -> Trajectory:
        weights = {name: self._interpolate(value) for name, value in self.theory.weights.items()}
        measured = {name: self._interpolate(value) for name, value in self.theory.measured.items()}
        return replace(self.theory, t=self.t, weights=weights, measured=measured, steps=None)

    def _interpolate(self, value: np.ndarray) -> np.ndarray:
        states = value[self.nearest]
        if not self.exact.all():
            from scipy.interpolate import CubicSpline

            spline = CubicSpline(self.theory.t, value, axis=0, extrapolate=False)
            states[~self.exact] = spline(self.t[~self.exact])
        return sealed(states)


def align(theory: Trajectory, training: Trajectory) -> Alignment:
    """Check that the two belong together and bring them to common times.

    Raises
    ------
    ValueError
        If either is not of its kind, if models, data, shapes or starts differ, or no time is common.
    """
    for name, value in (("theory", theory), ("training", training)):
        if not isinstance(value, Trajectory):
            raise FieldError(
                name,
                f"must be a Trajectory, got {type(value).__name__}: see `integrate` and `train`; of several theories "
                "make an overlay each, which `plot_overlays` draws together.",
            )
        if len(value.t) == 0:
            raise FieldError(name, f"has no saved times ({value.outcome}): save some before its end.")
        check_role(name, value)
    _refuse_other_shapes(theory, training)
    _refuse_other_problem(theory, training)
    rows, nearest, exact = _common_times(theory.t, training.t)
    if len(rows) == 0:
        raise FieldError(
            "theory",
            f"(t = {theory.t[0]:g} .. {theory.t[-1]:g}) and `training` (t = {training.t[0]:g} .. "
            f"{training.t[-1]:g}) have no common flow time: set `save_at` so that they overlap.",
        )
    if not exact.all():
        warnings.warn(
            f"the theory was saved at only {exact.sum()} of the training's times and is interpolated at "
            f"{(~exact).sum()}: the errors include the interpolation's; give both the same times.",
            UserWarning,
            stacklevel=3,
        )
    return Alignment(theory, training, rows, nearest, exact, _starts(theory, training))


def check_role(name: str, trajectory: Trajectory) -> None:
    """Refuse a trajectory in the place of another kind: `name` is "theory" or "training"."""
    kind_of(name, trajectory, Trajectory, "see `integrate` and `train`")
    if trajectory.kind != name:
        maker, other = ("integrate", "a training run") if name == "theory" else ("train", "a theory")
        raise FieldError(
            name,
            f"is {other} ({trajectory.label!r}): give what `{maker}` returned (theory first, then training).",
        )


def _common_times(theory: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the training's common rows, the theory's nearest row to each, and whether the times agree."""
    close = SAME_TIME * max(abs(training[-1]), np.finfo(float).tiny)
    rows = np.flatnonzero((training >= theory[0] - close) & (training <= theory[-1] + close))
    wanted = training[rows]
    right = np.clip(np.searchsorted(theory, wanted), 0, len(theory) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(theory[left] - wanted) < np.abs(theory[right] - wanted), left, right)
    exact = np.abs(theory[nearest] - wanted) <= close
    # An interpolated state carries an error of its own, which would be taken for the theory's.
    interpolate = exact.sum() < ENOUGH_MATCHES and len(theory) >= FEWEST_FOR_SPLINE
    keep = exact | interpolate
    return rows[keep], nearest[keep], exact[keep]


def _starts(theory: Trajectory, training: Trajectory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with_start = [trajectory for trajectory in (theory, training) if trajectory.t[0] == 0]
    if not with_start:
        raise ValueError("Neither trajectory holds its start: add 0 to `save_at` of one of them.")
    recorded = [trajectory.provenance.get("start") for trajectory in (theory, training)]
    if len(with_start) == 1 and None not in recorded and recorded[0] != recorded[1]:
        raise FieldError("theory", "and `training` start from other weights: give both the same `start`.")
    ours, theirs = with_start[0].weights, with_start[-1].weights
    for name in ours:
        apart = np.linalg.norm(ours[name][0] - theirs[name][0])
        if apart > SAME_START * np.linalg.norm(theirs[name][0]):
            raise FieldError(
                "theory",
                f"and `training` start from other weights ({name} differs by {apart:.2g}): "
                "give both the same `start`.",
            )
    return {name: (ours[name][0], theirs[name][0]) for name in ours}


def _refuse_other_shapes(theory: Trajectory, training: Trajectory) -> None:
    ours = {name: value.shape[1:] for name, value in theory.weights.items()}
    theirs = {name: value.shape[1:] for name, value in training.weights.items()}
    if ours != theirs:
        raise FieldError(
            "theory",
            f"and `training` hold other weights ({_shapes(ours)} against {_shapes(theirs)}): "
            "make both from the same model.",
        )


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())


def _refuse_other_problem(theory: Trajectory, training: Trajectory) -> None:
    ours, theirs = _spec(theory.model), _spec(training.model)
    if ours and theirs and ours != theirs:
        field = next(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
        raise FieldError(
            "theory",
            f"and `training` belong to other models ({field} is {ours.get(field)!r} against "
            f"{theirs.get(field)!r}): make both from the same model.",
        )
    one, other = theory.data, training.data
    if one is not None and other is not None and one.fingerprint != other.fingerprint:
        raise FieldError("theory", "and `training` belong to other datasets: give both the same data.")


def _spec(model: Any) -> dict[str, Any]:
    return {} if model is None else model.spec()
