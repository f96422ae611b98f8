"""Pictures of a sweep: when each group is learnt, which is first, how long the theory holds, over the axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from .escapes import PART, NothingEscapes, escape_times, first_of, of_run, refuse_other_axes, swept
from .literal import literal
from .marks.axis_words import axis_words

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_phases(
    sweep: xarray.Dataset,
    axis: str,
    over: str,
    path: str | Path | None = None,
    part: float = PART,
    axes: Any = None,
) -> Figure:
    """Draw medians with quartile bands over one axis, taken over another; failed points are crosses.

    Panels: escape time of each group, share of `over` in which each group is the first, and the horizon of the theory
    where the sweep has trained beside it; one row for each run that has escapes. Each is a function of its own:
    `plot_escapes`, `plot_first`, `plot_horizons`.

    Parameters
    ----------
    sweep : xarray.Dataset
        From `Sweep.to_xarray`; of further axes choose a value each, as in ``sweep.sel({"model.d_model": 32})``.
    axis, over : str
        Names of its dimensions, such as "init.gamma" and "init.seed".
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    part : float
        Part of its loss at the start that a group must have lost.
    axes : Axes, optional
        Where to draw, row by row; a figure of its own if absent.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    ValueError
        If the sweep has other dimensions than these, or no losses of groups.
    """
    from .saving import WIDTH, ShownFigure, figure_on

    times = _escapes(sweep, axis, over, part)
    rows = [run for run in times.run.values if np.isfinite(times.sel(run=run)).any()]
    if not rows:
        raise NothingEscapes(
            "sweep", f"has no run in which a loss falls by the `part` {part:g}: make it smaller."
        )
    columns = 2 + ("horizon" in sweep)

    def draw(panels: list[Axes]) -> None:
        _draw_rows(panels, sweep, axis, over, part, rows)

    def whole() -> Figure:
        figure = ShownFigure(figsize=(WIDTH / 3 * columns + 1.2, 2.2 * len(rows)), layout="constrained")
        draw(list(figure.subplots(len(rows), columns, squeeze=False).flat))
        return figure

    return figure_on(axes, [columns * len(rows)], draw, whole, path, Title="smallinit phases")


def plot_escapes(
    sweep: xarray.Dataset, axis: str, over: str, run: str, part: float = PART, ax: Axes | None = None
) -> Axes:
    """Draw when each group has lost a part of its loss, medians and quartiles over `over`, for one run of a sweep.

    Parameters are those of `plot_phases`, and `run`, such as "softmax" or "training"; pyplot's current axes if `ax` is
    absent.

    Returns
    -------
    Axes
        Flow times, logarithmic, over the axis.

    Raises
    ------
    ValueError
        If the sweep has other dimensions than these, no losses of groups, or no such run.
    """
    from .marks.flow_axes import plain_ticks
    from .marks.palette import GREY, group_colours, ink, on_panel
    from .saving import axes_of

    times, ax = of_run(_escapes(sweep, axis, over, part), run), axes_of(ax)
    part = float(part)
    values, end = np.asarray(sweep[axis].values, dtype=float), float(np.nanmax(sweep["t"]))
    missing = np.isnan(times.values).all(axis=-1)
    groups = [str(group) for group in times.group.values]
    ends = []
    for group, colour in on_panel(ax, group_colours(groups)).items():
        members = times.sel(group=group).values
        _quartiles(ax, values, members, colour)
        ends += _at_the_end(members, literal(group), colour)
    if missing.any():
        where = values[np.nonzero(missing)[0]]
        ax.plot(where, np.full(where.size, end), "x", color=ink(ax), label="failed or missing")
    ax.axhline(end, color=GREY, lw=0.8, ls=":", label="end of the runs")
    ax.set(ylabel=f"{100 * part:g} % of the loss gone (flow time)", yscale="log", xlabel=axis_words(axis))
    plain_ticks(ax)
    _label_or_list(ax, ends)
    return ax


def plot_first(
    sweep: xarray.Dataset, axis: str, over: str, run: str, part: float = PART, ax: Axes | None = None
) -> Axes:
    """Draw the share of `over` in which each group is the first to lose a part of its loss, for one run of a sweep.

    Of the members in which any group does; missing ones do not count. Parameters, result and errors are those of
    `plot_escapes`.
    """
    from .marks.palette import GREY, group_colours, on_panel
    from .saving import axes_of

    times, ax = of_run(_escapes(sweep, axis, over, part), run), axes_of(ax)
    values = np.asarray(sweep[axis].values, dtype=float)
    first, known = first_of(times.values)
    escaped = np.maximum((first >= 0).sum(axis=-1), 1)
    colours = on_panel(ax, group_colours(map(str, times.group.values)))
    for k, (group, colour) in enumerate(colours.items()):
        share = (first == k).sum(axis=-1) / escaped
        ax.plot(values, share, "o-", ms=2.5, color=colour, label=f"{literal(group)} first")
    none = ((first < 0) & known).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    ax.plot(values, none, color=GREY, ls=":", label="none escapes")
    ax.set(
        ylabel="share of seeds" if over.endswith("seed") else "share of members",
        ylim=(-0.03, 1.03),
        xlabel=axis_words(axis),
    )
    ax.legend()
    return ax


def plot_horizons(sweep: xarray.Dataset, axis: str, over: str, run: str, ax: Axes | None = None) -> Axes:
    """Draw up to which flow time a theory stays within tolerance of training, medians and quartiles over `over`.

    A horizon is where the first weight is off by ``output.tolerance`` of the experiment; the axis states how much.

    Parameters, result and errors are those of `plot_escapes`; the axes of a run without horizons, as training itself,
    are made invisible.
    """
    from .marks.palette import SERIES
    from .saving import axes_of

    if "horizon" not in swept(sweep):
        raise FieldError("sweep", 'holds no horizons: let it train too, with run = ["simulate", "train"].')
    refuse_other_axes(sweep, map(str, sweep["horizon"].dims), axis=axis, over=over)
    ax = axes_of(ax)
    horizons = of_run(sweep["horizon"], run).transpose(axis, over).values
    if np.isnan(horizons).all():
        ax.set_visible(False)
        return ax
    _quartiles(ax, np.asarray(sweep[axis].values, dtype=float), horizons, SERIES[1])
    tolerance = sweep["horizon"].attrs.get("tolerance")  # a dataset put together by hand need not have it
    within = "" if tolerance is None else f" to {100 * tolerance:g} %"
    ax.set(ylabel=f"theory holds{within} up to (flow time)", ylim=(0.0, None), xlabel=axis_words(axis))
    return ax


def _draw_rows(
    panels: list[Axes], sweep: xarray.Dataset, axis: str, over: str, part: float, rows: list[str]
) -> None:
    columns = len(panels) // len(rows)
    for k, run in enumerate(rows):
        line = panels[k * columns : (k + 1) * columns]
        plot_escapes(sweep, axis, over, run, part, line[0])
        plot_first(sweep, axis, over, run, part, line[1])
        if columns > 2:
            plot_horizons(sweep, axis, over, run, line[2])
        for panel in line:
            panel.set_title(literal(run))


def _escapes(sweep: xarray.Dataset, axis: str, over: str, part: float) -> xarray.DataArray:
    """Escape times with the dimensions run, axis, over and group, if the sweep has no other."""
    times = escape_times(sweep, part)
    refuse_other_axes(sweep, map(str, times.dims), axis=axis, over=over)
    return times.transpose("run", axis, over, "group")


def _at_the_end(members: np.ndarray, text: str, colour: str) -> list[tuple[float, str, str]]:
    """A label at the last median, where that is known."""
    middle = _quartile_values(members)[1]
    return [(float(middle[-1]), text, colour)] if np.isfinite(middle[-1]) else []


def _label_or_list(ax: Axes, ends: list[tuple[float, str, str]]) -> None:
    from .marks.edge_labels import EdgeLabels

    EdgeLabels(ax, ends)
    ax.legend()


def _quartile_values(members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quartiles over the last axis, what is missing counting as never."""
    known = np.where(np.isnan(members), np.inf, members)
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=-1, method="inverted_cdf")
    return low, middle, high


def _quartiles(panel: Axes, values: np.ndarray, members: np.ndarray, colour: str) -> None:
    """Median and quartiles over the last axis, where at least half of the members have a finite value."""
    low, middle, high = _quartile_values(members)
    shown = np.isfinite(middle)
    panel.plot(values[shown], middle[shown], color=colour)
    finite = np.where(np.isfinite(members), members, -np.inf)
    top = np.where(np.isfinite(high), high, np.max(finite, initial=0.0))
    panel.fill_between(values[shown], low[shown], top[shown], color=colour, alpha=0.25, lw=0)
