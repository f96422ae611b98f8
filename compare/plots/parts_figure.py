"""Why a theory and a training part, drawn: the sizes of the parts over flow time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .drawable import DrawableParts, drawable
from .literal import literal
from .marks.axis_words import SUMMED_TIME, weight_words
from .marks.palette import GREY, OTHERS, on_panel
from .saving import WIDTH, ShownFigure, axes_of, figure_on

LEAST = 1e-6  # of the largest distance: what is smaller is no part of it, but rounding


def plot_part_sizes(split: DrawableParts, name: str, ax: Axes | None = None) -> Axes:
    """Draw the sizes of the parts of one distance, what they leave, and the distance, relative to training.

    Parameters
    ----------
    split : Decomposition
        What ``overlay(..., decompose=True)`` found.
    name : str
        A weight or a loss, such as "W_E" or "loss".
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        Sizes over flow time, the sum of the learning rates, logarithmic; what never reaches a millionth of the distance
        is not drawn.

    Raises
    ------
    ValueError
        If `split` is no decomposition.
    """
    drawable("split", split, DrawableParts)
    ax = axes_of(ax)
    t, whole = split.t, split.distance(name) / np.where(split.scale[name] > 0, split.scale[name], np.inf)
    floor = LEAST * np.max(whole, initial=0.0)
    ax.plot(t, np.where(whole > 0, whole, np.nan), color=GREY, lw=2.4, alpha=0.5, label="theory to training")
    for part, colour in on_panel(ax, dict(zip(split.parts, OTHERS, strict=False))).items():
        size = split.size(part, name)
        if (size > floor).any():
            ax.plot(t, np.where(size > floor, size, np.nan), color=colour, label=part)
    left = split.remainder(name) * whole
    if (left > floor).any():
        ax.plot(t, np.where(left > floor, left, np.nan), color=GREY, ls=(0, (1, 1)), label="not explained")
    what = literal(name) if name.partition("/")[0] == "loss" else rf"$\Delta$ {weight_words(name)}"
    ax.set(yscale="log", xlabel=SUMMED_TIME, ylabel=f"relative to {what} of training")
    return ax


def plot_parts(
    split: DrawableParts,
    path: str | Path | None = None,
    names: Sequence[str] = ("loss",),
    dpi: int = 200,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw the sizes of the parts of a decomposition over flow time, one panel per name.

    Parameters
    ----------
    split : Decomposition
        What `decompose` found.
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    names : sequence of str
        Weights and losses, such as "W_E" and "loss".
    dpi : int
        Dots per inch of a .png.
    axes : sequence of Axes, optional
        Where to draw, one for each name; a figure of its own if absent.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    ValueError
        If `split` is no decomposition, the path cannot be a figure's, or there are not as many axes as names.
    """
    drawable("split", split, DrawableParts)

    def draw(panels: Sequence[Axes]) -> None:
        for ax, name in zip(panels, names, strict=True):
            plot_part_sizes(split, name, ax)

    def whole() -> Figure:
        figure = ShownFigure(figsize=(WIDTH, 2.6), layout="constrained")
        draw(figure.subplots(1, len(names), squeeze=False)[0])
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        return figure

    return figure_on(axes, [len(names)], draw, whole, path, dpi, Title="smallinit decomposition")
