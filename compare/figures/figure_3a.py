"""Figure 3A of arXiv 2502.04375: what the full decoder learns first, by the scale of its initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._curves import (
    GROUP_COLOURS,
    GROUPS,
    LEARNT,
    PAPER,
    SMALL,
    Progress,
    band,
    first_below,
    label_entropy,
    pick,
    tell,
)
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REGIMES = {"small": SMALL, "paper": PAPER}
GAMMAS = (0.3, 0.5, 0.8)
POINTS = 41

Arrays = dict[str, np.ndarray]


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train the decoder from three scales, and decide whether memory or reasoning comes first.

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
    curves: dict[str, list[np.ndarray]] = {}
    entropies: list[list[float]] = []
    arrays: Arrays = {}
    for seed in seeds:
        data = regime.task(seed).sampled(regime.pairs)
        entropies.append([label_entropy(data, group) for group in GROUPS])
        for gamma in GAMMAS:
            tell(progress, f"figure 3a: gamma {gamma}, seed {seed}, {regime.steps} steps")
            trained = regime.train(data, gamma, seed, POINTS)
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
    steps, entropy = arrays["step"], arrays["label entropy"]
    threshold = LEARNT * entropy[:, [0, 1, 1]]  # the test set has reasoning's label law

    def times(gamma: float) -> np.ndarray:  # (groups, n_seeds)
        return np.array(
            [
                [
                    first_below(steps, c, b)
                    for c, b in zip(arrays[f"loss/{g}/{gamma}"], threshold[:, j], strict=True)
                ]
                for j, g in enumerate(GROUPS)
            ]
        )

    large, small = times(GAMMAS[0]), times(GAMMAS[-1])
    lag_large, lag_small = (_quotients(t[0], t[1]) for t in (large, small))
    test_lag = _quotients(small[2], small[1])
    lowest = arrays[f"loss/reasoning-test/{GAMMAS[0]}"].min(axis=1) / entropy[:, 1]
    last = arrays[f"loss/reasoning-test/{GAMMAS[-1]}"][:, -1] / entropy[:, 1]
    area = _area(arrays, GAMMAS[-1]) - _area(arrays, GAMMAS[0])
    when = "the first step with loss below three quarters of the group's label entropy (ten runs if never)"
    return (
        Statistic(
            f"At gamma = {GAMMAS[0]} memory and reasoning (training) fall together.",
            f"Steps of memory over steps of reasoning-train, to {when}; reproduced if < 2 for every seed",
            lag_large,
            max(lag_large) < 2.0,
            "More pairs of the same tuples (more noise keys) help reasoning more than memory and pull them apart.",
        ),
        Statistic(
            f"At gamma = {GAMMAS[0]} the reasoning test set is not learnt.",
            "Lowest reasoning-test loss of the run over the entropy of reasoning labels; reproduced if > .9 for every "
            "seed",
            tuple(lowest.tolist()),
            bool(lowest.min() > 0.9),
        ),
        Statistic(
            f"At gamma = {GAMMAS[-1]} reasoning is learnt before memory.",
            f"Steps of memory over steps of reasoning-train, to {when}; reproduced if > 2 for every seed",
            lag_small,
            min(lag_small) > 2.0,
        ),
        Statistic(
            f"At gamma = {GAMMAS[-1]} the reasoning test set is learnt with the training set.",
            f"Steps of reasoning-test over steps of reasoning-train, to {when} (that of reasoning-train); "
            "reproduced if < 2 for every seed",
            test_lag,
            max(test_lag) < 2.0,
        ),
        Statistic(
            f"At gamma = {GAMMAS[-1]} the reasoning test loss ends low.",
            "Last reasoning-test loss over the entropy of reasoning labels; reproduced if < .5 for every seed",
            tuple(last.tolist()),
            bool(last.max() < 0.5),
            "Depends on the number of pairs, on weight decay and on the number of steps.",
        ),
        Statistic(
            "The bias to reasoning grows as the initial weights shrink.",
            "Mean over the run of memory loss less reasoning-train loss, each over its label entropy, at "
            f"gamma = {GAMMAS[-1]} less that at {GAMMAS[0]}; reproduced if > 0 for every seed",
            tuple(area.tolist()),
            bool(area.min() > 0.0),
        ),
    )


def _quotients(late: np.ndarray, early: np.ndarray) -> tuple[float, ...]:
    return tuple((late / early).tolist())


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
    figure.tight_layout()
