"""The picture of token similarities: correlations over flow time, and the matrices themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .drawable import DrawableSimilarity
from .literal import literal
from .saving import figure_path, save_figure

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


def plot_similarity(
    overlays: Mapping[str, Sequence[DrawableSimilarity]], path: str | Path | None = None
) -> Figure:
    """Draw a column per corpus: correlations over flow time, and both matrices at the end of the first stage.

    Parameters
    ----------
    overlays : mapping
        Corpus -> overlays, one per seed; every seed is a line, and the matrices are the first seed's.
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.

    Raises
    ------
    ValueError
        If the path cannot be a figure's.
    """
    target = None if path is None else figure_path(path)
    figure = Figure(figsize=(4.2 * len(overlays), 7.4), layout="constrained")
    axes = figure.subplots(2, len(overlays), squeeze=False, height_ratios=(1, 1.25))
    for (above, below), (name, members) in zip(axes.T, overlays.items(), strict=True):
        _draw_correlations(above, members)
        above.set_title(literal(name))
        _draw_matrices(below, members[0])
    axes[0, 0].set_ylabel("correlation with the trained similarities")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=4, fontsize=8, loc="outside upper center")
    figure.colorbar(axes[1, -1].images[0], ax=list(axes[1]), label="cosine", shrink=0.8, location="right")
    if target is not None:
        save_figure(figure, target, 110, {"Title": "smallinit token similarity"})
    return figure


def _draw_correlations(panel: Axes, members: Sequence[DrawableSimilarity]) -> None:
    for k, overlay in enumerate(members):
        for colour, (name, values) in zip(COLOURS, overlay.correlation.items(), strict=False):
            line = "--" if name == overlay.baseline else "-"
            panel.plot(overlay.t, values, color=colour, lw=1.3, ls=line, label=None if k else literal(name))
        end = overlay.t[overlay.stage_end]
        panel.axvline(end, color="grey", lw=0.8, ls=":", label=None if k else "end of the first stage")
    panel.set(xlabel="flow time (learning rate x step)", ylim=(-0.3, 1.03))


def _draw_matrices(panel: Axes, overlay: DrawableSimilarity) -> None:
    """The trained matrix above the diagonal, the first theory's below it."""
    name, below = next(iter(overlay.predicted.items()))
    both = np.where(np.triu(np.ones(below.shape, dtype=bool)), overlay.trained, below)
    panel.set(title=f"above: trained; below: {literal(name)}", xlabel="token", xticks=[], yticks=[])
    panel.imshow(both, vmin=-1.0, vmax=1.0, cmap="RdBu_r", interpolation="nearest")
