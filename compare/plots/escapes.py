"""When each group of a sweep is learnt, read off its losses, and what a picture of that may be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, choice, did_you_mean, fraction, kind_of

if TYPE_CHECKING:
    import xarray

PART = 0.25  # of the loss at the start: beyond what the frequencies of labels give


class NothingEscapes(FieldError):
    """No run of a sweep has a loss that falls far enough to say when."""


def escape_times(sweep: xarray.Dataset, part: float = PART) -> xarray.DataArray:
    """Flow time at which the loss of each group has lost a part of what it was at the start, a quarter by default.

    Parameters
    ----------
    sweep : xarray.Dataset
        From `Sweep.to_xarray`, with observables "loss/GROUP".
    part : float
        Between 0 and 1.

    Returns
    -------
    xarray.DataArray
        "escape_time", with dimensions of the sweep, ``run`` and ``group``; infinity where it is never reached, nan
        where a point is missing.

    Raises
    ------
    ValueError
        If the sweep holds no losses of groups, or `part` is not between 0 and 1.
    """
    import xarray

    swept(sweep)
    groups = [str(name).partition("/")[2] for name in sweep.data_vars if str(name).startswith("loss/")]
    if not groups:
        raise FieldError("sweep", "holds no losses of groups: keep the observables loss/* in it.")
    fraction("part", part)
    parts = []
    for group in groups:
        loss = sweep[f"loss/{group}"]
        times = xarray.apply_ufunc(
            _crossings, loss, sweep["t"], kwargs={"part": part}, input_core_dims=[["time"], ["time"]]
        )
        parts.append(times.expand_dims(group=[group], axis=-1))
    return xarray.concat(parts, "group").transpose(..., "group").rename("escape_time")


def swept(sweep: xarray.Dataset) -> xarray.Dataset:
    """Refuse what is no data set, as the sweep itself, and one of which a selection has left nothing."""
    import xarray

    kind_of("sweep", sweep, xarray.Dataset, "`Sweep.to_xarray` makes one")
    if empty := [str(dim) for dim, size in sweep.sizes.items() if size == 0]:
        raise FieldError("sweep", f"has no values along {empty[0]!r}: select at least one.")
    return sweep


def _crossings(loss: np.ndarray, t: np.ndarray, part: float) -> np.ndarray:
    """First time at which rows of `loss` (..., n_t) have lost a part of their start, interpolated."""
    start = loss[..., 0]
    return np.where(np.isnan(start), np.nan, first_crossing(t, loss, (1.0 - part) * start))


def refuse_other_axes(sweep: xarray.Dataset, dims: Iterable[str], **chosen: str) -> None:
    """Refuse axes that the sweep does not have, one chosen twice, and further ones that it has.

    Raises
    ------
    FieldError
        With the selection that helps.
    """
    dims = [str(dim) for dim in dims if dim not in ("run", "group")]
    for field, name in chosen.items():
        if not isinstance(name, str) or name not in dims:
            raise FieldError(field, f"{brief(name)} is no axis of the sweep: {did_you_mean(name, dims)}")
    names = list(chosen.values())
    if twice := [field for field, name in chosen.items() if names.count(name) > 1]:
        raise FieldError(
            twice[-1], f"must be another axis than `{twice[0]}`, got {chosen[twice[-1]]!r} twice."
        )
    if extra := [name for name in dims if name not in names]:
        some = ", ".join(f"{name!r}: {sweep[name].values.tolist()[0]!r}" for name in extra)
        raise FieldError(
            "sweep",
            f"must have the axes {', '.join(map(repr, names))} alone, got also {', '.join(extra)}: choose a value of "
            f"each, as in sweep.sel({{{some}}}).",
        )


def first_of(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first group along the last axis, -1 where none escapes, and which members are known."""
    known = np.asarray(~np.isnan(times).all(axis=-1))
    flat = np.where(np.isnan(times), np.inf, times)
    return np.where(np.isfinite(flat.min(axis=-1)), flat.argmin(axis=-1), -1), known


def of_run(values: xarray.DataArray, run: str) -> xarray.DataArray:
    """The values of one run."""
    return values.sel(run=choice("run", str(run), [str(name) for name in values.run.values]))
