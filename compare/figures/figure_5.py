"""Figure 5: the embedding of the one-layer transformer: numerical order, theory beside training, and the ansatz."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.claims.theorem_one import ANSATZ_WIDTH, bells
from ...theory.models import OneLayerTransformer
from ...theory.tasks import CompositeTask
from . import _anchors as anchors
from ._arguments import Progress, pick, tell
from ._embeddings import EARLY, MOMENTS, Embeddings, embeddings, never_early
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA, RATE, ANCHOR = 0.8, 1.0, 15
ENDS = {"small": 400.0, "paper": 1500.0}  # flow times by which reasoning is learnt
PAIRS = {"small": 1000, "paper": 200_000}
WIDTHS = {"small": (32, 64), "paper": (64, 200)}  # d_head, d_mlp
TASKS = {
    "small": partial(
        CompositeTask, range(21, 31), range(1, 11), range(11, 21), length=5, masked=((11, 13), (13, 11))
    ),
    "paper": partial(anchors.paper_task, 9),
}
THEORIES = ("softmax closure", "exact law", "ansatz")


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train every seed at gamma 0.8, and lay three theories of the embedding beside.

    Parameters
    ----------
    size : {"small", "paper"}
        10 keys, sequences of 5 tokens and 1000 pairs, or the paper's 100 keys, 9 tokens and 200,000 pairs.
    seeds : sequence of int
        Seeds of the initial weights, of the ansatz's noise, and of the pairs drawn.
    progress : callable, optional
        Told what is going on.
    """
    chosen, seeds = pick(TASKS, size, seeds)
    task = chosen()
    model = OneLayerTransformer(task.d_vocab, task.d_vocab, *WIDTHS[size], task.length, unembed=False)
    runs = []
    for seed in seeds:
        tell(progress, f"figure 5: seed {seed} ...")
        data = task.sampled(PAIRS[size], seed)
        runs.append(embeddings(model, data, model.init(GAMMA, seed), RATE, ENDS[size]))
    bell = [ansatz(task, seed) for seed in seeds]
    settings = {
        "model": dict(model.spec()), "pairs": PAIRS[size], "gamma": GAMMA, "seeds": list(seeds),
        "optimizer": "gd, full batch", "learning_rate": RATE, "t1": ENDS[size], "closure": "softmax",
        "moments": EARLY, "ansatz": f"exp(-(i-s)^2/{ANSATZ_WIDTH:g}) - 1/d_m + N(0, d_m^(-2 gamma))",
        "left open by the paper": "activation (tanh), d_head, d_mlp, optimiser (GD), the two moments",
    }  # fmt: skip
    arrays = {
        f"W_E/{side}": np.array([getattr(one, side) for one in runs]) for side in ("training", "theory")
    }
    return FigureResult(
        "5",
        "One-layer transformer: the embedding keeps the order of numbers",
        "Cosines between embeddings of anchors, their first principal components, cosines of reasoning anchor "
        f"{ANCHOR} with the others in training and three theories, and the ansatz's principal components.",
        settings,
        statistics(task, runs, bell),
        partial(_draw, task, runs[0], bell[0]),
        arrays | {"t": np.array([one.t for one in runs]), "ansatz": np.array(bell)},
    )


def ansatz(task: CompositeTask, seed: int) -> np.ndarray:
    """Return A14's embeddings of the reasoning anchors (anchors, d_model): bells, and noise of the initial size."""
    d, means = task.d_vocab, np.array(task.reasoning_anchors, dtype=float)
    noise = np.random.default_rng([seed, d]).normal(0.0, d**-GAMMA, (len(means), d))
    return bells(means, ANSATZ_WIDTH, d) - 1.0 / d + noise


def theories(task: CompositeTask, one: Embeddings, bell: np.ndarray, moment: str) -> dict[str, np.ndarray]:
    """Return cosines between reasoning anchors (m, m) by each theory; the last two know no time."""
    reasoning = np.array(task.reasoning_anchors)
    law = anchors.centred(anchors.anchor_laws(task)["reasoning"])
    found = (one.cosines("theory", moment, reasoning), *(anchors.cosine_matrix(rows) for rows in (law, bell)))
    return dict(zip(THEORIES, found, strict=True))


def statistics(
    task: CompositeTask, runs: Sequence[Embeddings], bell: Sequence[np.ndarray]
) -> tuple[Statistic, ...]:
    """Decide the claims on embeddings and ansatz, one of each per seed."""
    reasoning = np.array(task.reasoning_anchors)
    note = never_early(runs)
    near = Statistic.within(
        "early, reasoning anchors are the more alike the closer their numbers",
        "Spearman correlation of the distance of two reasoning anchors with their cosine, trained embeddings",
        [one.order("early", reasoning) for one in runs],
        below=-0.9,
        note=note,
    )
    theories_of_it = [
        Statistic.within(
            f"early, the {name} gives the cosines of the reasoning anchors",
            "largest difference from the trained ones over all pairs",
            [_off(task, one, b, name) for one, b in zip(runs, bell, strict=True)],
            below=0.1,
            note=note,
        )
        for name in THEORIES
    ]
    *trained, of_ansatz = _of_components(task, runs, bell)
    return (near, *trained, *theories_of_it, of_ansatz)


def _of_components(
    task: CompositeTask, runs: Sequence[Embeddings], bell: Sequence[np.ndarray]
) -> tuple[Statistic, ...]:
    rank = "modulus of the Spearman correlation of the number with the first principal component"
    memory = ", ".join(f"{_order(one.training[1][np.array(task.memory_anchors)]):.2f}" for one in runs)
    return (
        *(
            Statistic.within(
                f"the embedding of the {name} has numerical order at the end",
                f"{rank}, trained embeddings",
                [_order(one.training[1][np.array(some)]) for one in runs],
                above=0.9,
                note=f"memory anchors, for contrast: {memory}",
            )
            for name, some in (("reasoning anchors", task.reasoning_anchors), ("keys", task.keys))
        ),
        Statistic.within(
            "the ansatz has the same numerical order", f"{rank}, ansatz", map(_order, bell), above=0.9
        ),
    )


def _order(rows: np.ndarray) -> float:
    return abs(anchors.rank_correlation(np.arange(len(rows)), anchors.principal(rows)[0][:, 0]))


def _off(task: CompositeTask, one: Embeddings, bell: np.ndarray, name: str) -> float:
    trained = one.cosines("training", "early", np.array(task.reasoning_anchors))
    return float(np.abs(theories(task, one, bell, "early")[name] - trained).max())


def _draw(task: CompositeTask, one: Embeddings, bell: np.ndarray, figure: Figure) -> None:
    figure.set_size_inches(7.2, 4.6)
    halves: Any = figure.subfigures(2, 1)
    above, below = halves
    reasoning, n = np.array(task.reasoning_anchors), len(task.memory_anchors)
    both = np.array([*task.memory_anchors, *reasoning])
    top: list[Any] = list(above.subplots(1, 4))
    for ax, (side, moment) in zip(
        top, ((s, m) for m in MOMENTS for s in ("training", "theory")), strict=True
    ):
        title = f"{'softmax closure' if side == 'theory' else side}, $t$ = {one.t[MOMENTS.index(moment)]:.0f}"
        anchors.show_cosines(ax, one.cosines(side, moment, both), title, n)
    anchors.cosine_bar(above, top)
    left, middle, right = below.subplots(1, 3)
    _components(left, one.training[1][reasoning], reasoning, "training, end: reasoning anchors")
    _components(right, bell, reasoning, "ansatz: reasoning anchors")
    row = int(np.flatnonzero(reasoning == ANCHOR)[0])
    for (name, matrix), style in zip(
        theories(task, one, bell, "early").items(), ("-", "--", ":"), strict=True
    ):
        middle.plot(reasoning, matrix[row], style, label=name)
    trained = one.cosines("training", "early", reasoning)[row]
    middle.plot(reasoning, trained, "o", color="black", mfc="none", ms=3.5, label="training")
    middle.set(xlabel="reasoning anchor", ylabel=f"cosine with {ANCHOR}", title=f"$t$ = {one.t[0]:.0f}")
    middle.legend()


def _components(ax: Any, rows: np.ndarray, tokens: np.ndarray, title: str) -> None:
    places, shares = anchors.principal(rows)
    ax.plot(*places.T, "-", color="#BBBBBB", lw=0.8)
    ax.scatter(*places.T, c=tokens, cmap="viridis", s=14, zorder=2)
    for place, token in zip(places, tokens, strict=True):
        ax.annotate(str(token), place, (3, 3), textcoords="offset points", fontsize=6)
    ax.set(xlabel=f"component 1 ({shares[0]:.0%})", ylabel=f"component 2 ({shares[1]:.0%})", title=title)
