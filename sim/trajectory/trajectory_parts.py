"""Whether the parts of a trajectory belong together: looked at before it is made, and refused one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, kind_of, name_of
from ...theory.base.weight_names import COORDINATES
from ..ode.outcome import Outcome, Status

if TYPE_CHECKING:
    from .trajectory import Trajectory

# Before the name of a weight: in a file, the full one that a reduced trajectory started from.
START = "start/"


def check_parts(trajectory: Trajectory) -> None:
    """Refuse what cannot be the parts of one trajectory.

    Raises
    ------
    ValueError
        For the first part that is of another kind, or does not go with the others.
    """
    kind_of("outcome", trajectory.outcome, Outcome, "such as Outcome(Status.REACHED_END, t[-1])")
    kind_of("kind", trajectory.kind, str, '"theory" or "training"')
    for part in ("weights", "measured", "events"):
        kind_of(part, getattr(trajectory, part), Mapping, "names to arrays")
    for part in ("statistics", "provenance"):
        kind_of(part, getattr(trajectory, part), Mapping, "a record")
    if trajectory.start is not None:
        kind_of("start", trajectory.start, Mapping, "names to arrays, or None")
    _check_names(trajectory)
    _check_times(trajectory)
    _check_arrays(trajectory)
    _check_origin(trajectory)


def with_arrays(trajectory: Trajectory) -> dict[str, Any]:
    """Fields in which lists of numbers, and observables of half precision or truths, are arrays of what they say."""
    found: dict[str, Any] = {part: _of_list(getattr(trajectory, part)) for part in ("t", "steps")}
    for part in ("events", "measured"):
        if isinstance(values := getattr(trajectory, part), Mapping):
            found[part] = {name: _of_list(value) for name, value in values.items()}
    if isinstance(values := found.get("measured"), Mapping):
        found["measured"] = {name: _exact(value) for name, value in values.items()}
    return found


def _of_list(value: Any) -> Any:
    """An array of a list of numbers; anything else as it is, to be refused."""
    if not isinstance(value, list | tuple):
        return value
    try:
        array = np.array(value, dtype=None if value else float)
    except ValueError:  # ragged
        return value
    return array if array.dtype.kind in "biuf" else value


def _exact(value: Any) -> Any:
    """Numbers of half precision and truths as float64, which holds them exactly."""
    short = isinstance(value, np.ndarray) and (value.dtype.kind == "b" or value.dtype.char == "e")
    return value.astype(np.float64) if short else value


def _check_names(trajectory: Trajectory) -> None:
    """No name may be an axis, and none may stand for two arrays of a file."""
    starts = {f"{START}{name}" for name in trajectory.start or ()}
    taken = {"weights": starts, "measured": starts | trajectory.weights.keys(), "events": frozenset()}
    for part in ("weights", "measured", "events"):
        for name in getattr(trajectory, part):
            if name_of(part, name) in COORDINATES:
                raise FieldError(part, f"have one called {name!r}, which is an axis: rename it.")
            if name in taken[part]:
                raise FieldError(part, f"have one called {name!r}, as a weight is: rename it.")
    if not isinstance(trajectory.label, str) or trajectory.label:
        name_of("label", trajectory.label)


def _check_times(trajectory: Trajectory) -> None:
    t, steps = numbers("t", trajectory.t, LIST), trajectory.steps
    if t.ndim != 1 or not np.all(t[1:] > t[:-1]) or not np.all(np.isfinite(t)):
        raise ValueError(
            f"`t` must be one-dimensional and increase strictly, all of it finite, got {brief(t)}."
        )
    if steps is None:
        return
    if numbers("steps", steps, LIST).shape != t.shape:
        raise ValueError(f"`steps` must have the shape {t.shape} of `t`, got {steps.shape}.")
    if not np.all(steps[1:] > steps[:-1]) or not np.all(np.isfinite(steps)):
        raise FieldError("steps", f"must increase strictly, all of them finite, got {brief(steps)}.")
    if trajectory.kind == "training" and np.any(steps % 1):
        raise FieldError("steps", f"of a training must be whole numbers, got {brief(steps)}.")


def _check_arrays(trajectory: Trajectory) -> None:
    """Shapes and numbers of weights, observables and events."""
    count = len(trajectory.t)
    for name, value in trajectory.weights.items():
        stack = numbers(field := f"weights[{name!r}]", value, STACK)
        if stack.ndim != 3 or len(stack) != count:
            raise ValueError(
                f"weight `{name}` must have shape ({count}, rows, cols) for {count} times, got {stack.shape}."
            )
        if trajectory.outcome.status is not Status.NON_FINITE:
            finite(field, stack, "end the trajectory before them, or give it the outcome that says so")
    for name, value in trajectory.measured.items():
        if (shape := numbers(f"measured[{name!r}]", value, STACK).shape)[:1] != (count,):
            raise ValueError(
                f"measured `{name}` must have one entry for each of the {count} times, got shape {shape}."
            )
    for name, value in (trajectory.start or {}).items():
        if (found := numbers(f"start[{name!r}]", value, LIST)).ndim != 2:
            raise FieldError(
                f"start[{name!r}]", f"must have two axes, as a weight has, got shape {found.shape}."
            )
        finite(f"start[{name!r}]", found, "a run starts from numbers")
    for name, value in trajectory.events.items():
        if numbers(f"events[{name!r}]", value, LIST).ndim != 1:
            raise FieldError(f"events[{name!r}]", f"must be a row of flow times, got shape {value.shape}.")
        finite(f"events[{name!r}]", value, "leave them out")


def _check_origin(trajectory: Trajectory) -> None:
    """What observables are computed with; a closure is read if there is a model to read it for."""
    if trajectory.kind not in ("theory", "training"):
        raise ValueError(f'`kind` must be "theory" or "training", got {trajectory.kind!r}.')
    closure = trajectory.closure
    if not isinstance(closure, str):
        raise FieldError("closure", f'must be the name of one, such as "exact", got {brief(closure)}.')
    check_model(trajectory.model)
    check_data(trajectory.data)
    if trajectory.model is not None and closure != "exact":
        from ...theory.flows.closure import Closure

        try:
            Closure.of(closure, trajectory.model)
        except FieldError as error:
            remedy = "whose logits its losses are computed with; a theory of your own is named by `label`"
            raise FieldError(error.field, f"{error.reason.rstrip('.')}. Here it says {remedy}.") from error


def check_model(model: Any) -> None:
    """Refuse what is neither a model nor None."""
    if model is not None:
        from ...theory.models.model import Model  # with sympy, which a file alone does not need

        kind_of("model", model, Model, "such as EmbMLP(d_vocab, d_model, d_mlp), or None")


def check_data(data: Any) -> None:
    """Refuse what is neither a dataset nor None."""
    if data is not None:
        from ...theory.data.dataset import Dataset

        kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one, or None")


LIST = "of a list of numbers numpy.array makes one"
STACK = "of a list of arrays numpy.stack makes one"


def numbers(part: str, value: Any, remedy: str) -> np.ndarray:
    """Return `value` if it is an array of real numbers of a precision that files and linear algebra know."""
    dtype = kind_of(part, value, np.ndarray, remedy).dtype
    if dtype.kind not in "iuf" or dtype.char in "eg":  # half and long double
        raise FieldError(
            part, f"must hold real numbers, got those of type {dtype}: convert them with astype(float)."
        )
    return value


def finite(part: str, value: np.ndarray, remedy: str) -> None:
    """Refuse nan and infinity; the sum of all entries tells of them without an array of truths as long as they are."""
    once = value[:1] if value.ndim and value.strides[0] == 0 else value  # what stands still is one row
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(once)
    if not np.isfinite(total) and (bad := once.size - np.count_nonzero(np.isfinite(once))):
        raise FieldError(part, f"must be finite, got {bad} nan or inf: {remedy}.")
