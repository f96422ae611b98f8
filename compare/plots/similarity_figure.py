"""The picture of token similarities: correlations over flow time, and the matrices themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, choice
from .drawable import DrawableSimilarity, drawable
from .literal import literal
from .marks.axis_words import SUMMED_TIME
from .marks.palette import GREY, on_panel, series_colours
from .saving import ShownFigure, axes_of, figure_on

COLUMN, HEIGHT = 2.6, 4.6  # inches

Members = DrawableSimilarity | Sequence[DrawableSimilarity]


def plot_similarity(
    overlays: Mapping[str, Members], path: str | Path | None = None, axes: Any = None
) -> Figure:
    """Draw a column per corpus: correlations over flow time, and both matrices at the end of the first stage.

    Each panel is a function of its own: `plot_correlations`, `plot_similarity_matrix`.

    Parameters
    ----------
    overlays : mapping
        Corpus -> `SimilarityOverlay`, or several, one per seed; every seed is a line, and the matrices are the first
        seed's.
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    axes : Axes, optional
        Where to draw: the correlations of each corpus, then their matrices; a figure of its own if absent.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    ValueError
        If there are no overlays, something else is among them, or the path cannot be a figure's.
    """
    if not isinstance(overlays, Mapping) or not overlays:
        raise FieldError(
            "overlays",
            f'must map the name of a corpus to its overlays, such as {{"mine": found}}, got {brief(overlays)}.',
        )
    found = {name: _members(f"overlays[{name!r}]", members) for name, members in overlays.items()}
    return figure_on(
        axes, [2 * len(found)], lambda given: _draw_columns(given, found), lambda: _whole(found), path,
        Title="smallinit token similarity",
    )  # fmt: skip


def _members(field: str, given: Members) -> list[DrawableSimilarity]:
    """One overlay or several as several."""
    some = list(given) if isinstance(given, list | tuple) else [given]
    if not some:
        raise FieldError(field, "must be one overlay at least: `similarity_overlay` makes one.")
    return [drawable(field, member, DrawableSimilarity) for member in some]


def _whole(overlays: Mapping[str, Sequence[DrawableSimilarity]]) -> Figure:
    figure = ShownFigure(figsize=(COLUMN * len(overlays) + 0.6, HEIGHT), layout="constrained")
    grid = figure.subplots(2, len(overlays), squeeze=False, height_ratios=(1, 1.25))
    _draw_columns(list(grid.flat), overlays)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4 if len(overlays) > 1 else 2, loc="outside upper center")
    figure.colorbar(grid[1, -1].images[0], ax=list(grid[1]), label="cosine", shrink=0.8, location="right")
    return figure


def _draw_columns(axes: Sequence[Axes], overlays: Mapping[str, Sequence[DrawableSimilarity]]) -> None:
    for k, (name, members) in enumerate(overlays.items()):
        plot_correlations(members, axes[k]).set_title(literal(name))
        plot_similarity_matrix(members[0], axes[len(overlays) + k])
        if k:
            axes[k].set_ylabel("")


def plot_correlations(members: Members, ax: Axes | None = None) -> Axes:
    """Draw the correlation of predicted with trained similarities over flow time, a line a seed.

    Parameters
    ----------
    members : SimilarityOverlay or sequence of them
        One per seed.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        Correlations over flow time, the sum of the learning rates; the end of the first stage is dotted.

    Raises
    ------
    ValueError
        If there are no overlays, or something else is among them.
    """
    some, ax = _members("members", members), axes_of(ax)
    for k, overlay in enumerate(some):
        colours = on_panel(ax, series_colours(overlay.correlation))
        for name, values in overlay.correlation.items():
            line = "--" if name == overlay.baseline else "-"
            ax.plot(overlay.t, values, color=colours[name], ls=line, label=None if k else literal(name))
        end = overlay.t[overlay.stage_end]
        ax.axvline(end, color=GREY, lw=0.8, ls=":", label=None if k else "end of the first stage")
    lowest = min(float(np.nanmin(v)) for o in some for v in o.correlation.values())
    ax.set(xlabel=SUMMED_TIME, ylim=(min(lowest, 0.0) - 0.03, 1.03), ylabel="correlation with training")
    return ax


def plot_similarity_matrix(
    overlay: DrawableSimilarity, ax: Axes | None = None, predictor: str | None = None
) -> Axes:
    """Draw cosines between embeddings at the end of the first stage: trained above the diagonal, predicted below.

    Parameters
    ----------
    overlay : SimilarityOverlay
        Of one training run.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.
    predictor : str, optional
        Whose prediction; that of the first.

    Returns
    -------
    Axes
        With the image, from -1 to 1.

    Raises
    ------
    ValueError
        If `overlay` is none, or there is no such predictor.
    """
    drawable("overlay", overlay, DrawableSimilarity)
    ax = axes_of(ax)
    name = (
        next(iter(overlay.predicted))
        if predictor is None
        else choice("predictor", predictor, overlay.predicted)
    )
    below = overlay.predicted[name]
    both = np.where(np.triu(np.ones(below.shape, dtype=bool)), overlay.trained, below)
    ax.set(title=f"above: trained; below: {literal(name)}", xlabel="token", xticks=[], yticks=[])
    ax.imshow(both, vmin=-1.0, vmax=1.0, cmap="RdBu_r", interpolation="nearest")
    return ax
