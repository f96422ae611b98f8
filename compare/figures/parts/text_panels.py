"""The panels of figure 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .curves import band
from .text_runs import CORPORA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_GAMMA = ("#D55E00", "#E69F00", "#009E73", "#0072B2")
BY_CORPUS = {"reasoning": "#0072B2", "narrative": "#D55E00"}
PREDICTORS = {
    "signature": ("#0072B2", "label laws (signature matrix)"),
    "flow": ("#009E73", "flow of W_E W_U at equal loss"),
    "co-occurrence": ("#777777", "counts of neighbours (baseline)"),
}
LOSS_TICKS = (0.5, 1, 2, 3, 5, 10)


def draw(figure: Figure, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    """Draw the six panels."""
    figure.set_size_inches(11.0, 6.6)
    figure.set_layout_engine("constrained")
    (losses, bias, summary), (cosine, correlation, matrix) = figure.subplots(2, 3)
    _training(losses, bias, arrays, gammas)
    _over_gamma(summary, arrays, gammas)
    _cosines(cosine, arrays, gammas)
    _correlations(correlation, arrays)
    _matrix(figure, matrix, arrays)


def _training(losses: Any, bias: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    step = arrays["step"]
    for i, (gamma, colour) in enumerate(zip(gammas, BY_GAMMA, strict=True)):
        for name, line in zip(CORPORA, ("-", "--"), strict=True):
            label = f"gamma {gamma:g}" if line == "-" else ""
            band(losses, step, arrays[f"loss/{name}"][i], colour, label, line)
        band(bias, step, arrays["bias"][i], colour, f"gamma {gamma:g}")
    losses.set(xlabel="training step", ylabel="loss (nats)", yscale="log")
    losses.set_title("a: reasoning (solid), narrative (dashed)")
    losses.set_yticks(LOSS_TICKS, [f"{tick:g}" for tick in LOSS_TICKS])
    losses.minorticks_off()
    losses.legend(fontsize=8, loc="upper right")
    bias.axhline(0.0, color="grey", lw=0.8, ls=":")
    bias.set(xlabel="training step", ylabel="bias dL", title="b: bias over the training")


def _over_gamma(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    lines = (
        ("mean bias", "black", "mean over the training"),
        ("bias at half", "#CC79A7", "at mean loss log(V) / 2"),
    )
    for name, colour, label in lines:
        panel.plot(gammas, np.median(arrays[name], axis=1), color=colour, label=label)
        panel.plot(gammas, arrays[name], "o", color=colour, ms=5, mfc="none")
    panel.axhline(0.0, color="grey", lw=0.8, ls=":")
    low, high = panel.get_ylim()
    panel.set(xlabel="gamma", ylabel="bias dL", xticks=gammas, title="c: bias over gamma")
    panel.set_ylim(low, high + 0.25 * (high - low))
    panel.legend(fontsize=8, loc="upper right")


def _cosines(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    for (name, colour), law in zip(BY_CORPUS.items(), arrays["law cosines"], strict=True):
        ends = arrays[f"cosine/{name}"][:, :, -1]
        panel.plot(gammas, np.median(ends, axis=1), color=colour, label=name)
        panel.plot(gammas, ends, "o", color=colour, ms=5, mfc="none")
        panel.axhline(law, color=colour, lw=1.0, ls=":", label=f"{name}, label laws")
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.45 * (high - low))
    panel.set(
        xlabel="gamma", ylabel="mean cosine of own words", xticks=gammas, title="d: embedding at the end"
    )
    panel.legend(fontsize=8, loc="upper right")


def _correlations(panel: Any, arrays: Mapping[str, np.ndarray]) -> None:
    for name, (colour, label) in PREDICTORS.items():
        band(panel, arrays["step"], arrays[f"correlation/{name}"], colour, label)
    for k, end in enumerate(arrays["stage end"][np.isfinite(arrays["stage end"])]):
        panel.axvline(
            end, ymax=0.7, color="grey", lw=0.8, ls=":", label="" if k else "end of the first stage"
        )
    panel.set(xlabel="training step", ylabel="correlation with trained", ylim=(-0.05, 1.45))
    panel.set_xscale("symlog", linthresh=10.0, linscale=0.4)
    panel.set_xlim(0.0, arrays["step"][-1])
    panel.set_yticks(np.linspace(0.0, 1.0, 6))
    panel.set_title("e: token similarities, gamma 0.8")
    panel.legend(fontsize=8, loc="upper right")


def _matrix(figure: Figure, panel: Any, arrays: Mapping[str, np.ndarray]) -> None:
    picture = panel.imshow(arrays["similarity"], vmin=-1.0, vmax=1.0, cmap="RdBu_r", interpolation="nearest")
    for end in arrays["block ends"][:-1]:
        panel.axhline(end - 0.5, color="black", lw=0.6)
        panel.axvline(end - 0.5, color="black", lw=0.6)
    starts = [0, *arrays["block ends"][:-1]]
    middles = [(a + b) / 2 for a, b in zip(starts[:2], arrays["block ends"][:2], strict=True)]
    panel.set_xticks(middles, CORPORA)
    panel.set_yticks(middles, CORPORA, rotation=90, va="center")
    panel.tick_params(length=0)
    panel.set_title("f: trained (above), label laws (below)")
    figure.colorbar(picture, ax=panel, label="cosine", shrink=0.85)
