"""Figure 4: embeddings of anchors in the Emb-MLP, early and late, and the label laws behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import cosine_matrix, off_diagonal
from ...theory.data.dataset import Dataset
from ...theory.data.tasks import CompositeTask
from ...theory.models.emb_mlp import EmbMLP
from ..plots.marks.palette import BLUE, GREEN, VERMILION
from .arguments import Asked, figure
from .parts import anchors
from .parts.embeddings import (
    LATE,
    ORDERED,
    RANK,
    WITHIN,
    Embeddings,
    at_moments,
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

GAMMA, RATE = 0.8, 0.5
# Of the starting loss, gone at the moments. A quarter is not much more than what the frequencies of labels give: with
# 40 keys, 3.87 of 4.62 nats are left then.
PARTS = {"early": 0.25, "halfway": 0.5}
MOMENTS = (*PARTS, LATE)
HIGHER = "activation=3"  # keeps the cube of tanh, which the softmax closure drops
ENDS = {"small": 700.0, "paper": 2500.0}  # flow times by which reasoning is learnt
WIDTHS = {"small": (200, 200), "paper": (200, 200)}
TASKS = {
    "small": partial(CompositeTask, range(21, 61), range(1, 11), range(11, 21), masked=((11, 13), (13, 11))),
    "paper": partial(anchors.paper_task, 3),
}


@figure
def run(asked: Asked) -> FigureResult:
    """Train every seed at gamma 0.8 and lay the exact label laws beside.

    Parameters
    ----------
    asked : Asked
        40 keys, or the paper's 100; both with 10 + 10 anchors and widths of 200.
    """
    chosen, size, seeds = asked.pick(TASKS), asked.size, asked.seeds
    task = chosen()
    data = task.dataset()
    model = EmbMLP(data.d_vocab, *WIDTHS[size])
    runs = []
    for seed in seeds:
        asked.tell(f"figure 4: seed {seed} ...")
        start, kept = model.init(GAMMA, seed), asked.kept(seed)
        runs.append(embeddings(model, data, start, RATE, ENDS[size], PARTS, HIGHER, **kept))
    laws = anchors.anchor_laws(task)
    arrays = {f"law/{kind}": rows for kind, rows in laws.items()} | kept_arrays(runs)
    arrays["W_E/higher"] = at_moments(runs, "higher", PARTS)
    return FigureResult(
        "4",
        "Emb-MLP: memory anchors share one direction, reasoning anchors keep their numerical order",
        "Cosines between embeddings of anchors (memory first, then reasoning), over time, trained and predicted; "
        "label laws P^s - 1/V and their cosines; cosines of reasoning anchors by distance; how their order comes "
        f"about. Where {said(PARTS)}. First seed.",
        _settings(model, data, size, seeds),
        statistics(task, laws, runs),
        partial(_draw, task, laws, runs[0]),
        arrays,
    )


def _settings(model: EmbMLP, data: Dataset, size: str, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "model": dict(model.spec()), "sequences": len(data.labels), "gamma": GAMMA, "seeds": list(seeds),
        "optimizer": "gd, full batch", "dtype": "float32", "learning_rate": RATE, "t1": ENDS[size],
        "closures": ["softmax", HIGHER], "moments": said(PARTS),
        "left open by the paper": "activation (tanh), hidden width, the two moments",
    }  # fmt: skip


def statistics(
    task: CompositeTask, laws: Mapping[str, np.ndarray], runs: Sequence[Embeddings]
) -> tuple[Statistic, ...]:
    """Decide the claims on embeddings, one per seed."""
    return (*_of_anchors(task, runs), *_of_theories(task, laws, runs))


def _of_anchors(task: CompositeTask, runs: Sequence[Embeddings]) -> tuple[Statistic, ...]:
    memory, reasoning = np.array(task.memory_anchors), np.array(task.reasoning_anchors)
    note = never(runs, "early")
    order = {
        "early": (
            "early, reasoning anchors are the more alike the closer their numbers",
            _hidden(runs, reasoning),
        ),
        "halfway": ("halfway, they are", ""),
        LATE: ("they still are at the end", ""),
    }
    return (
        *(
            Statistic.within(
                claim, f"{RANK}, trained embeddings", [one.order(moment, reasoning) for one in runs],
                below=ORDERED, note=noted(runs, moment, text),
            )
            for moment, (claim, text) in order.items()
        ),
        Statistic.within(
            "early, what training has added to them has that order, as the theory says of the flow",
            f"{RANK}, W_E - W_E(0)", [one.order("early", reasoning, moved=True) for one in runs],
            below=ORDERED, note=note,
        ),
        Statistic.within(
            "early, memory anchors point in one direction",
            "mean cosine of two different memory anchors",
            [off_diagonal(one.cosines("training", "early", memory)).mean() for one in runs],
            above=0.8, note=note,
        ),
        Statistic.within(
            "early, memory anchors have no numerical order",
            "modulus of the Spearman correlation of distance and cosine",
            [abs(one.order("early", memory)) for one in runs], below=0.3, note=note,
        ),
    )  # fmt: skip


def _hidden(runs: Sequence[Embeddings], tokens: np.ndarray) -> str:
    """Say what hides the order early: how much of an embedding is its start, and how little cosines differ."""
    start = [_norm(one.training[0], tokens) / _norm(one.at("training", "early"), tokens) for one in runs]
    cosines = [one.cosines("training", "early", tokens) for one in runs]
    steps = [float(np.diagonal(c, 1).mean() - np.diagonal(c, len(c) - 1).mean()) for c in cosines]
    return (
        f"the initial embedding, random, has {listed(start)} of the norm of the trained one, and mean cosines of the "
        f"nearest and the farthest anchors differ by {listed(steps)} only"
    )


def _norm(rows: np.ndarray, tokens: np.ndarray) -> float:
    return float(np.linalg.norm(rows[tokens], axis=1).mean())


def _of_theories(
    task: CompositeTask, laws: Mapping[str, np.ndarray], runs: Sequence[Embeddings]
) -> tuple[Statistic, ...]:
    both = np.array([*task.memory_anchors, *task.reasoning_anchors])
    law = off_diagonal(cosine_matrix(anchors.centred(np.concatenate(list(laws.values())))))
    trained = [off_diagonal(one.cosines("training", "early", both)) for one in runs]
    note = never(runs, "early")
    return (
        Statistic.within(
            "the label laws explain the early embeddings",
            "correlation of the cosines of P^s - 1/V with those of the embeddings over all pairs of anchors",
            [np.corrcoef(law, found)[0, 1] for found in trained], above=0.9, note=note,
        ),
        *(
            Statistic.within(
                f"the softmax closure predicts the {moment} cosines",
                "largest difference over all pairs of anchors", [one.off(moment, both) for one in runs],
                below=WITHIN, note=noted(runs, moment, held(runs, both)),
            )
            for moment in MOMENTS
        ),
        *(
            Statistic.within(
                f"the closure {HIGHER} predicts the {moment} cosines",
                "largest difference over all pairs of anchors", [one.off(moment, both, "higher") for one in runs],
                below=WITHIN, note=noted(runs, moment, f"softmax: {listed([one.off(moment, both) for one in runs])}"),
            )
            for moment in PARTS
        ),
    )  # fmt: skip


def _draw(task: CompositeTask, laws: Mapping[str, np.ndarray], one: Embeddings, figure: Figure) -> None:
    figure.set_size_inches(11.5, 4.8)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
    above, below = halves
    both, n = np.array([*task.memory_anchors, *task.reasoning_anchors]), len(task.memory_anchors)
    show_moments(above, one, both, n)
    left, middle, right, last = below.subplots(1, 4)
    for kind, colour in (("reasoning", BLUE), ("memory", VERMILION)):
        rows = anchors.centred(laws[kind])
        for i, row in enumerate(rows if kind == "reasoning" else rows[:1]):
            left.plot(row, color=colour, lw=0.8, label=f"{kind} anchors" if i == 0 else None)
    left.set(xlabel="label", ylabel=r"$P^s - 1/V$", title="label laws")
    # room for the legend above all curves
    left.set_ylim(top=1.25 * left.get_ylim()[1] - 0.25 * left.get_ylim()[0])
    left.legend(fontsize=6, ncols=2, loc="upper center")
    law = cosine_matrix(anchors.centred(np.concatenate([laws["memory"], laws["reasoning"]])))
    anchors.show_cosines(middle, law, r"cosines of $P^s - 1/V$", n)
    _by_distance(right, task, law[n:, n:], one)
    show_order(last, np.array(task.reasoning_anchors), one)


def _by_distance(ax: Any, task: CompositeTask, law: np.ndarray, one: Embeddings) -> None:
    reasoning = np.array(task.reasoning_anchors)
    curves = {
        r"$P^s - 1/V$": (law, ":", "black"),
    }
    for moment, mark, colour in zip(MOMENTS, "osv", (BLUE, VERMILION, GREEN), strict=True):
        curves[f"training, {moment}"] = (one.cosines("training", moment, reasoning), mark, colour)
        curves[f"closure, {moment}"] = (one.cosines("theory", moment, reasoning), "-", colour)
    for name, (matrix, style, colour) in curves.items():
        mean = [np.diagonal(matrix, k).mean() for k in range(len(matrix))]
        ax.plot(mean, style, color=colour, mfc="none", ms=3.5, label=name)
    ax.set(xlabel="distance of two reasoning anchors", ylabel="mean cosine", ylim=(None, 1.05))
    ax.legend(fontsize=6)
