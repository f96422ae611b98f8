"""The overlay figure: theories as lines, training as hollow markers, residuals underneath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer, positive, real
from . import panels
from .drawable import DrawableOverlay, DrawableParts
from .saving import METADATA, STYLE, WIDTH, drawing, figure_path, save_figure

CURVES, MATRICES = 3.65, 1.5  # inches, heights of the rows


def plot_overlays(
    overlays: Sequence[DrawableOverlay],
    path: str | Path,
    *,
    times: Sequence[float] | None = None,
    tolerance: float = 0.05,
    dpi: int = 200,
) -> Path:
    """Draw one or several theories over one training run, and write the figure.

    Losses by group with the plateau at the label entropy of memory groups, norms of the weights, their
    relative errors underneath, and the cosines between anchor embeddings at three flow times, theory beside
    training. Equal input gives an equal file, byte for byte.

    Parameters
    ----------
    overlays : sequence of Overlay
        At most four, of one training run. The first is drawn solid, the next dashed.
    path : path
        File to write, .png, .pdf or .svg; replaced if there.
    times : sequence of float, optional
        Flow times of the cosine matrices (the nearest common ones are taken); by default a quarter, half and
        all of the range of the theory that reaches furthest.
    tolerance : float
        Relative error marked in the residual panels.
    dpi : int
        Dots per inch of a .png.

    Returns
    -------
    Path
        The file written; provenance and outcomes of all trajectories are in its metadata.

    Raises
    ------
    ValueError
        If there are no overlays or too many, they differ in training, or the path cannot be a figure's.
    """
    overlays, path = _same_training(overlays), figure_path(path)
    positive("tolerance", tolerance)
    integer("dpi", dpi, 10)
    with drawing("default", STYLE):
        figure = _draw(overlays, _times(times), tolerance)
        _write(figure, path, overlays, dpi)
    return path


def plot_parts(split: DrawableParts, path: str | Path, names: Sequence[str], dpi: int = 200) -> Path:
    """Draw the sizes of the parts of a decomposition over flow time, one panel per name, and write the figure.

    Parameters
    ----------
    split : Decomposition
        What `decompose` found.
    path : path
        File to write, .png, .pdf or .svg; replaced if there.
    names : sequence of str
        Weights and losses, such as "W_E" and "loss".
    dpi : int
        Dots per inch of a .png.

    Raises
    ------
    ValueError
        If the path cannot be a figure's.
    """
    path = figure_path(path)
    with drawing("default", STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            panels.parts(ax, split, name)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        save_figure(figure, path, dpi, {"Title": "smallinit decomposition"})
    return path


def _draw(overlays: Sequence[DrawableOverlay], times: Sequence[float] | None, tolerance: float) -> Figure:
    tokens = panels.anchor_tokens(overlays[0])
    height = CURVES + (MATRICES if tokens else 0.0)
    figure = Figure(figsize=(WIDTH, height))

    def up(inches: float) -> float:  # from the top of the page, as a fraction
        return 1 - inches / height

    grid = figure.add_gridspec(
        2,
        2,
        left=0.075,
        right=0.985,
        top=up(0.66),
        bottom=up(CURVES - 0.4),
        height_ratios=(2.6, 1),
        hspace=0.08,
        wspace=0.2,
    )
    for column, (name, draw) in enumerate((("a", panels.losses), ("b", panels.norms))):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        draw(above, below, overlays)
        panels.finish(above, below, overlays, tolerance)
        panels.letter(above, name)
    panels.style_legend(figure, overlays)
    if tokens:
        row = figure.add_gridspec(
            1, 3, left=0.075, right=0.915, top=up(CURVES + 0.22), bottom=up(height - 0.17), wspace=0.14
        )
        panels.cosine_row(figure, row, overlays, tokens, times)
    return figure


def _write(figure: Figure, path: Path, overlays: Sequence[DrawableOverlay], dpi: int) -> None:
    key = METADATA[path.suffix.lower()][0]
    trajectories = {"theories": [o.theory for o in overlays], "training": [overlays[0].training]}
    record = {
        kind: [
            {"label": t.label, "outcome": str(t.outcome), "provenance": dict(t.provenance)} for t in members
        ]
        for kind, members in trajectories.items()
    }
    save_figure(
        figure,
        path,
        dpi,
        {"Title": "smallinit overlay", key: json.dumps(record, sort_keys=True, default=str)},
    )


def _same_training(overlays: Sequence[DrawableOverlay]) -> tuple[DrawableOverlay, ...]:
    given = tuple(overlays)
    if not 1 <= len(given) <= len(panels.LINES):
        raise FieldError("overlays", f"must hold 1 to {len(panels.LINES)} overlays, got {len(given)}.")
    if any(o.training is not given[0].training for o in given):
        raise FieldError("overlays", "must share one training run: make them all with the same trajectory.")
    return given


def _times(times: Sequence[float] | None) -> Sequence[float] | None:
    if times is None:
        return None
    clean = [real("times", t) for t in times]
    if len(clean) != panels.N_TIMES:
        raise FieldError("times", f"must be {panels.N_TIMES} flow times, got {len(clean)}.")
    return clean
