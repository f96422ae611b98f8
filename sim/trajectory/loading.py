"""Trajectories read back from the files that `Trajectory.save` wrote."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.disk.sealed import UnsoundFile
from ...theory.base.frozen import sealed
from ...theory.base.validate import path_of
from ..ode.outcome import Outcome
from .netcdf import Contents, Labelled, read_netcdf
from .storage import FORMAT, VERSION
from .trajectory import Trajectory
from .trajectory_parts import check_data, check_model

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

_RECORDS = ("outcome", "statistics", "provenance", "events", "weights", "model", "data")  # as JSON


def load_trajectory(path: str | Path, model: Model | None = None, data: Dataset | None = None) -> Trajectory:
    """Load what `Trajectory.save` wrote.

    Parameters
    ----------
    path : path
        A file written by `Trajectory.save`.
    model, data : Model, Dataset or None
        Those of the run, to compute further observables; checked against the record in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not what was written, is not a trajectory, or belongs to another model or data.
    OSError
        If it cannot be read.
    """
    path = path_of("path", path)
    check_model(model)
    check_data(data)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    read = read_netcdf(path)
    if read.attrs.get("format") != FORMAT:
        raise UnsoundFile(path, "is not a trajectory file", "give one that `Trajectory.save` wrote")
    try:
        recorded = _records(read)
        trajectory = _trajectory(read, recorded, model, data)
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, AttributeError) as error:
        raise UnsoundFile(path, f"is not a complete trajectory file ({error})") from None
    for name, own in (("model", model and model.spec()), ("data", data and data.fingerprint)):
        if own is not None and recorded[name] is not None and own != recorded[name]:
            raise ValueError(f"{path} was made with another `{name}`: {recorded[name]}, got {own}.")
    if model is not None and recorded["model"] is not None and trajectory.weights:
        _check_model(path, trajectory, model)
    return trajectory


def _check_model(path: Path, trajectory: Trajectory, model: Any) -> None:
    found = {name: value.shape[1:] for name, value in trajectory.weights.items()}
    if found != model.weights:
        raise UnsoundFile(path, f"holds the weights {found} and not the model's {dict(model.weights)}")


def _records(read: Contents) -> dict[str, Any]:
    """What is kept as JSON, and the texts."""
    if int(read.attrs["format_version"]) != VERSION:
        raise ValueError(f"its format is {read.attrs['format_version']} and not {VERSION}")
    found = {name: json.loads(_text(read, name)) for name in _RECORDS}
    for name in ("outcome", "statistics", "provenance", "events", "weights"):
        if not isinstance(found[name], dict):
            raise TypeError(f"its `{name}` is no record")
    return found | {name: _text(read, name) for name in ("kind", "label", "closure")}


def _text(read: Contents, name: str) -> str:
    if not isinstance(value := read.attrs[name], str):
        raise TypeError(f"its `{name}` is no text")
    return value


def _trajectory(read: Contents, recorded: dict[str, Any], model: Any, data: Any) -> Trajectory:
    t = _numbers("t", read.variables["t"], 1)  # of a dimension alone, indexing would make up times
    weights, known, start = {}, {}, {}
    for name, variable in read.variables.items():
        if name == "step" or name in read.coords:
            continue
        if "start" in variable.attrs:
            start[str(variable.attrs["start"])] = _numbers(str(name), variable, 2)
            continue
        value = _numbers(str(name), variable)
        if "observable" in variable.attrs:
            if value.ndim < 1 or len(value) != len(t):
                raise ValueError(f"{name!r} has not one entry for each of the {len(t)} times")
            known[str(variable.attrs["observable"])] = value
        else:
            weights[str(name)] = _weight(str(name), value, t)
    shapes = {name: list(value.shape[1:]) for name, value in weights.items()}
    if shapes != recorded["weights"]:
        raise ValueError(f"its weights are {shapes}, written were {recorded['weights']}")
    trajectory = Trajectory(
        t=t,
        weights={name: weights[name] for name in recorded["weights"]},
        outcome=Outcome.from_dict(recorded["outcome"]),
        kind=recorded["kind"],
        label=recorded["label"],
        closure=recorded["closure"],
        statistics=recorded["statistics"],
        provenance=recorded["provenance"],
        steps=_steps(read, t, recorded["kind"]) if "step" in read.variables else None,
        model=model,
        data=data,
        events={str(name): _times(name, times) for name, times in recorded["events"].items()},
        start=start or None,
    )
    trajectory._known.update(known)
    return trajectory


def _numbers(name: str, variable: Labelled, ndim: int | None = None) -> np.ndarray:
    """Real numbers as float64; times must be finite, values of observables need not."""
    found = variable.values
    if found.dtype.kind not in "fiu" or (ndim is not None and found.ndim != ndim):
        raise ValueError(f"{name!r} is {found.dtype} of {found.ndim} axes")
    value = np.asarray(found, dtype=np.float64)
    if ndim is not None and not np.isfinite(value).all():
        raise ValueError(f"{name!r} is not finite")
    return sealed(value)


def _weight(name: str, value: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A weight over time; what is frozen is stored once."""
    if value.ndim == 2:
        value = np.broadcast_to(value, (len(t), *value.shape))
    if value.ndim != 3 or len(value) != len(t) or not np.isfinite(value).all():
        raise ValueError(f"weight {name!r} is no finite (n_t, rows, cols) array over the times")
    return value


def _steps(read: Contents, t: np.ndarray, kind: str) -> np.ndarray:
    steps = read.variables["step"].values
    known = "iu" if kind == "training" else "iuf"  # an event of a theory may lie between two
    if (
        steps.dtype.kind not in known
        or steps.shape != t.shape
        or not np.isfinite(steps).all()
        or np.any(np.diff(steps) <= 0)
    ):
        raise ValueError("its steps do not increase, or are not one for each time, whole in a training")
    return steps


def _times(name: str, times: Any) -> np.ndarray:
    if not isinstance(times, list) or not all(
        type(time) in (int, float) and isfinite(time) for time in times
    ):
        raise TypeError(f"its event {name!r} is no list of times")
    return np.array(times, dtype=np.float64)
