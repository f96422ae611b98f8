"""Figure 8 of arXiv 2502.04375: what memory anchors' label laws alone teach, and how much a narrow law helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.crossings import first_crossing
from ...theory.data.dataset import Dataset
from ...theory.data.frequencies import label_entropy
from ...theory.models.decoder import Decoder
from ..training.decoder_network import DecoderNetwork
from .arguments import Asked, figure
from .parts.anchors import ratio
from .parts.curves import LEARNT, PAPER, Regime, dense_then_even, some_of
from .parts.laid_over import CLOSURES, Laid, laid_over, of_closure
from .parts.memory_panels import KNOWN, RANGES, WINDOW_COLOURS, WITHIN, Arrays, draw_memory, learnt, stacked
from .parts.memory_task import FIRST, N_RANGES, WIDTH, range_data, range_laws, window_data
from .result import FigureResult, Statistic, by_seed, listed

# Five times as long as what the other figures show: memory is learnt late.
LONG = replace(PAPER, steps=50_000, warmup=2500)
PAPER_RANGES = replace(LONG, keys=(110, 209), memory_anchors=(1, 20), reasoning_anchors=(21, 29))
# Keys that are no labels, so that few of them, and hence few labels to know, leave all ranges as they are.
SMALL_RANGES = LONG.small(
    3e-3,
    keys=(110, 129),
    memory_anchors=(1, 16),
    reasoning_anchors=(17, 20),
    length=5,
    pairs=20_000,
)
# 40 keys: windows of 5 to 33 labels are as narrow to them as the paper's of 5 to 41 to its 100, or nearly.
SMALL_WINDOWS = LONG.small(
    3e-3,
    keys=(21, 60),
    memory_anchors=(1, 8),
    reasoning_anchors=(9, 13),
    length=5,
    pairs=6000,
)
REGIMES = {"small": SMALL_WINDOWS, "paper": LONG}
RANGE_REGIMES = {"small": SMALL_RANGES, "paper": PAPER_RANGES}
GAMMA = 0.8
POINTS = 31
LAID = 0.15  # part of the run on ranges that closures are laid over
CLOSE = 0.1  # what is left of the way to a label law when it counts as learnt
NEARLY = f"the first step with {1.0 - CLOSE:.0%} of the way from log V to the entropy of its labels behind"
ENDS = ("memory 1", f"memory {N_RANGES}")
SAMPLE = 800  # sequences whose outputs are looked at
REDRAWN = 3  # trainings of the same start with other minibatches, against which an order is held

CAPTION = (
    f"gamma = {GAMMA}. Loss of four groups of memory anchors whose labels lie in 30 .. 29 + 20 i, with the entropies "
    "of their label laws (dotted); the early part, with what two closures predict, moved by the same AdamW from the "
    "same weights on other minibatches (black dashes: softmax, attention an average; grey dots: attention kept); "
    "probability within the range; accuracy; mean output of each group over its label law at the dashed line (median "
    "over seeds), where that probability is above 0.9 for all groups; and memory loss with labels uniform on the keys "
    "against labels within the sum of the anchors of the key (dotted: their label entropies; vertical: the step from "
    "which accuracy is above 0.3). Median over seeds and range."
)


@figure
def run(asked: Asked) -> FigureResult:
    """Train the decoder on memory groups with four label ranges, and on a memory task with narrow label laws."""
    regime, size, seeds = asked.pick(REGIMES), asked.size, asked.seeds
    ranges = RANGE_REGIMES[size]
    runs = [_runs(ranges, regime, seed, asked) for seed in seeds]
    arrays = by_seed(runs)
    arrays |= {name: arrays[name][0] for name in ("step", "step/window")}
    return FigureResult(
        "8",
        "Memory anchors: label ranges first, then single labels",
        CAPTION,
        regime.record(seeds, gamma=GAMMA, size=size, ranges=ranges.record(seeds)),
        _statistics(arrays),
        lambda figure: draw_memory(figure, arrays, POINTS),
        arrays,
    )


def _runs(ranges: Regime, regime: Regime, seed: int, asked: Asked) -> Arrays:
    """Curves of one seed."""
    asked.tell(f"figure 8: label ranges, seed {seed}, {ranges.steps} steps")
    data = range_data(ranges, seed)
    save_at = dense_then_even(round(LAID * ranges.steps), ranges.steps, POINTS)
    trained = ranges.train(data, GAMMA, seed, save_at, "weights", **asked.kept("ranges", seed))
    found = _in_range(trained, ranges.model(data), data)
    found["level"] = np.array([label_entropy(data, group) for group in RANGES])
    found |= laid_over(ranges, data, GAMMA, seed, save_at[:POINTS], RANGES, asked.state)
    for i in range(REDRAWN):
        again = ranges.redraw(i, data, GAMMA, seed, save_at[:POINTS], **asked.kept("redrawn", i, seed))
        found |= {f"theory/{_redrawn(i)}/{group}": again.measured[f"loss/{group}"] for group in RANGES}
    for kind, data in window_data(regime, seed).items():
        asked.tell(f"figure 8: {kind} labels, seed {seed}, {regime.steps} steps")
        trained = regime.train(data, GAMMA, seed, 2 * POINTS, **asked.kept(kind, seed))
        found |= {f"{name}/{kind}": trained.measured[f"{name}/memory"] for name in ("loss", "accuracy")}
        found[f"entropy/{kind}"] = np.array(label_entropy(data, "memory"))
        found["step/window"] = np.asarray(trained.steps)
    return found


def _in_range(trained: Trajectory, model: Decoder, data: Dataset) -> Arrays:
    """Losses, probability within the range and mean output of every memory group, time first."""
    found: Arrays = {"step": np.asarray(trained.steps)}
    shown = some_of(data, SAMPLE, 0)
    sequences = [torch.tensor(shown.sequences[shown.groups == group]) for group in RANGES]
    outputs = np.empty((len(trained), N_RANGES, data.d_vocab))
    for i in range(len(trained)):
        net = DecoderNetwork(model, trained.state(i), torch.float32)
        with torch.no_grad():
            outputs[i] = [torch.softmax(net(some), dim=1).mean(dim=0).numpy() for some in sequences]
    for j, group in enumerate(RANGES):
        inside = slice(FIRST, FIRST + WIDTH * (j + 1))
        found |= {
            f"loss/{group}": trained[f"loss/{group}"],
            f"accuracy/{j + 1}": trained[f"accuracy/{group}"],
        }
        found |= {f"inside/{j + 1}": outputs[:, j, inside].sum(axis=1), f"output/{j + 1}": outputs[:, j]}
    return found


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    theory = (row for closure in CLOSURES for row in _of_theory(arrays, closure))
    return (*_of_ranges(arrays), _of_labels(arrays), *_of_windows(arrays), *theory, _of_order(arrays))


def _redrawn(number: int) -> str:
    """Name of a redrawn training where closures have theirs."""
    return f"redrawn {number}"


def _laid(arrays: Arrays, side: str) -> tuple[Laid, Laid]:
    """Losses against the entropies of label laws, and against what is nearly that."""
    levels = arrays["level"]  # (n_seeds, groups)
    start = np.log(arrays["output/1"].shape[-1])
    known, laws = (
        Laid.of(arrays, side, RANGES, some, "", ENDS) for some in (levels, levels + CLOSE * (start - levels))
    )
    return known, laws


def _of_theory(arrays: Arrays, closure: str) -> tuple[Statistic, ...]:
    """Losses up to the first step at which a group knows more than its label law; times at which the law is learnt."""
    known, laws = _laid(arrays, closure)
    until = first_crossing(known.steps, known.trained, known.levels).min(axis=0)
    return of_closure(
        closure, laws, f"{NEARLY}, for the narrowest and the widest range",
        (until, "the first step with a group's loss below the entropy of its labels"),
    )  # fmt: skip


def _of_order(arrays: Arrays) -> Statistic:
    """Whether the start and the data decide the order that closures are asked for, or the minibatches."""
    again = [_laid(arrays, _redrawn(i))[1] for i in range(REDRAWN)]
    steps = [
        ", ".join("/".join(f"{x:.0f}" for x in some) for some in laws.crossings("predicted").T)
        for laws in again
    ]
    return Statistic.within(
        "The order of the groups is decided by start and data, not by minibatches.",
        f"Share of {REDRAWN} trainings from the same weights with other minibatches in which {NEARLY} comes in the "
        "same order for the narrowest and the widest range",
        np.mean([laws.same_order() for laws in again], axis=0),
        above=0.99,
        note=f"steps by seed: {'; '.join(steps)}",
    )


def _of_labels(arrays: Arrays) -> Statistic:
    highest = stacked(arrays, "accuracy").max(axis=2)  # (groups, n_seeds)
    return Statistic.within(
        "In the end single labels are known, in every group.",
        "Highest accuracy of the run, of the group in which it is lowest",
        highest.min(axis=0),
        above=KNOWN,
        note=f"Of the group with the widest range {listed(highest[-1])}, the narrowest {listed(highest[0])}.",
    )


def _of_ranges(arrays: Arrays) -> tuple[Statistic, ...]:
    points = learnt(arrays)
    ranges = np.where(points < 0, np.inf, arrays["step"][points])
    known = first_crossing(arrays["step"], stacked(arrays, "accuracy").max(axis=0), KNOWN, rising=True)
    far, laws = _of_outputs(arrays, points)
    when = f"when the probability within its range is first above {WITHIN} for every group"
    return (
        Statistic.within(
            "Early on, outputs stay within the label range of the anchor's group, while labels are not known.",
            f"First step at which a group's accuracy is above {KNOWN} (infinite if never) over the first at which the "
            f"probability within its range, mean over sequences, is above {WITHIN} for every group",
            ratio(known, ranges),
            above=1.0,
            note=f"Ranges at step {listed(ranges)}; probability within them at the end "
            f"{listed(stacked(arrays, 'inside')[:, :, -1].min(axis=0))}, highest accuracy at the end "
            f"{listed(stacked(arrays, 'accuracy')[:, :, -1].max(axis=0))}.",
        ),
        Statistic.within(
            "The loss is then that of the label laws.",
            f"Loss of a group over the entropy of its label law, {when}: largest distance from 1",
            far,
            below=0.1,
        ),
        Statistic.within(
            "The mean output of a group then follows its label law.",
            f"Total variation distance of mean output and label law over that from the nearest law of another group, "
            f"{when}: the largest of the groups",
            laws,
            below=1.0,
        ),
    )


def _of_outputs(arrays: Arrays, points: np.ndarray) -> np.ndarray:
    """Largest distances of loss and of mean output from theory at some saved points (2, n_seeds); nan at -1."""
    laws = range_laws(arrays["output/1"].shape[2])
    entropy = np.log(WIDTH * np.arange(1, N_RANGES + 1))
    found = np.full((2, len(points)), np.nan)
    for k, i in enumerate(points):
        if i >= 0:
            loss, output = stacked(arrays, "loss")[:, k, i], stacked(arrays, "output")[:, k, i]
            apart = 0.5 * np.abs(output[:, None] - laws).sum(axis=2)  # (groups, laws)
            other = (apart + np.where(np.eye(N_RANGES), np.inf, 0.0)).min(axis=1)
            found[:, k] = np.abs(loss / entropy - 1.0).max(), ratio(np.diag(apart), other).max()
    return found


def _of_windows(arrays: Arrays) -> tuple[Statistic, ...]:
    steps = arrays["step/window"]
    level = LEARNT * arrays["entropy/uniform"]
    known = [first_crossing(steps, arrays[f"accuracy/{k}"], KNOWN, rising=True) for k in WINDOW_COLOURS]
    fell = [first_crossing(steps, arrays[f"loss/{kind}"], level) for kind in WINDOW_COLOURS]
    claim = "Memory labels from {z - sum a .. z + sum a} are learnt much faster than uniform ones"
    return (
        Statistic.within(
            f"{claim}, by accuracy.",
            f"First step at which accuracy on memory is above {KNOWN} (infinite if never), uniform over windowed",
            ratio(*known),
            above=1.5,
            note=f"Steps {listed(known[1])} windowed, {listed(known[0])} uniform. Label laws alone give at most "
            "1 in 5, in the narrowest windows.",
        ),
        Statistic.within(
            f"{claim}, by loss.",
            f"First step with memory loss below {LEARNT:.0%} of the entropy of uniform labels, uniform over windowed",
            ratio(*fell),
            above=1.5,
            note=f"Steps {listed(fell[1])} windowed, {listed(fell[0])} uniform.",
        ),
    )
