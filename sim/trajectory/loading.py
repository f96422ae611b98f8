"""Trajectories read back from the files that `Trajectory.save` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.frozen import sealed
from ..ode.outcome import Outcome
from .storage import read_netcdf
from .trajectory import Trajectory

if TYPE_CHECKING:
    import xarray

    from ...theory.data.dataset import Dataset
    from ...theory.models.spec import Spec


def load_trajectory(path: str | Path, model: Spec | None = None, data: Dataset | None = None) -> Trajectory:
    """Load what `Trajectory.save` wrote.

    Parameters
    ----------
    path : path
        A file written by `Trajectory.save`.
    model, data : Spec, Dataset or None
        Those of the run, to compute further observables; checked against the record in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a trajectory, or belongs to another model or data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    dataset = read_netcdf(path)
    try:
        trajectory = _from_xarray(dataset, model, data)
        recorded = {name: json.loads(dataset.attrs[name]) for name in ("model", "data")}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a complete trajectory file ({error}).") from None
    for name, own in (("model", model and model.spec()), ("data", data and data.fingerprint)):
        if own is not None and recorded[name] is not None and own != recorded[name]:
            raise ValueError(f"{path} was made with another `{name}`: {recorded[name]}, got {own}.")
    return trajectory


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
