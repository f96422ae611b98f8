"""Trajectories as `xarray.Dataset` and as netCDF4 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.files import whole_file
from ...theory.base.frozen import sealed
from ..ode.outcome import Outcome
from .observables import units
from .trajectory import Trajectory

if TYPE_CHECKING:
    import xarray

_FORMAT, _VERSION = "smallinit trajectory", 1
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


def save(trajectory: Trajectory, path: Path) -> Path:
    """Write to a temporary file beside `path`, flush it to the disk and rename it; see `Trajectory.save`."""
    return write_netcdf(to_xarray(trajectory), path)


def write_netcdf(dataset: xarray.Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all; "/" in names becomes "|", which netCDF allows."""
    names = {name: _file_name(str(name)) for name in [*dataset.variables, *dataset.dims] if "/" in str(name)}
    with whole_file(path) as temporary:
        dataset.rename(names).to_netcdf(temporary, engine="h5netcdf", format="NETCDF4")
    return path


def load(path: Path, model: Any, data: Any) -> Trajectory:
    """Read and check a file; see `load_trajectory`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    dataset = _read(path)
    try:
        trajectory = _from_xarray(dataset, model, data)
        recorded = {name: json.loads(dataset.attrs[name]) for name in ("model", "data")}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a complete trajectory file ({error}).") from None
    for name, own in (("model", model and model.spec()), ("data", data and data.fingerprint)):
        if own is not None and recorded[name] is not None and own != recorded[name]:
            raise ValueError(f"{path} was made with another `{name}`: {recorded[name]}, got {own}.")
    return trajectory


def _read(path: Path) -> xarray.Dataset:
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


def _from_xarray(dataset: xarray.Dataset, model: Any, data: Any) -> Trajectory:
    read = {
        name: json.loads(dataset.attrs[name]) for name in ("outcome", "statistics", "provenance", "events")
    }
    t = np.asarray(dataset["t"].values, dtype=np.float64)
    weights, known = {}, {}
    for name, variable in dataset.data_vars.items():
        value = sealed(np.asarray(variable.values, dtype=np.float64))
        if name == "step":
            continue
        if "observable" in variable.attrs:
            known[str(variable.attrs["observable"])] = value
        else:
            weights[str(name)] = (
                value if variable.ndim == 3 else np.broadcast_to(value, (len(t), *value.shape))
            )
    trajectory = Trajectory(
        t=t,
        weights=weights,
        outcome=Outcome.from_dict(read["outcome"]),
        kind=str(dataset.attrs["kind"]),
        label=str(dataset.attrs["label"]),
        closure=str(dataset.attrs["closure"]),
        statistics=read["statistics"],
        provenance=read["provenance"],
        steps=np.asarray(dataset["step"].values) if "step" in dataset else None,
        model=model,
        data=data,
        events={name: np.array(times, dtype=np.float64) for name, times in read["events"].items()},
    )
    trajectory._known.update(known)
    return trajectory
