"""Trajectories as `xarray.Dataset` and as netCDF4 files."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.sealed import UnsoundFile
from ..ode.outcome import Outcome
from .netcdf import read_netcdf, write_netcdf
from .observables import units
from .trajectory import Trajectory

if TYPE_CHECKING:
    import xarray

_FORMAT, _VERSION = "smallinit trajectory", 2
_RECORDS = ("outcome", "statistics", "provenance", "events", "weights", "model", "data")  # as JSON
_TIME = {"long_name": "flow time", "units": "learning_rate x step"}
_AXES = {
    "W_E": (["d_vocab"], ["d_model"]),
    "W_Q": (["d_model"], ["d_head"]),
    "W_K": (["d_model"], ["d_head"]),
    "W_V": (["d_model"], ["d_head"]),
    "W_O": (["d_head"], ["d_model"]),
    "W_in": (["d_model"], ["d_mlp"]),
    "W_out": (["d_mlp"], ["d_vocab", "d_model"]),
    "W_U": (["d_model"], ["d_vocab"]),
}


def to_xarray(trajectory: Trajectory) -> xarray.Dataset:
    """Label a trajectory's arrays; attributes are plain strings and numbers."""
    import xarray

    sizes: dict[str, int] = {}
    variables: dict[str, Any] = {}
    for name, value in trajectory.weights.items():
        axes = _weight_axes(name, value.shape[1:], sizes)
        if len(value) and value.strides[0] == 0:  # frozen: the same at all times, stored once
            variables[name] = (axes, value[0], {"units": "weight"})
        else:
            variables[name] = (("t", *axes), value, {"units": "weight"})
    for name, value in trajectory._known.items():
        axes = tuple(f"{name} axis {i}" for i in range(1, value.ndim))
        variables[name] = (("t", *axes), value, {"units": units(name), "observable": name})
    coordinates: dict[str, Any] = {"t": ("t", trajectory.t, _TIME)}
    if trajectory.steps is not None:
        coordinates["step"] = ("t", np.asarray(trajectory.steps, dtype=np.int64), {"units": "training steps"})
    return xarray.Dataset(variables, coordinates, _attributes(trajectory))


def _weight_axes(name: str, shape: tuple[int, ...], sizes: dict[str, int]) -> tuple[str, ...]:
    """Axis names of a weight; a name whose size is already another's is not used."""
    axes = []
    for choices, size, side in zip(_AXES.get(name, ([], [])), shape, ("row", "col"), strict=True):
        fitting = [axis for axis in choices if sizes.get(axis, size) == size and axis not in axes]
        axis = fitting[0] if fitting else f"{name}_{side}"
        sizes[axis] = size
        axes.append(axis)
    return tuple(axes)


def _attributes(trajectory: Trajectory) -> dict[str, Any]:
    model, data = trajectory.model, trajectory.data
    records = {
        "outcome": trajectory.outcome.to_dict(),
        "statistics": dict(trajectory.statistics),
        "provenance": dict(trajectory.provenance),
        "events": {name: np.asarray(times).tolist() for name, times in trajectory.events.items()},
        "weights": {name: value.shape[1:] for name, value in trajectory.weights.items()},
        "model": None if model is None else model.spec(),
        "data": None if data is None else data.fingerprint,
    }
    plain = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "kind": trajectory.kind,
        "label": trajectory.label,
        "closure": trajectory.closure,
    }
    return plain | {name: json.dumps(value, default=_jsonable) for name, value in records.items()}


def _jsonable(value: Any) -> Any:
    """Numpy scalars and arrays as plain values, all else by its name."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def save(trajectory: Trajectory, path: Path) -> Path:
    """Write a sealed file beside `path`, flush it to the disk and rename it; see `Trajectory.save`."""
    return write_netcdf(to_xarray(trajectory), path)


def load(path: Path, model: Any, data: Any) -> Trajectory:
    """Read and check a file; see `load_trajectory`."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    dataset = read_netcdf(path)
    if dataset.attrs.get("format") != _FORMAT:
        raise UnsoundFile(path, "is not a trajectory file", "give one that `Trajectory.save` wrote")
    try:
        recorded = _records(dataset)
        trajectory = _from_xarray(dataset, recorded, model, data)
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


def _records(dataset: xarray.Dataset) -> dict[str, Any]:
    """What is kept as JSON, and the texts."""
    if int(dataset.attrs["format_version"]) != _VERSION:
        raise ValueError(f"its format is {dataset.attrs['format_version']} and not {_VERSION}")
    found = {name: json.loads(_text(dataset, name)) for name in _RECORDS}
    for name in ("outcome", "statistics", "provenance", "events", "weights"):
        if not isinstance(found[name], dict):
            raise TypeError(f"its `{name}` is no record")
    return found | {name: _text(dataset, name) for name in ("kind", "label", "closure")}


def _text(dataset: xarray.Dataset, name: str) -> str:
    if not isinstance(value := dataset.attrs[name], str):
        raise TypeError(f"its `{name}` is no text")
    return value


def _from_xarray(dataset: xarray.Dataset, recorded: dict[str, Any], model: Any, data: Any) -> Trajectory:
    t = _numbers("t", dataset.variables["t"], 1)  # of a dimension alone, indexing would make up times
    weights, known = {}, {}
    for name, variable in dataset.data_vars.items():
        if name == "step":
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
        steps=_steps(dataset["step"], t) if "step" in dataset else None,
        model=model,
        data=data,
        events={str(name): _times(name, times) for name, times in recorded["events"].items()},
    )
    trajectory._known.update(known)
    return trajectory


def _numbers(name: str, variable: xarray.DataArray | xarray.Variable, ndim: int | None = None) -> np.ndarray:
    """Real numbers as float64; times must be finite, values of observables need not."""
    if variable.dtype.kind not in "fiu" or (ndim is not None and variable.ndim != ndim):
        raise ValueError(f"{name!r} is {variable.dtype} of {variable.ndim} axes")
    value = np.asarray(variable.values, dtype=np.float64)
    if ndim is not None and not np.isfinite(value).all():
        raise ValueError(f"{name!r} is not finite")
    return value


def _weight(name: str, value: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A weight over time; what is frozen is stored once."""
    if value.ndim == 2:
        value = np.broadcast_to(value, (len(t), *value.shape))
    if value.ndim != 3 or len(value) != len(t) or not np.isfinite(value).all():
        raise ValueError(f"weight {name!r} is no finite (n_t, rows, cols) array over the times")
    return value


def _steps(variable: xarray.DataArray, t: np.ndarray) -> np.ndarray:
    steps = np.asarray(variable.values)
    if steps.dtype.kind not in "iu" or steps.shape != t.shape or np.any(np.diff(steps) <= 0):
        raise ValueError("its steps are no increasing integers, one for each time")
    return steps


def _times(name: str, times: Any) -> np.ndarray:
    if not isinstance(times, list) or not all(
        type(time) in (int, float) and isfinite(time) for time in times
    ):
        raise TypeError(f"its event {name!r} is no list of times")
    return np.array(times, dtype=np.float64)
