"""Pictures of a sweep: when each group is learnt, which is first, how long the theory holds, over the axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.validate import fraction
from .literal import literal

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PART = 0.25  # of the loss at the start: beyond what the frequencies of labels give
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")


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
        Dimensions of the sweep, ``run`` and ``group``; infinity where it is never reached, nan where a point is
        missing.

    Raises
    ------
    ValueError
        If the sweep holds no losses of groups, or `part` is not between 0 and 1.
    """
    import xarray

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
    return xarray.concat(parts, "group").transpose(..., "group")


def _crossings(loss: np.ndarray, t: np.ndarray, part: float) -> np.ndarray:
    """First time at which rows of `loss` (..., n_t) have lost a part of their start, interpolated."""
    start = loss[..., 0]
    return np.where(np.isnan(start), np.nan, first_crossing(t, loss, (1.0 - part) * start))


def plot_phases(
    sweep: xarray.Dataset, axis: str, over: str, path: str | Path | None = None, part: float = PART
) -> Figure:
    """Draw medians with quartile bands over one axis, taken over another; failed points are crosses.

    Panels: escape time of each group, share of `over` in which each group is the first, and the horizon of the theory
    where the sweep has trained beside it; one row for each run that has escapes.

    Parameters
    ----------
    sweep : xarray.Dataset
        From `Sweep.to_xarray`; further axes must have been selected away.
    axis, over : str
        Names of its dimensions, such as "init.gamma" and "init.seed".
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    part : float
        Part of its loss at the start that a group must have lost.

    Raises
    ------
    ValueError
        If the sweep has other dimensions than these, or no losses of groups.
    """
    from matplotlib.figure import Figure

    from .saving import figure_path, save_figure

    target = None if path is None else figure_path(path)
    times = escape_times(sweep, part)
    if set(times.dims) != {axis, over, "run", "group"}:
        extra = sorted(set(map(str, times.dims)) - {axis, over, "run", "group"})
        raise FieldError(
            "sweep",
            f"must have the dimensions {axis!r} and {over!r} alone, got also {', '.join(extra) or 'fewer'}.",
        )
    times = times.transpose("run", axis, over, "group")
    rows = [run for run in times.run.values if np.isfinite(times.sel(run=run)).any()]
    if not rows:
        raise FieldError(
            "sweep", f"has no run in which a loss falls by the `part` {part:g}: make it smaller."
        )
    horizon = "horizon" in sweep
    figure = Figure(figsize=(5.0 * (2 + horizon), 3.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2 + horizon, squeeze=False)
    values = np.asarray(sweep[axis].values, dtype=float)
    for line, run in zip(axes, rows, strict=True):
        mine = times.sel(run=run)
        _escapes(line[0], values, mine, float(np.nanmax(sweep["t"])), part)
        _shares(line[1], values, mine)
        if horizon:
            _horizons(line[2], values, sweep["horizon"].sel(run=run).transpose(axis, over).values)
        for panel in line:
            panel.set(xlabel=literal(axis), title=literal(run))
            if panel.get_legend_handles_labels()[0]:
                panel.legend(fontsize=8)
    if target is not None:
        save_figure(figure, target, 130, {"Title": "smallinit phases"})
    return figure


def _escapes(panel: Axes, values: np.ndarray, times: Any, end: float, part: float) -> None:
    missing = np.isnan(times.values).all(axis=-1)
    for colour, group in zip(COLOURS, times.group.values, strict=False):
        band(panel, values, times.sel(group=group).values, colour, str(group))
    if missing.any():
        where = values[np.nonzero(missing)[0]]
        panel.plot(where, np.full(where.size, end), "x", color="black", label="failed or missing")
    panel.axhline(end, color="grey", lw=0.8, ls=":", label="end of the runs")
    panel.set(ylabel=f"{100 * part:g} % of the loss gone (flow time)", yscale="log")


def _horizons(panel: Axes, values: np.ndarray, horizons: np.ndarray) -> None:
    if np.isnan(horizons).all():  # training itself
        panel.set_visible(False)
        return
    band(panel, values, horizons, COLOURS[0], "theory within tolerance up to here")
    panel.set(ylabel="horizon (flow time)", ylim=(0.0, None))


def _shares(panel: Axes, values: np.ndarray, times: Any) -> None:
    """Share in which each group is the first, of the members in which any group escapes; missing ones do not count."""
    known = ~np.isnan(times.values).all(axis=-1)
    flat = np.where(np.isnan(times.values), np.inf, times.values)
    first = np.where(np.isfinite(flat.min(axis=-1)), flat.argmin(axis=-1), -1)
    escaped = np.maximum((first >= 0).sum(axis=-1), 1)
    for k, (colour, group) in enumerate(zip(COLOURS, times.group.values, strict=False)):
        panel.plot(
            values,
            (first == k).sum(axis=-1) / escaped,
            "o-",
            ms=3,
            color=colour,
            label=f"{literal(group)} first",
        )
    panel.plot(
        values,
        ((first < 0) & known).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1),
        color="grey",
        ls=":",
        label="none escapes",
    )
    panel.set(ylabel="share of members", ylim=(-0.03, 1.03))


def band(panel: Axes, values: np.ndarray, members: np.ndarray, colour: str, label: str) -> None:
    """Median and quartiles over the last axis, where at least half of the members have a finite value."""
    known = np.where(np.isnan(members), np.inf, members)
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=-1, method="inverted_cdf")
    shown = np.isfinite(middle)
    panel.plot(values[shown], middle[shown], color=colour, label=literal(label))
    top = np.where(np.isfinite(high), high, np.max(known, initial=0.0, where=np.isfinite(known)))
    panel.fill_between(values[shown], low[shown], top[shown], color=colour, alpha=0.25, lw=0)
