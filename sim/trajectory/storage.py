"""Trajectories as `xarray.Dataset` and as netCDF4 files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.files import whole_file
from .dimensions import weight_axes
from .observables import units

if TYPE_CHECKING:
    import xarray

    from .trajectory import Trajectory

_FORMAT, _VERSION = "smallinit trajectory", 1
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


def _file_name(name: str) -> str:
    """Encode an observable's name for netCDF, which takes / for a folder."""
    return name.replace("%", "%25").replace("|", "%7C").replace("/", "|")


def save(trajectory: Trajectory, path: Path, observables: Iterable[str]) -> Path:
    """Write to a temporary file beside `path`, flush it to the disk and rename it; see `Trajectory.save`."""
    return write_netcdf(to_xarray(trajectory, observables), path)


def write_netcdf(dataset: xarray.Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all; "/" in names becomes "|", which netCDF allows."""
    names = {name: _file_name(str(name)) for name in [*dataset.variables, *dataset.dims] if "/" in str(name)}
    with whole_file(path) as temporary:
        dataset.rename(names).to_netcdf(temporary, engine="h5netcdf", format="NETCDF4")
    return path


def read_netcdf(path: Path) -> xarray.Dataset:
    """Read the file into memory; nothing in it can run code or claim more memory than it has bytes."""
    import xarray

    try:
        with xarray.open_dataset(path, engine="h5netcdf", decode_cf=False) as dataset:
            if dataset.attrs.get("format") != _FORMAT or dataset.nbytes > path.stat().st_size:
                raise ValueError("unknown format")
            if int(dataset.attrs["format_version"]) > _VERSION:
                raise ValueError("format of a newer version")
            return dataset.load()
    except Exception as error:  # a damaged HDF5 file raises nearly anything
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a trajectory file written by this package ({reason}).") from None
