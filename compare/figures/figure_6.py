"""Figure 6 of arXiv 2502.04375: the first attention is an average, and W_V turns to the reasoning anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...sim.forecast.stages import value_direction
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.crossings import first_reached
from ...theory.data.dataset import Dataset
from ...theory.models.decoder import Decoder
from ..training.decoder_network import DecoderNetwork
from .arguments import FigureState, Progress, pick, resumable, tell
from .parts.anchors import KINDS, direction_cosines, values_from_laws
from .parts.curves import GROUP_COLOURS, PAPER, band, label_entropy
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without LayerNorm, as in the paper's theory (Definition 2): it is what the predictions are about.
BARE = replace(PAPER, norm=None, warmup=2000, steps=20_000)
REGIMES = {
    "small": replace(
        BARE,
        pairs=20_000,
        d_model=128,
        d_head=64,
        d_mlp=256,
        steps=1200,
        warmup=100,
        learning_rate=5e-4,
        device="cpu",
    ),
    "paper": BARE,
}
GAMMA = 0.8
POINTS = 61
SAMPLE = 500  # sequences whose attention is looked at

CAPTION = (
    f"gamma = {GAMMA}, no LayerNorm. Attention of the first block at the start against the causal average; its "
    "distance from it over training; singular values of W_V; mean cosine of the anchors' embeddings with the top "
    "left singular vector of W_V (median over seeds, range), with the direction that the theory predicts (dotted), "
    "as the label laws alone predict it (dash-dotted), and |cosine| of the two directions (black). Dashed: the "
    "early step that the statistics are taken at (median over seeds), when reasoning-train loss falls below the "
    "entropy of its labels."
)

Arrays = dict[str, np.ndarray]
EARLY = "at the first saved step with reasoning-train loss below the entropy of its labels (early)"
COLOURS = {"reasoning-anchors": GROUP_COLOURS["reasoning-train"], "memory-anchors": GROUP_COLOURS["memory"]}


def run(
    size: str = "small",
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = None,
    state: FigureState | None = None,
) -> FigureResult:
    """Train the decoder from a small initialisation and look at the first block's attention and values.

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
    found: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        tell(progress, f"figure 6: gamma {GAMMA}, seed {seed}, {regime.steps} steps")
        data = regime.task(seed).sampled(regime.pairs)
        trained = regime.train(data, GAMMA, seed, POINTS, "weights", **resumable(state, seed))
        for name, values in _look(trained, regime.model(data), data).items():
            found.setdefault(name, []).append(values)
    arrays = {name: np.array(values) for name, values in found.items()}
    arrays["step"] = arrays["step"][0]
    return FigureResult(
        "6",
        "First attention and value weights of the full decoder",
        CAPTION,
        regime.record(seeds, gamma=GAMMA, size=size),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def _look(trained: Trajectory, model: Decoder, data: Dataset) -> Arrays:
    """Curves of one run, time first."""
    sequences = torch.tensor(data.sequences[:: -(-len(data) // SAMPLE)])
    average = np.tril(np.ones((data.n_ctx, data.n_ctx))) / np.arange(1, data.n_ctx + 1)[:, None]
    causal = average > 0
    rows: dict[str, list[Any]] = {}
    for i in range(len(trained)):
        weights = trained.state(i)
        net = DecoderNetwork(model, weights, torch.float32)
        attention = net.patterns(sequences)[0].mean(axis=1)  # (m, T, T), over heads
        gap = np.abs(attention - average)[:, causal]
        u, values, _ = np.linalg.svd(weights["blocks.0.W_V"])
        v = value_direction(model, data, weights)
        now = {"largest gap": gap.max(), "mean gap": gap.mean(), "singular values": values}
        now |= {"predicted alignment": abs(u[:, 0] @ v), "attention": attention.mean(axis=0)}
        for side, direction in (("training", u[:, 0]), ("theory", v)):
            now |= {
                f"{side}/{kind}": c for kind, c in direction_cosines(weights["W_E"], data, direction).items()
            }
        for name, value in now.items():
            rows.setdefault(name, []).append(value)
    found = {name: np.array(values) for name, values in rows.items()} | {"step": np.asarray(trained.steps)}
    return found | values_from_laws(data) | {"early": np.array(_early(trained["loss/reasoning-train"], data))}


def _early(loss: np.ndarray, data: Dataset) -> int:
    """Saved point at which a network first knows more of reasoning than the frequencies of its labels; -1 if never."""
    return int(first_reached(loss < label_entropy(data, "reasoning-train")))


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    return (*_of_attention(arrays), *_of_values(arrays))


def at_early(arrays: Arrays, name: str) -> np.ndarray:
    """Values of every seed at its early point (n_seeds, ...); nan where there is none."""
    values, early = arrays[name], arrays["early"]
    found = values[np.arange(len(early)), early].astype(float)
    found[early < 0] = np.nan
    return found


def _of_attention(arrays: Arrays) -> tuple[Statistic, ...]:
    return (
        Statistic.within(
            "At the start the first attention is the causal average (Lemma 1).",
            "At initialisation, nothing is trained: largest |A_ij - 1/i| over sequences and positions at step 0",
            arrays["largest gap"][:, 0],
            below=0.01,
        ),
        Statistic.within(
            "Early in training it still is, nearly.",
            f"Mean |A_ij - 1/i| over sequences and positions j <= i, {EARLY}",
            at_early(arrays, "mean gap"),
            below=0.05,
            note=_steps(arrays),
        ),
    )


def _of_values(arrays: Arrays) -> tuple[Statistic, ...]:
    first, second = at_early(arrays, "singular values")[:, :2].T
    reasoning, memory = (np.abs(at_early(arrays, f"training/{kind}")).mean(axis=1) for kind in KINDS)
    return (
        Statistic.within(
            "W_V of the first block has one dominant singular value.",
            "First over second singular value, early",
            first / second,
            above=2.0,
        ),
        Statistic.within(
            "Its top singular vector is aligned with the embeddings of reasoning anchors.",
            "Mean |cosine| with them, early",
            reasoning,
            above=0.5,
        ),
        Statistic.within(
            "It is nearly orthogonal to the embeddings of memory anchors.",
            "Mean |cosine| with memory anchors over that with reasoning anchors, early",
            memory / reasoning,
            below=0.5,
            note=_why(arrays),
        ),
        *_of_theory(arrays),
    )


def _of_theory(arrays: Arrays) -> tuple[Statistic, ...]:
    return (
        Statistic.within(
            "By theory memory anchors lie opposite to reasoning anchors along it, not across it.",
            "Mean cosine of memory anchors, early; its sign is that at which reasoning anchors' is positive",
            at_early(arrays, f"training/{KINDS[1]}").mean(axis=1),
            below=-0.5,
        ),
        Statistic.within(
            "The theory's value direction, top singular vector of W_E^T M, is the one that W_V takes.",
            "|cosine| between the two, early",
            at_early(arrays, "predicted alignment"),
            above=0.7,
        ),
    )


def _steps(arrays: Arrays) -> str:
    """Say when the early points are."""
    steps = [str(arrays["step"][i]) if i >= 0 else "never" for i in arrays["early"]]
    return f"Step {', '.join(steps)}."


def _why(arrays: Arrays) -> str:
    """Say what label laws alone predict."""

    def cosine(law: str, kind: str) -> str:
        return f"{np.median(arrays[f'laws/{law}/{kind}'].mean(axis=1)):+.2f}"

    about = {law: [cosine(law, kind) for kind in KINDS] for law in ("uniform", "mean")}
    return (
        "Label laws alone, before any training, predict mean cosines for reasoning and memory anchors of "
        f"{' and '.join(about['uniform'])} while outputs are uniform, and of {' and '.join(about['mean'])} once they "
        "are the mean of all labels: two kinds of anchors necessarily deviate from their common mean in opposite "
        f"directions; about the uniform law the cosine of their mean laws is {np.median(arrays['overlap']):+.2f}. "
        "Orthogonal they are only on the way from one to the other."
    )


def _draw(figure: Figure, arrays: Arrays) -> None:
    figure.set_size_inches(7.2, 4.6)
    axes: Any = figure.subplots(2, 2)
    steps = arrays["step"]
    _attention(axes[0, 0], arrays["attention"][:, 0].mean(axis=0))
    _spectrum(axes[1, 0], arrays)
    gaps, turn = axes[:, 1]
    for name, colour in (("largest gap", "#56B4E9"), ("mean gap", "#000000")):
        band(gaps, steps, arrays[name], colour, name.partition(" ")[0])
    gaps.set(ylabel=r"distance $|A_{ij} - 1/i|$", yscale="log", xlabel="training step")
    gaps.legend(loc="lower right")
    for kind in KINDS:
        short = kind.replace("-anchors", "")
        band(turn, steps, arrays[f"training/{kind}"].mean(axis=2), COLOURS[kind], f"{short} anchors")
        middle = np.median(arrays[f"theory/{kind}"].mean(axis=2), axis=0)
        turn.plot(steps, middle, color=COLOURS[kind], ls=(0, (1, 1)))
        turn.axhline(
            np.median(arrays[f"laws/mean/{kind}"].mean(axis=1)), color=COLOURS[kind], lw=0.8, ls="-."
        )
    band(turn, steps, arrays["predicted alignment"], "#000000", "theory with training")
    turn.plot([], [], color="#777777", ls=(0, (1, 1)), label="theory")
    turn.plot([], [], color="#777777", lw=0.8, ls="-.", label="label laws alone")
    turn.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    turn.set(xlabel="training step", ylabel="cosine", ylim=(-1.0, 1.9), yticks=np.linspace(-1, 1, 5))
    turn.legend(loc="upper right", ncols=2)
    reached = arrays["early"][arrays["early"] >= 0]
    if reached.size:
        for ax, top in ((gaps, 1.0), (turn, 0.69)):
            when = np.median(steps[reached])
            ax.axvline(when, ymax=top, color="#777777", lw=0.7, ls=(0, (3, 2)), zorder=0)


def _spectrum(ax: Any, arrays: Arrays) -> None:
    """Singular values of W_V at the start and at the early moment, median over seeds."""
    moments = [("step 0", "#777777", arrays["singular values"][:, 0])]
    if (arrays["early"] >= 0).any():
        moments.append(("early", "#0072B2", at_early(arrays, "singular values")))
    for label, colour, some in moments:
        index = np.arange(1, some.shape[1] + 1)
        ax.plot(index, np.nanmedian(some, axis=0), "o", mfc="none", ms=3.5, mec=colour, label=label)
    ax.set(xlabel="index", ylabel=r"singular values of $W_V$", ylim=(0, None))
    ax.legend(loc="upper right")


def _attention(ax: Any, attention: np.ndarray) -> None:
    """First attention at the start, rows by the query: lines per query over the average as marks."""
    n = len(attention)
    for row in range(n):
        ax.plot(np.arange(1, row + 2), np.full(row + 1, 1 / (row + 1)), color="#777777", lw=0.8)
        ax.plot(
            np.arange(1, row + 2), attention[row, : row + 1], "o", ms=3, mfc="none", mec="#0072B2", mew=0.8
        )
    ax.plot([], [], color="#777777", lw=0.8, label="average $1/i$")
    ax.plot([], [], "o", ms=3, mfc="none", mec="#0072B2", mew=0.8, label="attention at step 0")
    ax.set(xlabel="position $j$ looked at", ylabel="$A_{ij}$, queries $i$ = 1 .. " + str(n), ylim=(0, 1.08))
    ax.legend(loc="upper right")
