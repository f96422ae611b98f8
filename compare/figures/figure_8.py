"""Figure 8 of arXiv 2502.04375: what memory anchors' label laws alone teach, and how much a narrow law helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...sim.trajectory import Trajectory
from ...theory.dataset import Dataset
from ...theory.tasks import CompositeTask
from ..decoder import Decoder, DecoderNetwork
from ._anchors import first_time, ratio
from ._arguments import Progress, pick, tell
from ._curves import LEARNT, PAPER, SMALL, Regime, band, label_entropy
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST, WIDTH = 30, 20  # labels of memory group i: {30 .. 29 + 20 i}
N_RANGES = 4
RANGES = replace(
    SMALL, keys=(30, 109), memory_anchors=(1, 8), reasoning_anchors=(9, 11), pairs=20_000, steps=600
)
SMALL_RANGES, SMALL_WINDOWS = RANGES, replace(SMALL, steps=1000, learning_rate=2e-3)
PAPER_RANGES = replace(
    PAPER, keys=(30, 109), memory_anchors=(1, 20), reasoning_anchors=(21, 29), steps=20_000
)
REGIMES = {"small": SMALL_WINDOWS, "paper": PAPER}
RANGE_REGIMES = {"small": SMALL_RANGES, "paper": PAPER_RANGES}
GAMMA = 0.8
POINTS = 31
EARLY = 0.5  # of the first run
SAMPLE = 800  # sequences whose outputs are looked at
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#D55E00")
WINDOW_COLOURS = {"uniform": "#D55E00", "window": "#CC79A7"}

Arrays = dict[str, np.ndarray]
Labels = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # keys (n,), anchors (n, q), uniform (n,)


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train the decoder on memory groups with four label ranges, and on a memory task with narrow label laws.

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
    ranges = RANGE_REGIMES[size]
    found: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        tell(progress, f"figure 8: label ranges, seed {seed}, {ranges.steps} steps")
        data = range_data(ranges, seed)
        trained = ranges.train(data, GAMMA, seed, POINTS, keep="weights")
        runs = _in_range(trained, ranges.model(data), data)
        for kind, data in window_data(regime, seed).items():
            tell(progress, f"figure 8: {kind} labels, seed {seed}, {regime.steps} steps")
            trained = regime.train(data, GAMMA, seed, POINTS)
            runs |= {f"{name}/{kind}": trained.measured[f"{name}/memory"] for name in ("loss", "accuracy")}
            runs |= {
                "step/window": np.asarray(trained.steps),
                f"entropy/{kind}": np.array(label_entropy(data, "memory")),
            }
        for name, values in runs.items():
            found.setdefault(name, []).append(values)
    arrays = {name: np.array(values) for name, values in found.items()}
    arrays |= {name: arrays[name][0] for name in ("step", "step/window")}
    arrays["early"] = np.array(np.argmin(np.abs(arrays["step"] - EARLY * ranges.steps)))
    return FigureResult(
        "8",
        "Memory anchors: label ranges first, then single labels",
        f"gamma = {GAMMA}. Loss of four groups of memory anchors whose labels lie in 30 .. 29 + 20 i, with the "
        "entropies of their label laws (dotted); probability within the range; mean output of each group at the "
        "dashed line over its label law; and a memory task with labels uniform on the keys against one with labels "
        "within the sum of the anchors of the key (dotted: three quarters of their label entropies).",
        regime.record(seeds, gamma=GAMMA, early=EARLY, size=size, ranges=ranges.record(seeds)),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def memory_parts(task: CompositeTask, data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of memory sequences (m,), their keys (m,) and their anchors (m, q)."""
    rows = np.flatnonzero(data.groups == "memory")
    sequences = data.sequences[rows]
    is_anchor = np.isin(sequences, task.memory_anchors)
    anchors = sequences[is_anchor].reshape(len(rows), task.n_anchors)
    return rows, sequences[np.arange(len(rows)), is_anchor.argmax(axis=1) - 1], anchors


def drawn_labels(keys: np.ndarray, anchors: np.ndarray, seed: int, law: Labels) -> np.ndarray:
    """One draw per distinct (key, anchors), made by `law` of a uniform number."""
    tuples = np.column_stack([keys, anchors])
    distinct, which = np.unique(tuples, axis=0, return_inverse=True)
    uniform = np.random.default_rng([seed, 8]).random(len(distinct))
    return law(keys, anchors, uniform[which.ravel()])


def range_data(regime: Regime, seed: int) -> Dataset:
    """Memory only, anchors in four groups: labels of group i uniform on 30 .. 29 + 20 i."""
    task = regime.task(seed)
    data = task.sampled(regime.pairs)
    rows, keys, anchors = memory_parts(task, data)
    each = len(task.memory_anchors) // N_RANGES
    group = (anchors - task.memory_anchors[0]) // each
    pure = (group == group[:, :1]).all(axis=1)
    rows, keys, anchors, group = rows[pure], keys[pure], anchors[pure], group[pure, 0]
    sizes = WIDTH * (1 + (anchors[:, 0] - task.memory_anchors[0]) // each)
    labels = drawn_labels(keys, anchors, seed, lambda _k, _a, u: FIRST + (u * sizes).astype(np.int64))
    names = np.array([f"memory {i + 1}" for i in range(N_RANGES)])[group]
    return Dataset(data.sequences[rows], labels, data.d_vocab, data.weights[rows], names)


def window_data(regime: Regime, seed: int) -> dict[str, Dataset]:
    """The composite task as it is, and with memory labels drawn from {z - sum a .. z + sum a}."""
    task = regime.task(seed)
    data = task.sampled(regime.pairs)
    rows, keys, anchors = memory_parts(task, data)
    labels = data.labels.copy()

    def window(z: np.ndarray, a: np.ndarray, u: np.ndarray) -> np.ndarray:
        half = a.sum(axis=1)
        return z - half + (u * (2 * half + 1)).astype(np.int64)

    labels[rows] = drawn_labels(keys, anchors, seed, window)
    return {
        "uniform": data,
        "window": Dataset(
            data.sequences, labels, data.d_vocab, data.weights, data.groups, data.held_out, data.token_groups
        ),
    }


def _in_range(trained: Trajectory, model: Decoder, data: Dataset) -> Arrays:
    """Losses, probability within the range and mean output of every memory group, time first."""
    found: Arrays = {"step": np.asarray(trained.steps)}
    groups = [f"memory {i + 1}" for i in range(N_RANGES)]
    outputs = np.empty((len(trained), N_RANGES, data.d_vocab))
    for i in range(len(trained)):
        net = DecoderNetwork(model, trained.state(i))
        for j, group in enumerate(groups):
            sequences = torch.tensor(data.sequences[data.groups == group][:SAMPLE])
            with torch.no_grad():
                outputs[i, j] = torch.softmax(net(sequences), dim=1).mean(dim=0).numpy()
    for j, group in enumerate(groups):
        inside = slice(FIRST, FIRST + WIDTH * (j + 1))
        law = np.bincount(data.labels[data.groups == group], minlength=data.d_vocab)
        found |= {
            f"loss/{j + 1}": trained[f"loss/{group}"],
            f"accuracy/{j + 1}": trained[f"accuracy/{group}"],
        }
        found |= {f"inside/{j + 1}": outputs[:, j, inside].sum(axis=1), f"output/{j + 1}": outputs[:, j]}
        found |= {f"law/{j + 1}": law / law.sum()}
    return found


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    return (*_of_ranges(arrays), _of_windows(arrays))


def _of_ranges(arrays: Arrays) -> tuple[Statistic, ...]:
    i = int(arrays["early"])
    when = f"at step {arrays['step'][i]}"
    return (
        Statistic.within(
            "Early on, outputs stay within the label range of the anchor's group.",
            f"Probability within the range {when}, mean over sequences, the least of groups 1 to 3 (the fourth holds "
            "all labels)",
            _least_inside(arrays, i),
            above=0.9,
            note=f"At the end of the run it is {np.median(_least_inside(arrays, -1)):.2f} (median over seeds).",
        ),
        Statistic.within(
            "The labels themselves are not known by then.",
            f"Highest accuracy of the four groups {when}",
            np.max([arrays[f"accuracy/{j}"][:, i] for j in range(1, N_RANGES + 1)], axis=0),
            below=0.3,
        ),
    )


def _of_windows(arrays: Arrays) -> Statistic:
    uniform, window = (
        [
            first_time(arrays["step/window"], c, LEARNT * e)
            for c, e in zip(arrays[f"loss/{kind}"], arrays[f"entropy/{kind}"], strict=True)
        ]
        for kind in WINDOW_COLOURS
    )
    return Statistic.within(
        "Memory labels from {z - sum a .. z + sum a} are learnt much faster than uniform ones.",
        "First step with memory loss below three quarters of its label entropy (infinite if never), uniform over "
        "windowed",
        ratio(uniform, window),
        above=1.5,
        note="Depends on how narrow the windows are: with anchors 1 to 5 they hold 5 to 21 labels against 20 keys, "
        "with the paper's 5 to 41 against 100.",
    )


def _least_inside(arrays: Arrays, i: int) -> np.ndarray:
    """Probability within the range at saved point `i`, the least of groups 1 to 3 (n_seeds,)."""
    return np.min([arrays[f"inside/{j}"][:, i] for j in range(1, N_RANGES)], axis=0)


def _draw(figure: Figure, arrays: Arrays) -> None:
    figure.set_size_inches(7.2, 5.0)
    axes: Any = figure.subplots(2, 2)
    losses, inside, outputs, windows = axes.ravel()
    steps, i = arrays["step"], int(arrays["early"])
    for j, colour in enumerate(COLOURS, start=1):
        label = f"{FIRST} .. {FIRST - 1 + WIDTH * j}"
        band(losses, steps, arrays[f"loss/{j}"], colour, label)
        losses.axhline(np.log(WIDTH * j), color=colour, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        band(inside, steps, arrays[f"inside/{j}"], colour, label)
        tokens = np.arange(arrays[f"law/{j}"].shape[1])
        outputs.plot(
            tokens, arrays[f"output/{j}"][:, i].mean(axis=0), "o", ms=2, mfc="none", mec=colour, mew=0.6
        )
        law = np.where((tokens >= FIRST) & (tokens < FIRST + WIDTH * j), 1 / (WIDTH * j), 0.0)
        outputs.step(tokens, law, color=colour, lw=0.9, where="mid")
    losses.set(xlabel="training step", ylabel="loss (nats)")
    inside.legend(title="labels", loc="lower right")
    inside.set(xlabel="training step", ylabel="probability within the range", ylim=(0, 1.03))
    outputs.set(xlabel="label", ylabel=f"mean output at step {steps[i]}")
    outputs.plot([], [], color="#777777", lw=0.9, label="label law (theory)")
    outputs.plot([], [], "o", ms=2, mfc="none", mec="#777777", mew=0.6, label="training")
    outputs.legend(loc="upper right")
    for kind, colour in WINDOW_COLOURS.items():
        band(windows, arrays["step/window"], arrays[f"loss/{kind}"], colour, f"{kind} labels")
        learnt = LEARNT * float(arrays[f"entropy/{kind}"].mean())
        windows.axhline(learnt, color=colour, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
    windows.set(xlabel="training step", ylabel="memory loss (nats)", ylim=(0, None))
    windows.legend(loc="lower left")
    for ax in (losses, inside):
        ax.axvline(steps[i], color="#777777", lw=0.7, ls=(0, (3, 2)), zorder=0)
