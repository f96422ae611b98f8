"""Figure 5: the embedding of the one-layer transformer: numerical order, theory beside training, and the ansatz."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import cosine_matrix
from ...theory.data.tasks import CompositeTask
from ...theory.models.one_layer_transformer import OneLayerTransformer
from ..literature.theorem_one import ANSATZ_WIDTH, bells
from ..plots.marks.palette import BLUE, GREEN, VERMILION
from .arguments import Asked, figure
from .parts import anchors
from .parts.embeddings import (
    LATE,
    ORDERED,
    RANK,
    WITHIN,
    Embeddings,
    embeddings,
    held,
    kept_arrays,
    never,
    noted,
    said,
    show_moments,
    show_order,
)
from .result import FigureResult, Statistic, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA, RATE, ANCHOR = 0.8, 1.0, 15
# Of the starting loss, gone at the early moment: just more than what the frequencies of labels give (3.87 of 4.62
# nats are left with 40 keys). There the transformer rests for long before it learns the rule.
PARTS = {"early": 0.2}
HIGHER = "activation=3,attention=0"  # keeps the cube of tanh, which the softmax closure drops
MOMENTS = (*PARTS, LATE)
ENDS = {"small": 500.0, "paper": 1500.0}  # flow times by which keys have come into order
PAIRS = {"small": 24_000, "paper": 200_000}
WIDTHS = {"small": (64, 100), "paper": (64, 200)}  # d_head, d_mlp
TASKS = {
    "small": partial(
        CompositeTask, range(21, 61), range(1, 11), range(11, 21), length=5, masked=((11, 13), (13, 11))
    ),
    "paper": partial(anchors.paper_task, 9),
}
THEORIES = ("softmax closure", "exact law", "ansatz")
COMPONENT_RANK = "modulus of the Spearman correlation of the number with the first principal component"


@figure
def run(asked: Asked) -> FigureResult:
    """Train every seed at gamma 0.8, and lay three theories of the embedding beside.

    Parameters
    ----------
    asked : Asked
        40 keys, sequences of 5 tokens and 24,000 pairs, which hold every key, position and anchor tuple once; or
        the paper's 100 keys, 9 tokens and 200,000 random pairs.
    """
    chosen, size, seeds = asked.pick(TASKS), asked.size, asked.seeds
    task = chosen()
    model = OneLayerTransformer(task.d_vocab, task.d_vocab, *WIDTHS[size], task.length, unembed=False)
    runs = []
    for seed in seeds:
        asked.tell(f"figure 5: seed {seed} ...")
        # The last token's label law comes from the sequences that end with it, one in 60 at 5 tokens: drawn at random,
        # so few pairs bury its order in noise.
        data = task.sampled(PAIRS[size], seed, balanced=size == "small")
        start, kept = model.init(GAMMA, seed), asked.kept(seed)
        runs.append(embeddings(model, data, start, RATE, ENDS[size], PARTS, HIGHER, **kept))
    bell = [ansatz(task, seed) for seed in seeds]
    return FigureResult(
        "5",
        "One-layer transformer: the embedding keeps the order of numbers",
        "Cosines between embeddings of anchors (memory first, then reasoning), early and late, trained and predicted; "
        "how the order of reasoning anchors comes about; first principal components of reasoning anchors and of keys "
        f"at the end; cosines of reasoning anchor {ANCHOR} with the others, early, in training and three theories; "
        "principal components of the ansatz. "
        f"Where {said(PARTS)}. First seed.",
        _settings(model, size, seeds),
        statistics(task, runs, bell),
        partial(_draw, task, runs[0], bell[0]),
        kept_arrays(runs) | {"ansatz": np.array(bell)},
    )


def _settings(model: OneLayerTransformer, size: str, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "model": dict(model.spec()), "pairs": PAIRS[size], "balanced": size == "small", "gamma": GAMMA,
        "seeds": list(seeds), "optimizer": "gd, full batch", "dtype": "float32", "learning_rate": RATE,
        "t1": ENDS[size], "closures": ["softmax", HIGHER], "moments": said(PARTS),
        "ansatz": f"exp(-(i-s)^2/{ANSATZ_WIDTH:g}) - 1/d_m + N(0, d_m^(-2 gamma))",
        "left open by the paper": "activation (tanh), d_head, d_mlp, optimiser (GD), the two moments",
    }  # fmt: skip


def ansatz(task: CompositeTask, seed: int) -> np.ndarray:
    """Return A14's embeddings of the reasoning anchors (anchors, d_model): bells, and noise of the initial size."""
    d, means = task.d_vocab, np.array(task.reasoning_anchors, dtype=float)
    noise = np.random.default_rng([seed, d]).normal(0.0, d**-GAMMA, (len(means), d))
    return bells(means, ANSATZ_WIDTH, d) - 1.0 / d + noise


def theories(task: CompositeTask, one: Embeddings, bell: np.ndarray, moment: str) -> dict[str, np.ndarray]:
    """Return cosines between reasoning anchors (m, m) by each theory; the last two know no time."""
    reasoning = np.array(task.reasoning_anchors)
    law = anchors.centred(anchors.anchor_laws(task)["reasoning"])
    found = (one.cosines("theory", moment, reasoning), *(cosine_matrix(rows) for rows in (law, bell)))
    return dict(zip(THEORIES, found, strict=True))


def statistics(
    task: CompositeTask, runs: Sequence[Embeddings], bell: Sequence[np.ndarray]
) -> tuple[Statistic, ...]:
    """Decide the claims on embeddings and ansatz, one of each per seed."""
    ordered = Statistic.within(
        "the ansatz, which is built on the numbers, has the same order",
        f"{COMPONENT_RANK}, ansatz; nothing is trained",
        map(_order, bell),
        above=0.9,
    )
    return (*_of_order(task, runs), *_of_theories(task, runs, bell), ordered)


def _of_order(task: CompositeTask, runs: Sequence[Embeddings]) -> tuple[Statistic, ...]:
    """Whether the trained embedding keeps the order of numbers, by its cosines and by its components."""
    reasoning = np.array(task.reasoning_anchors)
    memory = ", ".join(
        f"{_order(one.at('training', 'late')[np.array(task.memory_anchors)]):.2f}" for one in runs
    )
    return (
        *(
            Statistic.within(
                f"{moment}, reasoning anchors are the more alike the closer their numbers",
                f"{RANK}, trained embeddings",
                [one.order(moment, reasoning) for one in runs],
                below=ORDERED,
                note=never(runs, moment),
            )
            for moment in MOMENTS
        ),
        *(
            Statistic.within(
                f"the embedding of the {name} has numerical order at the end",
                f"{COMPONENT_RANK}, trained embeddings",
                [_order(one.at("training", "late")[np.array(some)]) for one in runs],
                above=0.9,
                note=f"memory anchors, for contrast: {memory}",
            )
            for name, some in (("reasoning anchors", task.reasoning_anchors), ("keys", task.keys))
        ),
    )


def _of_theories(
    task: CompositeTask, runs: Sequence[Embeddings], bell: Sequence[np.ndarray]
) -> tuple[Statistic, ...]:
    """Which theory gives the early cosines of the reasoning anchors."""
    reasoning = np.array(task.reasoning_anchors)
    both = np.array([*task.memory_anchors, *task.reasoning_anchors])
    number = "largest difference from the trained ones over all pairs"
    notes = {
        "softmax closure": held(runs, both),
        "exact law": "the law is that of the flow: embeddings hold their random start too",
        "ansatz": "its width is far from the law's: see docs/figures.md",
    }
    found = [
        Statistic.within(
            f"early, the {name} gives the cosines of the reasoning anchors",
            number,
            [_off(task, one, b, name) for one, b in zip(runs, bell, strict=True)],
            below=WITHIN,
            note=noted(runs, "early", notes[name]),
        )
        for name in THEORIES
    ]
    higher = Statistic.within(
        f"early, the closure {HIGHER} gives the cosines of the reasoning anchors",
        number,
        [one.off("early", reasoning, "higher") for one in runs],
        below=WITHIN,
        note=noted(runs, "early", f"softmax: {listed([one.off('early', reasoning) for one in runs])}"),
    )
    return (*found, higher, _of_displacement(task, runs))


def _of_displacement(task: CompositeTask, runs: Sequence[Embeddings]) -> Statistic:
    return Statistic.within(
        "early, the exact law gives the cosines of what training has added to the reasoning anchors",
        "largest difference from those of W_E - W_E(0) over all pairs",
        [_off_law(task, one) for one in runs],
        below=WITHIN,
        note=never(runs, "early"),
    )


def _order(rows: np.ndarray) -> float:
    return abs(anchors.rank_correlation(np.arange(len(rows)), anchors.principal(rows)[0][:, 0]))


def _off(task: CompositeTask, one: Embeddings, bell: np.ndarray, name: str) -> float:
    trained = one.cosines("training", "early", np.array(task.reasoning_anchors))
    return float(np.abs(theories(task, one, bell, "early")[name] - trained).max())


def _off_law(task: CompositeTask, one: Embeddings) -> float:
    """Largest difference of the exact law's cosines from those of what training has added, early."""
    tokens, law = np.array(task.reasoning_anchors), anchors.centred(anchors.anchor_laws(task)["reasoning"])
    moved = one.cosines("training", "early", tokens, moved=True)
    return float(np.abs(moved - cosine_matrix(law)).max())


def _draw(task: CompositeTask, one: Embeddings, bell: np.ndarray, figure: Figure) -> None:
    figure.set_size_inches(11.5, 4.8)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
    above, below = halves
    reasoning, n = np.array(task.reasoning_anchors), len(task.memory_anchors)
    show_moments(above, one, np.array([*task.memory_anchors, *reasoning]), n)
    first, second, third, fourth, last = below.subplots(1, 5)
    show_order(first, reasoning, one)
    late = one.at("training", "late")
    _components(second, late[reasoning], reasoning, "late: reasoning anchors")
    _components(third, late[np.array(task.keys)], np.array(task.keys), "late: keys")
    _with_one(fourth, task, one, bell)
    _components(last, bell, reasoning, "ansatz: reasoning anchors")


def _with_one(ax: Any, task: CompositeTask, one: Embeddings, bell: np.ndarray) -> None:
    reasoning = np.array(task.reasoning_anchors)
    row = int(np.flatnonzero(reasoning == ANCHOR)[0])
    styles = zip(("-", "--", ":"), (BLUE, GREEN, VERMILION), strict=True)
    for (name, matrix), (style, colour) in zip(
        theories(task, one, bell, "early").items(), styles, strict=True
    ):
        ax.plot(reasoning, matrix[row], style, color=colour, label=name)
    trained = one.cosines("training", "early", reasoning)[row]
    ax.plot(reasoning, trained, "o", color="black", mfc="none", ms=3.5, label="training")
    ax.set(
        xlabel="reasoning anchor",
        ylabel=f"cosine with {ANCHOR}",
        title=f"early, $t$ = {one.time('early'):.0f}",
    )
    ax.legend(fontsize=6)


def _components(ax: Any, rows: np.ndarray, tokens: np.ndarray, title: str) -> None:
    places, shares = anchors.principal(rows)
    ax.plot(*places.T, "-", color="#BBBBBB", lw=0.8)
    ax.scatter(*places.T, c=tokens, cmap="viridis", s=14, zorder=2)
    every = -(-len(tokens) // 10)  # more names than ten cover each other
    for place, token in zip(places[::every], tokens[::every], strict=True):
        ax.annotate(str(token), place, (3, 3), textcoords="offset points", fontsize=6)
    ax.margins(0.12)  # room for the names at the edge
    ax.set(xlabel=f"component 1 ({shares[0]:.0%})", ylabel=f"component 2 ({shares[1]:.0%})", title=title)
