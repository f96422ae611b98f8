"""Figure 6 of arXiv 2502.04375: the first attention is an average, and W_V turns to the reasoning anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...sim.stages import value_direction
from ...sim.trajectory import Trajectory
from ...theory.dataset import Dataset
from ..decoder import Decoder, DecoderNetwork
from ._arguments import Progress, pick, tell
from ._curves import GROUP_COLOURS, PAPER, SMALL, band
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without LayerNorm, as in the paper's theory (Definition 2): it is what the predictions are about.
REGIMES = {
    "small": replace(SMALL, layer_norm=None, steps=1000),
    "paper": replace(PAPER, layer_norm=None, steps=20_000, warmup=2000),
}
GAMMA = 0.8
POINTS = 51
EARLY = 0.2  # of the run: twice the warm-up; memory and reasoning have just left their common start
SAMPLE = 500  # sequences whose attention is looked at

Arrays = dict[str, np.ndarray]
KINDS = ("reasoning-anchors", "memory-anchors")
COLOURS = {"reasoning-anchors": GROUP_COLOURS["reasoning-train"], "memory-anchors": GROUP_COLOURS["memory"]}


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train the decoder from a small initialisation and look at the first block's attention and values.

    Parameters
    ----------
    size : {"small", "paper"}
        "small" takes minutes on a CPU; "paper" has the paper's task and width.
    seeds : sequence of int
        Of initial weights, data and minibatches.
    progress : callable, optional
        Called with a line of text before every run.

    Returns
    -------
    FigureResult
    """
    regime, seeds = pick(REGIMES, size, seeds)
    found: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        tell(progress, f"figure 6: gamma {GAMMA}, seed {seed}, {regime.steps} steps")
        data = regime.task(seed).sampled(regime.pairs)
        trained = regime.train(data, GAMMA, seed, POINTS, keep="weights")
        for name, values in _look(trained, regime.model(data), data).items():
            found.setdefault(name, []).append(values)
    arrays = {name: np.array(values) for name, values in found.items()}
    arrays["step"] = arrays["step"][0]
    arrays["early"] = np.array(np.argmin(np.abs(arrays["step"] - EARLY * regime.steps)))
    return FigureResult(
        "6",
        "First attention and value weights of the full decoder",
        f"gamma = {GAMMA}, no LayerNorm. Attention of the first block at the start against the causal average; its "
        "distance from it over training; singular values of W_V; mean cosine of the anchors' embeddings with the top "
        "left singular vector of W_V (median over seeds, range), with the direction that the theory predicts (dotted), "
        "and |cosine| of the two directions (black). Dashed: the step that the statistics are taken at.",
        regime.record(seeds, gamma=GAMMA, early=EARLY, size=size),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def _look(trained: Trajectory, model: Decoder, data: Dataset) -> Arrays:
    """Curves of one run, time first."""
    sequences = torch.tensor(data.sequences[:: -(-len(data) // SAMPLE)])
    average = np.tril(np.ones((data.n_ctx, data.n_ctx))) / np.arange(1, data.n_ctx + 1)[:, None]
    causal = average > 0
    rows: dict[str, list[Any]] = {}
    for i in range(len(trained)):
        weights = trained.state(i)
        net = DecoderNetwork(model, weights)
        attention = net.patterns(sequences)[0].mean(axis=1)  # (m, T, T), over heads
        gap = np.abs(attention - average)[:, causal]
        u, values, _ = np.linalg.svd(weights["blocks.0.W_V"])
        v = value_direction(model, data, weights)
        now = {"largest gap": gap.max(), "mean gap": gap.mean(), "singular values": values}
        now |= {"predicted alignment": abs(u[:, 0] @ v), "attention": attention.mean(axis=0)}
        for side, direction in (("training", u[:, 0]), ("theory", v)):
            now |= {f"{side}/{kind}": c for kind, c in _cosines(weights["W_E"], data, direction).items()}
        for name, value in now.items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in rows.items()} | {"step": np.asarray(trained.steps)}


def _cosines(embedding: np.ndarray, data: Dataset, direction: np.ndarray) -> Arrays:
    """Cosines of anchors' embeddings with a direction, by kind; its sign is that of the reasoning anchors."""
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    cosines = {kind: unit[data.token_groups[kind]] @ direction for kind in KINDS}
    sign = np.sign(cosines[KINDS[0]].mean())
    return {kind: sign * values for kind, values in cosines.items()}  # (n_anchors,)


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    i = int(arrays["early"])
    when = f"at step {arrays['step'][i]}"
    return (*_of_attention(arrays, i, when), *_of_values(arrays, i, when))


def _of_attention(arrays: Arrays, i: int, when: str) -> tuple[Statistic, ...]:
    return (
        Statistic.within(
            "At the start the first attention is the causal average (Lemma 1).",
            "Largest |A_ij - 1/i| over sequences and positions at step 0",
            arrays["largest gap"][:, 0],
            below=0.01,
        ),
        Statistic.within(
            "Early in training it still is, nearly.",
            f"Mean |A_ij - 1/i| over sequences and positions j <= i {when}",
            arrays["mean gap"][:, i],
            below=0.05,
        ),
    )


def _of_values(arrays: Arrays, i: int, when: str) -> tuple[Statistic, ...]:
    first, second = arrays["singular values"][:, i, :2].T
    reasoning, memory = (np.abs(arrays[f"training/{kind}"][:, i]).mean(axis=1) for kind in KINDS)
    theory = arrays[f"theory/{KINDS[1]}"][:, i].mean(axis=1)
    return (
        Statistic.within(
            "W_V of the first block has one dominant singular value.",
            f"First over second singular value {when}",
            first / second,
            above=2.0,
        ),
        Statistic.within(
            "Its top singular vector is aligned with the embeddings of reasoning anchors.",
            f"Mean |cosine| with them {when}",
            reasoning,
            above=0.5,
        ),
        Statistic.within(
            "It is nearly orthogonal to the embeddings of memory anchors.",
            f"Mean |cosine| with memory anchors over that with reasoning anchors {when}",
            memory / reasoning,
            below=0.5,
            note="On the direction that the theory predicts, memory anchors have the mean cosine "
            f"{np.median(theory):.2f} (median over seeds; negative: opposite to the reasoning anchors).",
        ),
        Statistic.within(
            "The theory's value direction, top singular vector of W_E^T M, is the one that W_V takes.",
            f"|cosine| between the two {when}",
            arrays["predicted alignment"][:, i],
            above=0.7,
        ),
    )


def _draw(figure: Figure, arrays: Arrays) -> None:
    figure.set_size_inches(7.2, 4.6)
    axes: Any = figure.subplots(2, 2)
    steps, i = arrays["step"], int(arrays["early"])
    _attention(axes[0, 0], arrays["attention"][:, 0].mean(axis=0))
    gaps, spectrum, turn = axes[0, 1], axes[1, 0], axes[1, 1]
    for name, colour in (("largest gap", "#56B4E9"), ("mean gap", "#000000")):
        band(gaps, steps, arrays[name], colour, name.partition(" ")[0])
    gaps.set(ylabel=r"distance $|A_{ij} - 1/i|$", yscale="log", xlabel="training step")
    gaps.legend(loc="lower right")
    values = arrays["singular values"]
    index = np.arange(1, values.shape[2] + 1)
    for when, colour, label in ((0, "#777777", "step 0"), (i, "#0072B2", f"step {steps[i]}")):
        middle = np.median(values[:, when], axis=0)
        spectrum.plot(index, middle, "o", mfc="none", ms=3.5, mec=colour, label=label)
    spectrum.set(xlabel="index", ylabel=r"singular values of $W_V$", ylim=(0, None))
    spectrum.legend(loc="upper right")
    for kind in KINDS:
        short = kind.replace("-anchors", "")
        band(turn, steps, arrays[f"training/{kind}"].mean(axis=2), COLOURS[kind], f"{short} anchors")
        middle = np.median(arrays[f"theory/{kind}"].mean(axis=2), axis=0)
        turn.plot(steps, middle, color=COLOURS[kind], ls=(0, (1, 1)))
    band(turn, steps, arrays["predicted alignment"], "#000000", "theory with training")
    turn.plot([], [], color="#777777", ls=(0, (1, 1)), label="theory")
    turn.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    turn.set(xlabel="training step", ylabel="cosine", ylim=(-1.0, 1.6), yticks=np.linspace(-1, 1, 5))
    turn.legend(loc="upper right", ncols=2)
    for ax, top in ((gaps, 1.0), (turn, 0.78)):
        ax.axvline(steps[i], ymax=top, color="#777777", lw=0.7, ls=(0, (3, 2)), zorder=0)


def _attention(ax: Any, attention: np.ndarray) -> None:
    """First attention at the start, rows by the query: lines per query over the average as marks."""
    n = len(attention)
    for row in range(n):
        ax.plot(np.arange(1, row + 2), np.full(row + 1, 1 / (row + 1)), color="#777777", lw=0.8)
        ax.plot(
            np.arange(1, row + 2), attention[row, : row + 1], "o", ms=3, mfc="none", mec="#0072B2", mew=0.8
        )
    ax.plot([], [], color="#777777", lw=0.8, label="average $1/i$")
    ax.plot([], [], "o", ms=3, mfc="none", mec="#0072B2", mew=0.8, label="attention at step 0")
    ax.set(xlabel="position $j$ looked at", ylabel="$A_{ij}$, queries $i$ = 1 .. " + str(n), ylim=(0, 1.08))
    ax.legend(loc="upper right")
