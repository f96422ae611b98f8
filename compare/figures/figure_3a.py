"""Figure 3A of arXiv 2502.04375: what the full decoder learns first, by the scale of its initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_crossing
from .arguments import FigureState, Progress, pick, resumable, tell
from .parts.anchors import GROUPS, ratio
from .parts.curves import GROUP_COLOURS, LEARNT, PAPER, SMALL, band, label_entropy
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Long enough for all training groups to be learnt at gamma = 0.3. More keys slow memory down more than reasoning.
REGIMES = {"small": replace(SMALL, d_model=128, d_head=64, d_mlp=256, steps=3000), "paper": PAPER}
GAMMAS = (0.3, 0.5, 0.8)
POINTS = 41
WHEN = "the first step with loss below three quarters of the group's label entropy"

Arrays = dict[str, np.ndarray]


def run(
    size: str = "small",
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = None,
    state: FigureState | None = None,
) -> FigureResult:
    """Train the decoder from three scales, and decide whether memory or reasoning comes first.

    Parameters
    ----------
    size : {"small", "paper"}
        "small" takes minutes on a CPU; "paper" has the paper's task and width.
    seeds : sequence of int
        Of initial weights, data and minibatches.
    progress : callable, optional
        Called with a line of text before every run.
    state : FigureState, optional
        Where trainings keep their state, to be taken up when the figure is run again.

    Returns
    -------
    FigureResult
    """
    regime, seeds = pick(REGIMES, size, seeds)
    curves: dict[str, list[np.ndarray]] = {}
    entropies: list[list[float]] = []
    arrays: Arrays = {}
    for seed in seeds:
        data = regime.task(seed).sampled(regime.pairs)
        entropies.append([label_entropy(data, group) for group in GROUPS])
        for gamma in GAMMAS:
            tell(progress, f"figure 3a: gamma {gamma}, seed {seed}, {regime.steps} steps")
            trained = regime.train(data, gamma, seed, POINTS, **resumable(state, gamma, seed))
            arrays["step"] = np.asarray(trained.steps)
            for name, values in trained.measured.items():
                curves.setdefault(f"{name}/{gamma}", []).append(values)
    arrays |= {name: np.array(values) for name, values in curves.items()}
    arrays["label entropy"] = np.array(entropies)  # (n_seeds, groups)
    return FigureResult(
        "3a",
        "Full decoder: memory and reasoning by scale of initialisation",
        "Loss and accuracy of the decoder by group for three initialisation exponents gamma; median over seeds with "
        "the range. Horizontal lines: entropies of the label laws of memory and of reasoning, where a network stands "
        "that has learnt which labels a kind of anchor has, and no more.",
        regime.record(seeds, gammas=list(GAMMAS), size=size),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    return (*_at_large(arrays), *_at_small(arrays), _of_bias(arrays))


def _at_large(arrays: Arrays) -> tuple[Statistic, ...]:
    memory, reasoning, _ = _times(arrays, GAMMAS[0])
    lowest = arrays[f"loss/reasoning-test/{GAMMAS[0]}"].min(axis=1) / arrays["label entropy"][:, 1]
    return (
        Statistic.within(
            f"At gamma = {GAMMAS[0]} memory and reasoning (training) fall together.",
            f"Steps of memory over steps of reasoning-train, to {WHEN}, both of which must come to it",
            ratio(memory, reasoning),
            above=0.5,
            below=2.0,
        ),
        Statistic.within(
            f"At gamma = {GAMMAS[0]} the reasoning test set is not learnt.",
            "Lowest reasoning-test loss of the run over the entropy of reasoning labels",
            lowest,
            above=0.9,
        ),
    )


def _at_small(arrays: Arrays) -> tuple[Statistic, ...]:
    memory, reasoning, test = _times(arrays, GAMMAS[-1])
    last = arrays[f"loss/reasoning-test/{GAMMAS[-1]}"][:, -1] / arrays["label entropy"][:, 1]
    return (
        Statistic.within(
            f"At gamma = {GAMMAS[-1]} reasoning is learnt before memory.",
            f"Steps of memory (infinite if never) over steps of reasoning-train, to {WHEN}",
            ratio(memory, reasoning),
            above=2.0,
        ),
        Statistic.within(
            f"At gamma = {GAMMAS[-1]} the reasoning test set is learnt with the training set.",
            f"Steps of reasoning-test over steps of reasoning-train, to {WHEN} (that of reasoning-train), both of "
            "which must come to it",
            ratio(test, reasoning),
            above=0.0,
            below=2.0,
        ),
        Statistic.within(
            f"At gamma = {GAMMAS[-1]} the reasoning test loss ends low.",
            "Last reasoning-test loss over the entropy of reasoning labels",
            last,
            below=0.5,
        ),
    )


def _of_bias(arrays: Arrays) -> Statistic:
    return Statistic.within(
        "The bias to reasoning grows as the initial weights shrink.",
        "Mean over the run of memory loss less reasoning-train loss, each over its label entropy, at "
        f"gamma = {GAMMAS[-1]} less that at {GAMMAS[0]}",
        _area(arrays, GAMMAS[-1]) - _area(arrays, GAMMAS[0]),
        above=0.0,
    )


def _times(arrays: Arrays, gamma: float) -> np.ndarray:
    """Steps to three quarters of the label entropy (groups, n_seeds); inf if never."""
    bounds = LEARNT * arrays["label entropy"][:, [0, 1, 1]]  # the test set has reasoning's label law
    losses = [arrays[f"loss/{group}/{gamma}"] for group in GROUPS]
    pairs = [zip(curves, column, strict=True) for curves, column in zip(losses, bounds.T, strict=True)]
    return np.array([[first_crossing(arrays["step"], curve, b) for curve, b in group] for group in pairs])


def _area(arrays: Arrays, gamma: float) -> np.ndarray:
    """Mean over steps of the gap between memory's and reasoning's loss, in label entropies (n_seeds,)."""
    entropy = arrays["label entropy"]
    return np.mean(
        arrays[f"loss/memory/{gamma}"] / entropy[:, :1]
        - arrays[f"loss/reasoning-train/{gamma}"] / entropy[:, 1:2],
        axis=1,
    )


def _draw(figure: Figure, arrays: Arrays) -> None:
    figure.set_size_inches(7.2, 4.2)
    axes: Any = figure.subplots(2, len(GAMMAS), sharex=True, sharey="row")
    entropy = np.median(arrays["label entropy"], axis=0)
    for column, gamma in zip(axes.T, GAMMAS, strict=True):
        for ax, kind in zip(column, ("loss", "accuracy"), strict=True):
            for group in GROUPS:
                band(ax, arrays["step"], arrays[f"{kind}/{group}/{gamma}"], GROUP_COLOURS[group], group)
        for j, group in enumerate(GROUPS[:2]):
            column[0].axhline(entropy[j], color=GROUP_COLOURS[group], lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        column[0].set_title(rf"$\gamma$ = {gamma}")
        column[1].set_xlabel("training step")
    axes[0, 0].set(ylabel="loss (nats)", ylim=(0.0, 6.0))
    axes[1, 0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
    axes[1, 0].legend(loc="upper left")
    axes[0, -1].annotate(
        "label laws (theory)",
        (0.98, entropy[:2].max()),
        (0, 2),
        ("axes fraction", "data"),
        "offset points",
        ha="right",
        va="bottom",
        color="#777777",
    )
