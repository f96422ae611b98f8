"""The panels of figure 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...plots.marks.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from .curves import band
from .text_runs import CORPORA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_GAMMA = (VERMILION, ORANGE, GREEN, BLUE)
BY_CORPUS = {"reasoning": BLUE, "narrative": VERMILION}
PREDICTORS = {
    "signature": (BLUE, "label laws (signature matrix)"),
    "flow": (GREEN, "flow of W_E W_U at equal loss"),
    "co-occurrence": (GREY, "counts of neighbours (baseline)"),
}
LOSS_TICKS = (0.5, 1, 2, 3, 5, 10)


def draw(
    figure: Figure, arrays: Mapping[str, np.ndarray], gammas: Sequence[float], paper: Sequence[float]
) -> None:
    """Draw the eight panels; `paper` are its mean cosines of reasoning and narrative tokens."""
    figure.set_size_inches(15.0, 7.0)
    figure.set_layout_engine("constrained")
    (losses, by_epoch, by_loss, summary), (cosine, unseen, correlation, matrix) = figure.subplots(2, 4)
    _losses(losses, arrays, gammas)
    _by_epoch(by_epoch, arrays, gammas)
    _by_loss(by_loss, arrays, gammas)
    _over_gamma(summary, arrays, gammas)
    _cosines(cosine, arrays, paper)
    _unseen(unseen, arrays)
    _correlations(correlation, arrays)
    _matrix(figure, matrix, arrays)


def _log_losses(panel: Any, title: str) -> None:
    panel.set(xlabel="epoch", ylabel="loss (nats)", yscale="log", title=title)
    panel.set_yticks(LOSS_TICKS, [f"{tick:g}" for tick in LOSS_TICKS])
    panel.minorticks_off()


def _losses(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    for i, (gamma, colour) in enumerate(zip(gammas, BY_GAMMA, strict=True)):
        for name, line in zip(CORPORA, ("-", "--"), strict=True):
            label = f"gamma {gamma:g}" if line == "-" else ""
            band(panel, arrays["epoch"], arrays[f"loss/{name}"][i], colour, label, line)
    _log_losses(panel, "a: reasoning (solid), narrative (dashed)")
    panel.legend(fontsize=8, loc="upper right")


def _by_epoch(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    for i, (gamma, colour) in enumerate(zip(gammas, BY_GAMMA, strict=True)):
        band(panel, arrays["epoch"], arrays["bias"][i], colour, f"gamma {gamma:g}")
    if np.isfinite(arrays["window"][0]).all():
        panel.axvspan(*arrays["window"][0], color="grey", alpha=0.12, lw=0)
    panel.axhline(0.0, color="grey", lw=0.8, ls=":")
    panel.set(xlabel="epoch", ylabel="bias dL", title="b: bias at equal epochs")
    panel.legend(fontsize=8)


def _by_loss(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    """The median training of each gamma as a path through loss and bias, and every seed as a thin one."""
    for i, (gamma, colour) in enumerate(zip(gammas, BY_GAMMA, strict=True)):
        for k, path in enumerate(zip(arrays["loss/reasoning"][i], arrays["bias"][i], strict=True)):
            panel.plot(*path, color=colour, lw=1.0, label="" if k else f"gamma {gamma:g}")
    starts = arrays["loss/reasoning"][..., 0].min()  # where the smallest weights begin, near log V
    panel.set_xlim(starts, arrays["loss/reasoning"].min() * 0.9)
    panel.set(xlabel="loss of reasoning (nats), falling", ylabel="bias dL", title="c: bias at equal loss")
    panel.legend(fontsize=8)


def _over_gamma(panel: Any, arrays: Mapping[str, np.ndarray], gammas: Sequence[float]) -> None:
    lines = (
        ("bias at middle", "black", "equal epochs (middle of the window)"),
        ("bias at equal reasoning loss", BLUE, "equal loss of reasoning"),
        ("bias at equal mean loss", PURPLE, "equal mean of both losses"),
    )
    for name, colour, label in lines:
        panel.plot(gammas, np.median(arrays[name], axis=1), color=colour, label=label)
        panel.plot(gammas, arrays[name], "o", color=colour, ms=5, mfc="none")
    low, high = panel.get_ylim()
    panel.set(xlabel="gamma", ylabel="bias dL", xticks=gammas, title="d: bias over gamma")
    panel.set_ylim(low, high + 0.35 * (high - low))
    panel.legend(fontsize=8, loc="upper left")


def _cosines(panel: Any, arrays: Mapping[str, np.ndarray], paper: Sequence[float]) -> None:
    for (name, colour), theirs in zip(BY_CORPUS.items(), paper, strict=True):
        band(panel, arrays["epoch"], arrays[f"cosine/{name}"][-1], colour, name)
        panel.axhline(theirs, color=colour, lw=1.0, ls=":", label=f"{name}, paper")
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.4 * (high - low))
    panel.set(xlabel="epoch", ylabel="mean cosine of own words", title="e: embedding, gamma 0.8")
    panel.legend(fontsize=8, loc="upper right", ncols=2)


def _unseen(panel: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Whether documents are learnt or learnt by heart."""
    for name, colour in BY_CORPUS.items():
        band(panel, arrays["epoch"], arrays[f"loss/{name}"][-1], colour, f"{name}, trained on")
        panel.plot(
            arrays["epoch"], np.median(arrays[f"held out/{name}"][-1], axis=0), color=colour, lw=0.8, ls="--",
            label=f"{name}, unseen",
        )  # fmt: skip
    _log_losses(panel, "f: seen and unseen documents, gamma 0.8")
    panel.legend(fontsize=8, loc="lower left")


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
    panel.set_title("g: token similarities, gamma 0.8")
    panel.legend(fontsize=8, loc="upper right")


def _matrix(figure: Figure, panel: Any, arrays: Mapping[str, np.ndarray]) -> None:
    picture = panel.imshow(arrays["similarity"], vmin=-1.0, vmax=1.0, cmap="RdBu_r", interpolation="nearest")
    for end in arrays["block ends"][:-1]:
        panel.axhline(end - 0.5, color="black", lw=0.6)
        panel.axvline(end - 0.5, color="black", lw=0.6)
    starts = [0, *arrays["block ends"][:-1]]
    blocks = list(zip(CORPORA, starts[:2], arrays["block ends"][:2], strict=True))
    middles = {name: (a + b) / 2 for name, a, b in blocks if b > a}  # a corpus may have no words of its own
    panel.set_xticks(list(middles.values()), list(middles))
    panel.set_yticks(list(middles.values()), list(middles), rotation=90, va="center")
    panel.tick_params(length=0)
    panel.set_title("h: trained (above), label laws (below)")
    figure.colorbar(picture, ax=panel, label="cosine", shrink=0.85)
