"""Trajectories as labelled arrays, and as netCDF4 files of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .dimensions import weight_axes
from .netcdf import Contents, Labelled, write_netcdf
from .observables import units
from .trajectory_parts import START

if TYPE_CHECKING:
    from .trajectory import Trajectory

FORMAT, VERSION = "smallinit trajectory", 2
_COORDINATES = frozenset({"t", "step"})
_TIME = {"long_name": "flow time", "units": "learning_rate x step"}


def contents_of(trajectory: Trajectory, observables: Iterable[str]) -> Contents:
    """Label a trajectory's weights and some observables; attributes are plain strings and numbers."""
    named = weight_axes(trajectory.weights, trajectory.model)
    variables: dict[str, Labelled] = {}
    for name, value in trajectory.weights.items():
        axes = named[name]
        if len(value) and value.strides[0] == 0:  # frozen: the same at all times, stored once
            variables[name] = Labelled(axes, value[0], {"units": "weight"})
        else:
            variables[name] = Labelled(("t", *axes), value, {"units": "weight"})
    for name in observables:
        value = trajectory[name]
        axes = tuple(f"{name} axis {i}" for i in range(1, value.ndim))
        variables[name] = Labelled(("t", *axes), value, {"units": units(name), "observable": name})
    for name, value in (trajectory.start or {}).items():
        key = f"{START}{name}"
        variables[key] = Labelled((f"{key} row", f"{key} col"), value, {"units": "weight", "start": name})
    variables["t"] = Labelled(("t",), trajectory.t, _TIME)
    if trajectory.steps is not None:
        variables["step"] = Labelled(("t",), whole_steps(trajectory.steps), {"units": "training steps"})
    return Contents(variables, _attributes(trajectory), _COORDINATES & variables.keys())


def whole_steps(steps: np.ndarray) -> np.ndarray:
    """Steps as integers, unless an event or a blow-up lies between two."""
    return np.asarray(steps, dtype=np.float64 if np.any(steps % 1) else np.int64)


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
        "format": FORMAT,
        "format_version": VERSION,
        "kind": trajectory.kind,
        "label": trajectory.label,
        "closure": trajectory.closure,
    }
    return plain | {name: json.dumps(value, default=_jsonable) for name, value in records.items()}


def _jsonable(value: Any) -> Any:
    """Numpy scalars and arrays as plain values, all else by its name."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def save(trajectory: Trajectory, path: Path, observables: Iterable[str]) -> Path:
    """Write a sealed file beside `path`, flush it to the disk and rename it; see `Trajectory.save`."""
    return write_netcdf(contents_of(trajectory, observables), path)
