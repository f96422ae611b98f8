"""The proof as a picture: relative errors against autodiff over the weight scale, with the powers predicted."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import LogLocator

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer
from .drawable import DrawableProof, DrawableResidual
from .literal import literal
from .panels import GREY, MARKERS
from .saving import STYLE, WIDTH, figure_path, save_figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
ROUNDING = 1e-14  # errors below are that of float64 arithmetic
LOWEST = 1e-18  # of the axis
EVERY = 4  # of the scales, which are a quarter of an octave apart, has a marker
LINE = 0.16  # inches of a line of the legend

Proof = DrawableProof | DrawableResidual


def plot_proof(
    panels: Mapping[str, Mapping[str, Proof]], weight: str, path: str | Path, dpi: int = 200
) -> Path:
    """Draw relative errors of dW/dt against autodiff over the weight scale eps, and write the figure.

    A derivation is right if its error vanishes with the power of eps that was predicted (line), down to rounding; an
    equation that is wrong at leading order keeps its error at any eps.

    Parameters
    ----------
    panels : mapping
        Title -> (name -> `Verdict` of `check`, or `ResidualMeasurement` of `measure_residual`); at most seven names.
    weight : str
        Whose equation, such as "W_E".
    path : path
        File to write, .png, .pdf or .svg; replaced if there.
    dpi : int
        Dots per inch of a .png.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If nothing is to be drawn, too many names are in a panel, one of them does not have the weight, or the path
        cannot be a figure's.
    """
    path = figure_path(path)
    integer("dpi", dpi, 10)
    if not panels or not all(panels.values()):
        raise FieldError("panels", "must hold a panel at least, and each a proof: measure one first.")
    found = {title: {n: _measured(n, p, weight) for n, p in some.items()} for title, some in panels.items()}
    if (most := max(map(len, found.values()))) > len(COLOURS):
        raise FieldError("panels", f"has one with {most} proofs: draw at most {len(COLOURS)} in each.")
    with context(["default", STYLE]):
        figure = Figure(
            figsize=(WIDTH * min(1.0, 0.55 * len(found)), 2.6 + LINE * most), layout="constrained"
        )
        rows = figure.subplots(2, len(found), squeeze=False, sharey="row", height_ratios=(2.6, LINE * most))
        for (ax, below), (title, some) in zip(rows.T, found.items(), strict=True):
            _panel(ax, some, weight)
            ax.set_title(literal(title))
            below.axis("off")
            below.legend(*ax.get_legend_handles_labels(), loc="upper center", borderaxespad=0.0)
        rows[0, 0].set_ylabel(f"relative error of d{weight}/dt against autodiff")
        save_figure(figure, path, dpi, {"Title": "smallinit proof"})
    return path


def _measured(name: str, proof: Proof, weight: str) -> DrawableResidual:
    measurement = proof.proof if isinstance(proof, DrawableProof) else proof
    if weight not in measurement.errors:
        raise FieldError("weight", f"{weight!r} is not in {name!r}: it has {', '.join(measurement.errors)}.")
    return measurement


def _panel(ax: Axes, some: Mapping[str, DrawableResidual], weight: str) -> None:
    for j, (name, found) in enumerate(some.items()):
        eps, error = found.eps, found.errors[weight]
        colour, marker = COLOURS[j], MARKERS[j % len(MARKERS)]
        few = slice(j % EVERY, None, EVERY)
        label = f"{literal(name)}: {_power(found, weight)}"
        ax.plot(eps[few], error[few], marker, color=colour, mfc="none", ms=3.5, label=label)
        if (line := _line(eps, error, found.predicted.get(weight, np.nan))) is not None:
            ax.plot(*line, color=colour, lw=0.9)
    ax.set(xscale="log", yscale="log", xlabel=r"weight scale $\epsilon$", ylim=(LOWEST, None))
    ax.yaxis.set_major_locator(LogLocator(numticks=12))
    ax.axhspan(LOWEST, ROUNDING, color=GREY, alpha=0.12, lw=0)
    ax.annotate(
        "rounding", (0.02, LOWEST), (0, 2), ("axes fraction", "data"), "offset points",
        ha="left", va="bottom", color=GREY,
    )  # fmt: skip


def _power(found: DrawableResidual, weight: str) -> str:
    measured, predicted = found.measured[weight], found.predicted.get(weight, np.nan)
    if not isfinite(measured):
        return "nothing but rounding" + (", as predicted" if predicted == np.inf else "")
    said = rf" (predicted $\epsilon^{{{predicted:g}}}$)" if isfinite(predicted) else ""
    return rf"$\epsilon^{{{round(measured, 2) + 0.0:.2f}}}${said}"


def _line(eps: np.ndarray, error: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The predicted power through the smallest errors that are not rounding."""
    clear = np.flatnonzero(error > 10.0 * ROUNDING)
    if not isfinite(power) or not clear.size:
        return None
    height = np.median(np.log(error[clear[-4:]]) - power * np.log(eps[clear[-4:]]))
    ends = eps[[clear[0], clear[-1]]]
    return ends, np.exp(height + power * np.log(ends))
