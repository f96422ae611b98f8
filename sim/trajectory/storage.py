"""Trajectories as `xarray.Dataset` and as netCDF4 files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .dimensions import weight_axes
from .netcdf import write_netcdf
from .observables import units

if TYPE_CHECKING:
    import xarray

    from .trajectory import Trajectory

FORMAT, VERSION = "smallinit trajectory", 2
START = "start/"  # of the full weights that a reduced trajectory started from
_TIME = {"long_name": "flow time", "units": "learning_rate x step"}


def to_xarray(trajectory: Trajectory, observables: Iterable[str]) -> xarray.Dataset:
    """Label a trajectory's weights and some observables; attributes are plain strings and numbers."""
    import xarray

    named = weight_axes(trajectory.weights, trajectory.model)
    variables: dict[str, Any] = {}
    for name, value in trajectory.weights.items():
        axes = named[name]
        if len(value) and value.strides[0] == 0:  # frozen: the same at all times, stored once
            variables[name] = (axes, value[0], {"units": "weight"})
        else:
            variables[name] = (("t", *axes), value, {"units": "weight"})
    for name in observables:
        value = trajectory[name]
        axes = tuple(f"{name} axis {i}" for i in range(1, value.ndim))
        variables[name] = (("t", *axes), value, {"units": units(name), "observable": name})
    for name, value in (trajectory.start or {}).items():
        key = f"{START}{name}"
        variables[key] = ((f"{key} row", f"{key} col"), value, {"units": "weight", "start": name})
    coordinates: dict[str, Any] = {"t": ("t", trajectory.t, _TIME)}
    if trajectory.steps is not None:
        coordinates["step"] = ("t", np.asarray(trajectory.steps, dtype=np.int64), {"units": "training steps"})
    return xarray.Dataset(variables, coordinates, _attributes(trajectory))


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
    return write_netcdf(to_xarray(trajectory, observables), path)
