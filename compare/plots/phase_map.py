"""Which group is learnt first, over two axes of a sweep, as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .escapes import PART, escape_times, first_of, of_run, refuse_other_axes
from .literal import literal
from .marks.axis_words import axis_words

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MOST_TICKS = 8  # names of values that a side has room for


def plot_phase_map(
    sweep: xarray.Dataset, x: str, y: str, over: str, run: str, part: float = PART, ax: Axes | None = None
) -> Axes:
    """Draw which group is the first to lose a part of its loss, over two axes of a sweep.

    A cell has the colour of the group that is first in most members of `over`, the paler the fewer these are of all
    that are known: white where no group escapes. A cell without a result is a cross.

    Parameters
    ----------
    sweep : xarray.Dataset
        From `Sweep.to_xarray`; of further axes choose a value each, as in ``sweep.sel({"model.d_mlp": 32})``.
    x, y, over : str
        Names of its dimensions, such as "init.gamma", "model.d_model" and "init.seed".
    run : str
        Whose losses, such as "softmax" or "training".
    part : float
        Part of its loss at the start that a group must have lost.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        A row for each value of `y`, a column for each of `x`, both in the sweep's order.

    Raises
    ------
    ValueError
        If the sweep has other dimensions than these, no losses of groups, or no such run.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    from .marks.palette import group_colours
    from .saving import axes_of

    times = escape_times(sweep, part)
    refuse_other_axes(sweep, map(str, times.dims), x=x, y=y, over=over)
    times = of_run(times.transpose("run", y, x, over, "group"), run)
    colours = group_colours([str(group) for group in times.group.values])
    share, known = shares(times.values)
    most, inks = share.argmax(axis=0), np.array([to_rgb(colour) for colour in colours.values()])
    ax = axes_of(ax)
    strength = share.max(axis=0)[..., None]
    ax.imshow(1.0 - strength * (1.0 - inks[most]), origin="lower", aspect="auto", interpolation="nearest")
    rows, columns = np.nonzero(~known)
    ax.plot(columns, rows, "x", color="black")
    ax.set(xlabel=axis_words(x), ylabel=axis_words(y))
    _ticks(ax.xaxis, sweep[x].values)
    _ticks(ax.yaxis, sweep[y].values)
    drawn = [name for k, name in enumerate(colours) if (share[k] > 0)[most == k].any()]
    handles = [Patch(color=colours[name], label=f"{literal(name)} first") for name in drawn]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def shares(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the known members in which each group is first, and where any is known.

    From escape times (rows, columns, members, groups) to (groups, rows, columns) and (rows, columns).
    """
    first, known = first_of(times)
    of = np.maximum(known.sum(axis=-1), 1)
    counted = [(first == k).sum(axis=-1) / of for k in range(times.shape[-1])]
    return np.array(counted), np.asarray(known.any(axis=-1))


def _ticks(axis: Axis, values: np.ndarray) -> None:
    """Name cells by their values, as many as can be read."""
    at = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_TICKS)).round().astype(int))
    names = _names(values)
    axis.set_ticks(at, [names[k] for k in at])


def _names(values: np.ndarray) -> list[str]:
    """Integers in full, and other numbers with as many digits as tell them from each other."""
    if not np.issubdtype(values.dtype, np.floating):
        return [literal(str(value)) for value in values]
    choices = ([f"{value:.{digits}g}" for value in values] for digits in range(3, 18))
    return next((names for names in choices if len({*names}) == len(names)), [str(value) for value in values])
