"""The proof as a picture: relative errors against autodiff over the weight scale, with the powers predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief
from .drawable import DrawableProof, DrawableResidual, drawable
from .literal import literal
from .marks.axis_words import weight_words
from .marks.palette import GREY, SERIES, on_panel
from .panels import MARKERS
from .saving import WIDTH, ShownFigure, axes_of, figure_on

ROUNDING = 1e-14  # errors below are that of float64 arithmetic
LOWEST = 1e-18  # of the axis
EVERY = 4  # of the scales, which are a quarter of an octave apart, has a marker
LINE = 0.16  # inches of a line of the legend

Proof = DrawableProof | DrawableResidual


def plot_proof(
    panels: Mapping[str, Mapping[str, Proof]],
    weight: str,
    path: str | Path | None = None,
    dpi: int = 200,
    axes: Any = None,
) -> Figure:
    """Draw relative errors of dW/dt against autodiff over the weight scale eps, a panel for each title.

    A derivation is right if its error vanishes with the power of eps that was predicted (line), down to rounding; an
    equation that is wrong at leading order keeps its error at any eps. `plot_proof_panel` draws one panel.

    Parameters
    ----------
    panels : mapping
        Title -> (name -> `Verdict` of `check`, or `ResidualMeasurement` of `measure_residual`); at most seven names.
    weight : str
        Whose equation, such as "W_E"; of anything else that moves, the `weight` of its verdict.
    path : path, optional
        File to write, .png, .pdf or .svg; replaced if there.
    dpi : int
        Dots per inch of a .png.
    axes : Axes, optional
        Where to draw, one for each title; a figure of its own if absent.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    ValueError
        If nothing is to be drawn, too many names are in a panel, something else is among the proofs, one of them does
        not have the weight, or the path cannot be a figure's.
    """
    if not isinstance(panels, Mapping) or not panels:
        raise FieldError(
            "panels",
            f'must map titles to proofs by name, such as {{"a claim": {{"mine": verdict}}}}, got {brief(panels)}.',
        )
    found = {title: _found(f"panels[{title!r}]", some, weight) for title, some in panels.items()}

    def draw(given: Sequence[Axes]) -> None:
        for ax, (title, some) in zip(given, found.items(), strict=True):
            plot_proof_panel(some, weight, ax).set_title(literal(title))

    whole = partial(_whole, found, weight)
    return figure_on(axes, [len(found)], draw, whole, path, dpi, Title="smallinit proof")


def _whole(found: Mapping[str, Mapping[str, DrawableResidual]], weight: str) -> Figure:
    most = max(map(len, found.values()))
    size = (WIDTH * min(1.0, 0.55 * len(found)), 2.6 + LINE * most)
    figure = ShownFigure(figsize=size, layout="constrained")
    rows = figure.subplots(2, len(found), squeeze=False, sharey="row", height_ratios=(2.6, LINE * most))
    for k, ((ax, below), (title, some)) in enumerate(zip(rows.T, found.items(), strict=True)):
        plot_proof_panel(some, weight, ax, legend=False).set_title(literal(title))
        below.axis("off")
        below.legend(*ax.get_legend_handles_labels(), loc="upper center", borderaxespad=0.0)
        if k:
            ax.set_ylabel("")
    return figure


def plot_proof_panel(
    proofs: Mapping[str, Proof], weight: str, ax: Axes | None = None, legend: bool = True
) -> Axes:
    """Draw relative errors of dW/dt against autodiff over the weight scale eps, with the powers predicted.

    Parameters
    ----------
    proofs : mapping
        Name -> `Verdict` of `check`, or `ResidualMeasurement` of `measure_residual`; at most seven.
    weight : str
        Whose equation, such as "W_E"; of anything else that moves, the `weight` of its verdict.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.
    legend : bool
        Whether to write the powers into the panel.

    Returns
    -------
    Axes
        Errors over eps, both logarithmic.

    Raises
    ------
    ValueError
        If there are no names or too many, something else is among the proofs, or one does not have the weight.
    """
    found, ax = _found("proofs", proofs, weight), axes_of(ax)
    _panel(ax, found, weight)
    moving = "(..)" if weight.startswith("(") else weight_words(weight)  # the claim in the title says of what
    ax.set_ylabel(rf"relative error of d{moving}/d$t$ against autodiff")
    if legend:
        ax.legend()
    return ax


def _found(field: str, proofs: Mapping[str, Proof], weight: str) -> dict[str, DrawableResidual]:
    if not isinstance(proofs, Mapping) or not proofs:
        raise FieldError(
            field, f'must map names to proofs, such as {{"mine": verdict}}, got {brief(proofs)}.'
        )
    if len(proofs) > len(SERIES):
        raise FieldError(field, f"has {len(proofs)} proofs: draw at most {len(SERIES)} in a panel.")
    return {name: _measured(f"{field}[{name!r}]", name, proof, weight) for name, proof in proofs.items()}


def _measured(field: str, name: str, proof: Proof, weight: str) -> DrawableResidual:
    measurement = proof.proof if isinstance(proof, DrawableProof) else proof
    drawable(field, measurement, DrawableResidual)
    if weight not in measurement.errors:
        raise FieldError("weight", f"{weight!r} is not in {name!r}: it has {', '.join(measurement.errors)}.")
    return measurement


def _panel(ax: Axes, some: Mapping[str, DrawableResidual], weight: str) -> None:
    colours = on_panel(ax, dict(zip(some, SERIES, strict=False)))
    for j, (name, found) in enumerate(some.items()):
        eps, error = found.eps, found.errors[weight]
        colour, marker = colours[name], MARKERS[j % len(MARKERS)]
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
