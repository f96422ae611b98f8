"""Figure 4: embeddings of anchors in the Emb-MLP, early and late, and the label laws behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.models import EmbMLP
from ...theory.tasks import CompositeTask
from . import _anchors as anchors
from ._arguments import Progress, pick, tell
from ._embeddings import EARLY, MOMENTS, Embeddings, embeddings, never_early
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA, RATE = 0.8, 0.5
ENDS = {"small": 400.0, "paper": 1500.0}  # flow times by which reasoning is learnt
WIDTHS = {"small": (64, 64), "paper": (200, 200)}
TASKS = {
    "small": partial(CompositeTask, range(21, 31), range(1, 11), range(11, 21), masked=((11, 13), (13, 11))),
    "paper": partial(anchors.paper_task, 3),
}


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train every seed at gamma 0.8 and lay the exact label laws beside.

    Parameters
    ----------
    size : {"small", "paper"}
        10 keys, 10 + 10 anchors and widths of 64, or the paper's 100 keys and widths of 200.
    seeds : sequence of int
        Seeds of the initial weights.
    progress : callable, optional
        Told what is going on.
    """
    chosen, seeds = pick(TASKS, size, seeds)
    task = chosen()
    data = task.dataset()
    model = EmbMLP(data.d_vocab, *WIDTHS[size])
    runs = []
    for seed in seeds:
        tell(progress, f"figure 4: seed {seed} ...")
        runs.append(embeddings(model, data, model.init(GAMMA, seed), RATE, ENDS[size]))
    laws = anchors.anchor_laws(task)
    settings = {
        "model": dict(model.spec()), "sequences": len(data.labels), "gamma": GAMMA, "seeds": list(seeds),
        "optimizer": "gd, full batch", "learning_rate": RATE, "t1": ENDS[size], "closure": "softmax",
        "moments": EARLY, "left open by the paper": "activation (tanh), hidden width, the two moments",
    }  # fmt: skip
    arrays = {f"law/{kind}": rows for kind, rows in laws.items()}
    for side in ("training", "theory"):
        arrays[f"W_E/{side}"] = np.array([getattr(one, side) for one in runs])
    return FigureResult(
        "4",
        "Emb-MLP: memory anchors share one direction, reasoning anchors keep their numerical order",
        "Cosines between embeddings (memory anchors above the line, reasoning anchors below), label laws P^s - 1/V "
        "and their cosines; early is " + EARLY.partition(": ")[2].partition(";")[0] + ".",
        settings,
        statistics(task, laws, runs),
        partial(_draw, task, laws, runs[0]),
        arrays | {"t": np.array([one.t for one in runs])},
    )


def statistics(
    task: CompositeTask, laws: Mapping[str, np.ndarray], runs: Sequence[Embeddings]
) -> tuple[Statistic, ...]:
    """Decide the claims on embeddings, one per seed."""
    return (*_of_anchors(task, runs), *_of_theories(task, laws, runs))


def _of_anchors(task: CompositeTask, runs: Sequence[Embeddings]) -> tuple[Statistic, ...]:
    memory, reasoning = np.array(task.memory_anchors), np.array(task.reasoning_anchors)
    rank = (
        "Spearman correlation of the distance of two reasoning anchors with their cosine, trained embeddings"
    )
    note = never_early(runs)
    return (
        Statistic.within(
            "early, reasoning anchors are the more alike the closer their numbers",
            rank, [one.order("early", reasoning) for one in runs], below=-0.9, note=note,
        ),
        Statistic.within(
            "they still are at the end", rank, [one.order("late", reasoning) for one in runs], below=-0.9
        ),
        Statistic.within(
            "early, memory anchors point in one direction",
            "mean cosine of two different memory anchors",
            [anchors.off_diagonal(one.cosines("training", "early", memory)).mean() for one in runs],
            above=0.8, note=note,
        ),
        Statistic.within(
            "early, memory anchors have no numerical order",
            "modulus of the Spearman correlation of distance and cosine",
            [abs(one.order("early", memory)) for one in runs], below=0.3, note=note,
        ),
    )  # fmt: skip


def _of_theories(
    task: CompositeTask, laws: Mapping[str, np.ndarray], runs: Sequence[Embeddings]
) -> tuple[Statistic, ...]:
    both = np.array([*task.memory_anchors, *task.reasoning_anchors])
    law = anchors.off_diagonal(anchors.cosine_matrix(anchors.centred(np.concatenate(list(laws.values())))))
    trained = [anchors.off_diagonal(one.cosines("training", "early", both)) for one in runs]
    note = never_early(runs)
    return (
        Statistic.within(
            "the label laws explain the early embeddings",
            "correlation of the cosines of P^s - 1/V with those of the embeddings over all pairs of anchors",
            [np.corrcoef(law, found)[0, 1] for found in trained], above=0.9, note=note,
        ),
        *(
            Statistic.within(
                f"the softmax closure predicts the {moment} cosines",
                "largest difference over all pairs of anchors",
                [one.off(moment, both) for one in runs], below=0.1, note=note if moment == "early" else "",
            )
            for moment in MOMENTS
        ),
    )  # fmt: skip


def _draw(task: CompositeTask, laws: Mapping[str, np.ndarray], one: Embeddings, figure: Figure) -> None:
    figure.set_size_inches(7.2, 4.4)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
    above, below = halves
    both, n = np.array([*task.memory_anchors, *task.reasoning_anchors]), len(task.memory_anchors)
    top: list[Any] = list(above.subplots(1, 4))
    for ax, (side, moment) in zip(
        top, ((s, m) for m in MOMENTS for s in ("training", "theory")), strict=True
    ):
        title = f"{'softmax closure' if side == 'theory' else side}, $t$ = {one.t[MOMENTS.index(moment)]:.0f}"
        anchors.show_cosines(ax, one.cosines(side, moment, both), title, n)
    anchors.cosine_bar(above, top)
    left, middle, right = below.subplots(1, 3)
    for kind, colour in (("reasoning", "#0072B2"), ("memory", "#D55E00")):
        rows = anchors.centred(laws[kind])
        for i, row in enumerate(rows if kind == "reasoning" else rows[:1]):
            left.plot(row, color=colour, lw=0.8, label=f"{kind} anchors" if i == 0 else None)
    left.set(xlabel="label", ylabel=r"$P^s - 1/V$")
    left.legend()
    law = anchors.cosine_matrix(anchors.centred(np.concatenate([laws["memory"], laws["reasoning"]])))
    anchors.show_cosines(middle, law, r"cosines of $P^s - 1/V$", n)
    _by_distance(right, task, law[n:, n:], one)


def _by_distance(ax: Any, task: CompositeTask, law: np.ndarray, one: Embeddings) -> None:
    reasoning = np.array(task.reasoning_anchors)
    curves = {
        "exact law": (law, "-"),
        "training, early": (one.cosines("training", "early", reasoning), "o"),
        "training, late": (one.cosines("training", "late", reasoning), "s"),
        "softmax closure": (one.cosines("theory", "early", reasoning), "--"),
    }
    for name, (matrix, style) in curves.items():
        mean = [np.diagonal(matrix, k).mean() for k in range(len(matrix))]
        ax.plot(mean, style, mfc="none", ms=3.5, label=name)
    ax.set(xlabel="distance of two reasoning anchors", ylabel="mean cosine", ylim=(None, 1.05))
    ax.legend()
