"""Figure 3A of arXiv 2502.04375: what the full decoder learns first, by the scale of its initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_crossing
from ...theory.data.frequencies import label_entropy
from ..plots.marks.palette import GREY, GROUP_COLOURS
from .arguments import Asked, figure
from .parts.anchors import GROUPS, ratio
from .parts.curves import LEARNT, PAPER, Regime, band, dense_then_even
from .parts.laid_over import CLOSURES, Laid, laid_over, of_closure, theory_handles, theory_lines
from .result import FigureResult, Statistic, by_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REGIMES = {
    "small": PAPER.small(
        2e-3,
        keys=(11, 30),
        memory_anchors=(1, 5),
        reasoning_anchors=(6, 10),
        pairs=4000,
    ),
    "paper": PAPER,
}
GAMMAS = (0.3, 0.5, 0.8)
POINTS = 21
LAID = 0.2  # part of the run that closures are laid over
WHEN = "the first step with loss below three quarters of the group's label entropy"

CAPTION = (
    "Loss and accuracy of the decoder by group for three initialisation exponents gamma; median over seeds with the "
    "range. Second row, the early part: over training, what two closures predict for each group, moved by the same "
    "AdamW from the same weights on other minibatches (black dashes: softmax, attention an average; grey dots: "
    "attention kept). Horizontal lines: entropies of the label laws of memory and of reasoning, where a network stands "
    "that has learnt which labels a kind of anchor has, and no more."
)

Arrays = dict[str, np.ndarray]


@figure
def run(asked: Asked) -> FigureResult:
    """Train the decoder from three scales, and decide whether memory or reasoning comes first."""
    regime, size, seeds = asked.pick(REGIMES), asked.size, asked.seeds
    save_at = dense_then_even(round(LAID * regime.steps), regime.steps, POINTS)
    runs = [_one_seed(regime, seed, save_at, asked) for seed in seeds]
    arrays = by_seed(runs) | {"step": save_at}
    return FigureResult(
        "3a",
        "Full decoder: memory and reasoning by scale of initialisation",
        CAPTION,
        regime.record(seeds, gammas=list(GAMMAS), size=size, exponents=[regime.exponent(g) for g in GAMMAS]),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def _one_seed(regime: Regime, seed: int, save_at: np.ndarray, asked: Asked) -> Arrays:
    """Curves of one seed at every gamma, time last."""
    data = regime.task(seed).sampled(regime.pairs)
    found = {"label entropy": np.array([label_entropy(data, group) for group in GROUPS])}
    for gamma in GAMMAS:
        asked.tell(f"figure 3a: gamma {gamma}, seed {seed}, {regime.steps} steps")
        trained = regime.train(data, gamma, seed, save_at, **asked.kept(gamma, seed))
        theory = laid_over(regime, data, gamma, seed, save_at[:POINTS], GROUPS, asked.state)
        found |= {f"{name}/{gamma}": values for name, values in {**trained.measured, **theory}.items()}
    return found


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    theory = (row for closure in CLOSURES for row in of_closure(closure, _laid(arrays, closure, GAMMAS[-1])))
    return (*_at_large(arrays), *_at_small(arrays), _of_bias(arrays), *theory, _of_range(arrays))


def _laid(arrays: Arrays, closure: str, gamma: float) -> Laid:
    """What `of_closure` compares, at one gamma."""
    return Laid.of(arrays, closure, GROUPS, arrays["label entropy"][:, [0, 1, 1]], f"/{gamma}", GROUPS[:2])


def _of_range(arrays: Arrays) -> Statistic:
    closure, gamma = CLOSURES[0], GAMMAS[0]
    return Statistic.within(
        f"At gamma = {gamma} the closure {closure} does not apply.",
        "Largest relative error of the predicted group losses over the steps that it is laid over",
        _laid(arrays, closure, gamma).errors(np.full(len(arrays["label entropy"]), np.inf)),
        above=0.1,
    )


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
    figure.set_size_inches(7.2, 6.2)
    axes: Any = figure.subplots(3, len(GAMMAS), sharey="row")
    entropy = np.median(arrays["label entropy"], axis=0)
    for column, gamma in zip(axes.T, GAMMAS, strict=True):
        for ax, kind in zip(column, ("loss", "loss", "accuracy"), strict=True):
            for group in GROUPS:
                band(ax, arrays["step"], arrays[f"{kind}/{group}/{gamma}"], GROUP_COLOURS[group], group)
        for ax in column[:2]:
            for j, group in enumerate(GROUPS[:2]):
                ax.axhline(entropy[j], color=GROUP_COLOURS[group], lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        theory_lines(column[1], arrays, GROUPS, f"/{gamma}")
        column[0].set_title(rf"$\gamma$ = {gamma}")
        column[1].set_xlim(0, arrays["step"][POINTS - 1])
        column[2].set_xlabel("training step")
    axes[0, 0].set(ylabel="loss (nats)", ylim=(0.0, 8.0))
    axes[1, 0].set(ylabel="the same, early", ylim=(1.5, 5.0))
    axes[2, 0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
    handles, labels = axes[2, 0].get_legend_handles_labels()
    theory, names = theory_handles(axes[1, 0])
    figure.legend([*handles, *theory], [*labels, *names], loc="outside upper center", ncols=3)
    axes[0, -1].annotate(
        "label laws (theory)",
        (0.98, entropy[:2].max()),
        (0, 2),
        ("axes fraction", "data"),
        "offset points",
        ha="right",
        va="bottom",
        color=GREY,
    )
