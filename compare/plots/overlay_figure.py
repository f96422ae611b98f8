"""The overlay figure: theories as lines, training as hollow markers, residuals underneath."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...theory.base.errors import FieldError
from ...theory.base.validate import kind_of, positive, real
from . import cosine_panels, panels
from .drawable import DrawableOverlay
from .drawn_runs import LINES, Runs, several
from .marks.edge_labels import EdgeLabels
from .saving import METADATA, WIDTH, ShownFigure, figure_on, figure_path

CURVES, MATRICES = 3.65, 1.5  # inches, heights of the rows
LEFT, MIDDLE, RIGHT = 0.52, 0.6, 0.05  # inches beside the panels, and between labels and the next axis
N_TIMES = 3
N_CURVES = 4  # axes: losses, their errors, norms, their errors


def plot_overlays(
    overlays: DrawableOverlay | Sequence[DrawableOverlay],
    path: str | Path | None = None,
    *,
    times: Sequence[float] | None = None,
    tolerance: float = 0.05,
    dpi: int = 200,
    axes: Any = None,
) -> Figure:
    """Draw one or several theories over one training run.

    Losses by group with the plateau at the label entropy of memory groups, norms of the weights, their
    relative errors underneath, and the cosines between anchor embeddings at three flow times, theory beside
    training. Equal input gives an equal file, byte for byte. Every panel is a function of its own: `plot_losses`,
    `plot_norms`, `plot_errors`, `plot_cosines`.

    Parameters
    ----------
    overlays : Overlay or sequence of Overlay
        At most four, of one training run. The first is drawn solid, the next dashed.
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    times : sequence of float, optional
        Flow times of the cosine matrices (the nearest common ones are taken); by default a quarter, half and
        all of the range of the theory that reaches furthest.
    tolerance : float
        Relative error marked in the residual panels.
    dpi : int
        Dots per inch of a .png.
    axes : four or ten Axes, optional
        Where to draw: losses, norms, the errors of each, and the matrices, theory and training in turn; a figure of its
        own if absent.

    Returns
    -------
    Figure
        The figure drawn on; of a file, provenance and outcomes of all trajectories are in its metadata.

    Raises
    ------
    ValueError
        If there are no overlays or too many, they differ in training, or the path cannot be a figure's.
    """
    given = _same_training(overlays)
    positive("tolerance", tolerance)
    wanted = _times(times)

    def draw(panels: Sequence[Axes]) -> None:
        _draw_curves(panels[:N_CURVES], given, tolerance)
        if panels[N_CURVES:]:
            _draw_matrices(panels[N_CURVES:], given, wanted)

    counts = (N_CURVES, N_CURVES + 2 * N_TIMES)
    record = {} if path is None else _record(figure_path(path), given)
    return figure_on(axes, counts, draw, lambda: _whole(given, wanted, tolerance), path, dpi, **record)


def _whole(overlays: Sequence[DrawableOverlay], times: Sequence[float] | None, tolerance: float) -> Figure:
    tokens = cosine_panels.anchor_tokens(overlays[0])
    height = CURVES + (MATRICES if tokens else 0.0)
    figure = ShownFigure(figsize=(WIDTH, height))

    def up(inches: float) -> float:  # from the top of the page, as a fraction
        return 1 - inches / height

    rows = {"top": up(0.66), "bottom": up(CURVES - 0.4), "height_ratios": (2.6, 1), "hspace": 0.08}
    grids = [figure.add_gridspec(2, 1, left=0.1 + k / 2, right=0.4 + k / 2, **rows) for k in range(2)]
    axes = [figure.add_subplot(grid[row]) for row in range(2) for grid in grids]
    _draw_curves(axes, overlays, tolerance)
    _place_columns(figure, grids, axes)
    for ax, name in zip(axes[:2], "ab", strict=True):
        panels.letter(ax, name)
    _style_legend(figure, overlays)
    if tokens:
        place = {"top": up(CURVES + 0.22), "bottom": up(height - 0.17)}
        row = figure.add_gridspec(1, N_TIMES, left=0.075, right=0.915, wspace=0.14, **place)
        pairs = [row[0, k].subgridspec(1, 2, wspace=0.06) for k in range(N_TIMES)]
        matrices = [figure.add_subplot(pair[0, side]) for pair in pairs for side in range(2)]
        _draw_matrices(matrices, overlays, times)
        panels.letter(matrices[0], "c")
        _colour_bar(figure, matrices[-1])
    return figure


def _draw_curves(axes: Sequence[Axes], overlays: Sequence[DrawableOverlay], tolerance: float) -> None:
    """Draw losses and norms, and the errors of each below."""
    given = Runs.of(overlays)
    errors = [name for name in panels.loss_names(given) if all(name in o.relative_error for o in overlays)]
    panels.plot_losses(overlays, ax=axes[0])
    panels.plot_norms(overlays, ax=axes[1])
    panels.plot_errors(overlays, errors, axes[2], tolerance, labels=False)
    moved = panels.moved_most(given.reference.weights)
    panels.plot_errors(overlays, moved, axes[3], tolerance, labels=False)
    for above, below in zip(axes[:2], axes[2:], strict=True):
        panels.finish(above, below, overlays)


def _place_columns(figure: Figure, grids: Sequence[Any], axes: Sequence[Axes]) -> None:
    """Make both columns as wide as the labels at their right edges let them be."""
    figure.canvas.draw()  # limits and ticks are decided then
    labels = [next(a for a in ax.get_children() if isinstance(a, EdgeLabels)) for ax in axes[:2]]
    beside = [
        (label.get_window_extent().x1 - ax.get_window_extent().x1) / figure.dpi
        for label, ax in zip(labels, axes, strict=False)
    ]
    width = (WIDTH - LEFT - sum(beside) - MIDDLE - RIGHT) / 2
    start = LEFT
    for grid, room in zip(grids, beside, strict=True):
        grid.update(left=start / WIDTH, right=(start + width) / WIDTH)
        start += width + room + MIDDLE


def _draw_matrices(
    axes: Sequence[Axes], overlays: Sequence[DrawableOverlay], times: Sequence[float] | None
) -> None:
    """Draw cosines at three times of the theory that reaches furthest, theory beside training."""
    overlay = max(overlays, key=lambda o: o.t[-1])
    wanted = times if times is not None else [part * overlay.t[-1] for part in (0.25, 0.5, 1.0)]
    for k, time in enumerate(wanted):
        i = cosine_panels.nearest_index(overlay, time)
        cosine_panels.draw_pair(axes[2 * k : 2 * k + 2], overlay, i, first=k == 0)


def _colour_bar(figure: Figure, last: Axes) -> None:
    box = last.get_position()
    place = figure.add_axes((0.93, box.y0, 0.012, box.height))
    figure.colorbar(last.images[0], cax=place, ticks=(-1, 0, 1)).set_label("cosine", labelpad=1)


def _style_legend(figure: Figure, overlays: Sequence[DrawableOverlay]) -> None:
    """Say once, above all panels, what lines and markers are."""
    handles = Runs.of(overlays).legend_lines()
    place: dict[str, Any] = {"loc": "upper center", "handlelength": 2.6, "borderaxespad": 0.2}
    legend = figure.legend(handles=handles, ncols=len(handles), **place)
    if (width := legend.get_window_extent().width / figure.bbox.width) > 1.0:
        for text in legend.get_texts():
            text.set_fontsize(float(text.get_fontsize()) / width)


def _record(path: Path, overlays: Sequence[DrawableOverlay]) -> dict[str, str]:
    """What a picture says of itself."""
    trajectories = {"theories": [o.theory for o in overlays], "training": [overlays[0].training]}
    record = {
        kind: [
            {"label": t.label, "outcome": str(t.outcome), "provenance": dict(t.provenance)} for t in members
        ]
        for kind, members in trajectories.items()
    }
    key = METADATA[path.suffix.lower()][0]
    return {"Title": "smallinit overlay", key: json.dumps(record, sort_keys=True, default=str)}


def _same_training(overlays: DrawableOverlay | Sequence[DrawableOverlay]) -> tuple[DrawableOverlay, ...]:
    given = several(overlays)
    if not 1 <= len(given) <= len(LINES):
        raise FieldError("overlays", f"must hold 1 to {len(LINES)} overlays, got {len(given)}.")
    if any(o.training is not given[0].training for o in given):
        raise FieldError("overlays", "must share one training run: make them all with the same trajectory.")
    return given


def _times(times: Sequence[float] | None) -> Sequence[float] | None:
    if times is None:
        return None
    listed = kind_of("times", times, Iterable, f"give {N_TIMES} flow times")
    clean = [real("times", t) for t in listed]
    if len(clean) != N_TIMES:
        raise FieldError("times", f"must be {N_TIMES} flow times, got {len(clean)}.")
    return clean
