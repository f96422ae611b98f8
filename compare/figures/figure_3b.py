"""Figure 3B: which group of the Emb-MLP is learnt first, at three sizes of initialisation, theory beside training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sim.integration.integrate import integrate
from ...theory.data.dataset import Dataset
from ...theory.data.tasks import CompositeTask
from ...theory.flows.flow import derive
from ...theory.models.emb_mlp import EmbMLP
from ..plots.escapes import PART
from ..plots.marks.palette import GROUP_COLOURS
from ..plots.panels import MARKERS
from ..training.train import train
from .arguments import Asked, figure
from .parts.anchors import GROUPS, escape, half_of_drop, paper_task, ratio
from .result import FigureResult, Statistic, by_seed, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMAS = (0.3, 0.5, 0.8)
RATE, SAVED = 0.5, 121
WITHIN = 0.15
MARKS = 24
QUARTER = f"flow time at which {PART:.0%} of the starting loss is gone"
HALF = "flow time at which a group's loss has lost half of its own drop from 0 to the end of the run"
# Flow times: some eight blow-up times of the leading order at gamma 0.8, so that reasoning is learnt by the end.
ENDS = {"small": 300.0, "paper": 1500.0}
WIDTHS = {"small": (100, 100), "paper": (200, 200)}
DTYPES = {"small": "float64", "paper": "float32"}  # of training; curves need no more
TASKS = {
    "small": partial(CompositeTask, range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6))),
    "paper": partial(paper_task, 3),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """Curves of one gamma and seed over flow time `t`: training, and the softmax closure.

    `left` is the flow time at which pre-activations left the range of the linearised activation.
    """

    t: np.ndarray
    training: Mapping[str, np.ndarray]
    theory: Mapping[str, np.ndarray]
    left: float


@figure
def run(asked: Asked) -> FigureResult:
    """Train and predict every gamma and seed.

    Parameters
    ----------
    asked : Asked
        20 keys, 5 + 5 anchors and widths of 100, or the paper's 100 keys and 10 + 10 anchors and widths of 200.
    """
    task, size, seeds = asked.pick(TASKS), asked.size, asked.seeds
    data = task().dataset()
    model = EmbMLP(data.d_vocab, *WIDTHS[size])
    pairs: dict[float, list[Pair]] = {gamma: [] for gamma in GAMMAS}
    for gamma in GAMMAS:
        for seed in seeds:
            asked.tell(f"figure 3b: gamma {gamma:g}, seed {seed} ...")
            pairs[gamma].append(_pair(model, data, gamma, seed, asked))
    return FigureResult(
        "3b",
        "Emb-MLP: losses and accuracies by group for three sizes of initialisation",
        "Columns are gammas. Median over seeds with their range: training as markers in a band, the softmax "
        "closure, integrated before any training, as a line in a lighter band (loss).",
        _settings(model, data, size, seeds),
        statistics(pairs),
        partial(_draw, pairs),
        _arrays(pairs),
    )


def _settings(model: EmbMLP, data: Dataset, size: str, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "model": dict(model.spec()), "sequences": len(data.labels), "gammas": GAMMAS, "seeds": list(seeds),
        "optimizer": "gd, full batch", "learning_rate": RATE, "t1": ENDS[size], "closure": "softmax",
        "dtype": DTYPES[size],
        "left open by the paper": "activation (tanh), hidden width, optimiser of the theory's counterpart (GD)",
    }  # fmt: skip


def _arrays(pairs: Mapping[float, Sequence[Pair]]) -> dict[str, np.ndarray]:
    """Curves "SIDE/GAMMA/NAME" (n_seeds, n_t), and their flow times "t" (n_t,)."""
    found = {"t": pairs[GAMMAS[0]][0].t}
    for gamma, some in pairs.items():
        for side in ("training", "theory"):
            curves = by_seed([getattr(pair, side) for pair in some])
            found |= {f"{side}/{gamma:g}/{name}": values for name, values in curves.items()}
    return found


def _pair(model: EmbMLP, data: Dataset, gamma: float, seed: int, asked: Asked) -> Pair:
    start, size, end = model.init(gamma, seed), asked.size, ENDS[asked.size]
    kept = asked.kept(gamma, seed)
    trained = train(
        model,
        data,
        start,
        learning_rate=RATE,
        steps=round(end / RATE),
        save_at=SAVED,
        dtype=DTYPES[size],
        **kept,
    )
    theory = integrate(derive(model, "softmax"), data, start, t1=end, save_at=trained.t)
    names = [f"{kind}/{group}" for kind in ("loss", "accuracy") for group in GROUPS]
    left = theory.left_range.get("pre-activations", float("inf"))
    ours, theirs = ({name: side[name] for name in names} for side in (theory, trained))
    return Pair(trained.t, theirs, ours, left)


def statistics(pairs: Mapping[float, Sequence[Pair]]) -> tuple[Statistic, ...]:
    """Decide the claims on the curves, gamma -> a pair per seed."""
    small, large = pairs[max(pairs)], pairs[min(pairs)]
    return (*_of_training(small, large), *_of_theory(small, large))


def _of_training(small: Sequence[Pair], large: Sequence[Pair]) -> tuple[Statistic, ...]:
    own = listed([_ratio(pair, "memory", "half") for pair in small])
    return (
        Statistic.within(
            "gamma 0.8: reasoning is learnt before memory",
            f"{QUARTER}, memory over reasoning-train, training",
            [_ratio(pair, "memory", "quarter") for pair in small],
            above=1.0,
            note=f"by half of each group's own drop the ratio is {own}: memory first falls to its labels' entropy",
        ),
        Statistic.within(
            "gamma 0.8: reasoning-test falls with reasoning-train",
            f"{QUARTER}, reasoning-test over reasoning-train",
            [_ratio(pair, "reasoning-test", "quarter") for pair in small],
            above=0.8,
            below=1.25,
        ),
        Statistic.within(
            "gamma 0.3: memory and reasoning-train fall together",
            f"{QUARTER}, memory over reasoning-train, training",
            [_ratio(pair, "memory", "quarter") for pair in large],
            above=0.5,
            below=2.0,
        ),
        Statistic.within(
            "gamma 0.3: reasoning-test is not learnt",
            "accuracy of reasoning-test over that of reasoning-train at the end",
            [float(ratio(*(p.training[f"accuracy/{g}"][-1] for g in GROUPS[:0:-1]))) for p in large],
            below=0.5,
        ),
    )


def _of_theory(small: Sequence[Pair], large: Sequence[Pair]) -> tuple[Statistic, ...]:
    left = listed([pair.left for pair in large])
    first = [
        Statistic.within(
            f"gamma 0.8: the softmax closure predicts which group falls first, by {name}",
            f"1 if theory and training name the same of memory and reasoning-train, by the {what}, otherwise 0",
            [_same_first(pair, how) for pair in small],
            above=0.0,
        )
        for how, name, what in (("half", "its own drop", HALF), ("quarter", "the starting loss", QUARTER))
    ]
    return (
        Statistic.within(
            "gamma 0.8: the softmax closure predicts when each group falls",
            f"{HALF}: largest relative error of theory over memory, reasoning-train and reasoning-test",
            map(_worst, small),
            below=WITHIN,
        ),
        *first,
        Statistic.within(
            "gamma 0.3: the theory does not apply",
            f"{HALF}: largest relative error of theory, as above",
            map(_worst, large),
            above=WITHIN,
            note="the closure says so before any training: its pre-activations leave the range where tanh is linear to "
            f"10 % at flow times {left}",
        ),
    )


def _time(pair: Pair, side: str, group: str, how: str) -> float:
    loss = getattr(pair, side)[f"loss/{group}"]
    return half_of_drop(pair.t, loss) if how == "half" else escape(pair.t, loss, PART)


def _ratio(pair: Pair, group: str, how: str) -> float:
    return float(ratio(*(_time(pair, "training", name, how) for name in (group, "reasoning-train"))))


def _worst(pair: Pair) -> float:
    """Largest relative error of theory's times of half the drop; infinite if one of them does not exist."""
    times = np.array([[_time(pair, side, g, "half") for g in GROUPS] for side in ("theory", "training")])
    exist = np.isfinite(times).all() and (times > 0.0).all()
    return float(np.abs(times[0] / times[1] - 1.0).max()) if exist else float("inf")


def _same_first(pair: Pair, how: str) -> bool:
    """Whether theory and training name the same group; a side on which neither falls names none."""
    times = np.array(
        [[_time(pair, side, g, how) for g in GROUPS[:2]] for side in ("theory", "training")]
    )  # (side, group)
    memory_first = times[:, 0] < times[:, 1]
    return bool(np.isfinite(times).any(axis=1).all() and memory_first[0] == memory_first[1])


def _draw(pairs: Mapping[float, Sequence[Pair]], figure: Figure) -> None:
    figure.set_size_inches(7.2, 4.4)
    axes: Any = figure.subplots(2, len(pairs), sharex=True, sharey="row")
    for column, (gamma, some) in zip(axes.T, pairs.items(), strict=True):
        for ax, kind in zip(column, ("loss", "accuracy"), strict=True):
            for group, marker in zip(GROUPS, MARKERS, strict=False):  # told apart without colour too
                _curves(ax, some, f"{kind}/{group}", GROUP_COLOURS[group], marker, theory=kind == "loss")
        column[0].set_title(rf"$\gamma$ = {gamma:g}")
        column[1].set_xlabel(r"flow time $t$ = learning rate $\times$ step")
    axes[0, 0].set_ylabel("loss (nats)")
    axes[1, 0].set_ylabel("accuracy")
    marks = [
        axes[0, 0].plot([], [], marker, color=GROUP_COLOURS[g], mfc="none", ms=3)[0]
        for g, marker in zip(GROUPS, MARKERS, strict=False)
    ]
    line = axes[0, 0].plot([], [], color="grey")[0]
    labels = [f"{group}, training" for group in GROUPS]
    figure.legend([*marks, line], [*labels, "softmax closure"], loc="outside upper center", ncols=4)


def _curves(ax: Any, some: Sequence[Pair], name: str, colour: str, marker: str, *, theory: bool) -> None:
    """Medians over seeds within their ranges: training as markers, theory as a line with a lighter band."""
    t = some[0].t
    few = slice(None, None, max(len(t) // MARKS, 1))
    trained = np.array([pair.training[name] for pair in some])  # (n_seeds, n_t)
    ax.fill_between(t, trained.min(axis=0), trained.max(axis=0), color=colour, alpha=0.25, lw=0)
    ax.plot(t[few], np.median(trained, axis=0)[few], marker, color=colour, mfc="none", ms=3, mew=0.8)
    if theory:
        predicted = np.array([pair.theory[name] for pair in some])
        ax.fill_between(t, predicted.min(axis=0), predicted.max(axis=0), color=colour, alpha=0.12, lw=0)
        ax.plot(t, np.median(predicted, axis=0), color=colour)
