"""Figure 6 of arXiv 2502.04375: the first attention is an average, and W_V turns to the reasoning anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...sim.forecast.stages import value_direction
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.crossings import first_crossing, first_reached
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import build_inputs
from ...theory.models.decoder import Decoder
from ..training.decoder_network import DecoderNetwork
from ..training.networks import network
from .arguments import FigureState, Progress, pick, resumable, tell
from .parts.anchors import GROUPS, KINDS, cosine_matrix, direction_cosines, values_from_laws
from .parts.curves import GROUP_COLOURS, PAPER, band, dense_then_even, label_entropy
from .parts.laid_over import CLOSURES, Laid, laid_over, of_closure, theory_lines
from .result import FigureResult, Statistic, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EARLY_PART = replace(PAPER, steps=6000, warmup=500)  # of the paper's training: what the figure is about
REGIMES = {
    "small": EARLY_PART.narrowed(64, 1e-3, pairs=20_000, d_head=32, d_mlp=192, measured=500),
    "paper": EARLY_PART,
}
GAMMA = 0.8
POINTS = 31
SAMPLE = 500  # sequences whose attention is looked at
SEEN = 4000  # sequences whose outputs are
NEAR = 0.2  # how near the predicted crossing must be

CAPTION = (
    f"gamma = {GAMMA}. Attention of the first block at the start against the causal average, and its distance from it "
    "over training. Losses with the softmax closure (dashes) and the one that keeps attention (dots). Singular values "
    "of W_V. Mean cosine of the anchors' embeddings with the top left singular vector of W_V (median over seeds, "
    "range), as the label laws alone predict it (dash-dotted), and |cosine| of that vector with the theory's (black). "
    "The same, and the cosine of the two kinds' mean drives, against the Kullback-Leibler divergence of the mean "
    "output from the labels' marginal law, which falls as training goes on. Vertical lines: the early step, when "
    "reasoning-train loss falls below the entropy of its labels; the crossing of each seed."
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
    save_at = dense_then_even(regime.steps // 2, regime.steps, POINTS)
    found: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        tell(progress, f"figure 6: gamma {GAMMA}, seed {seed}, {regime.steps} steps")
        data = regime.task(seed).sampled(regime.pairs)
        trained = regime.train(data, GAMMA, seed, save_at, "weights", **resumable(state, seed))
        one = _look(trained, regime.model(data), data)
        one |= laid_over(regime, data, GAMMA, seed, save_at[:POINTS], GROUPS)
        closure = regime.predict(CLOSURES[0], data, GAMMA, seed, save_at[:POINTS], "weights")
        one |= {f"{name}/theory": values for name, values in drives(closure).items()}
        for name, values in one.items():
            found.setdefault(name, []).append(values)
    arrays = {name: np.array(values) for name, values in found.items()} | {"step": save_at}
    return FigureResult(
        "6",
        "First attention and value weights of the full decoder",
        CAPTION,
        regime.record(seeds, gamma=GAMMA, size=size, exponent=regime.exponent(GAMMA)),
        _statistics(arrays),
        lambda figure: _draw(figure, arrays),
        arrays,
    )


def drives(run: Trajectory) -> Arrays:
    """How the two kinds of anchors are pulled apart over a run, by the network that was moved.

    "divergence" (n_t,) is KL(marginal law of labels || mean output) in nats, "drive" (n_t,) the cosine of the kinds'
    mean drives, the sums over a kind's anchors of C^T (y - output): what moves their embeddings through later layers.
    """
    model, data = run.model_and_data()
    train = np.flatnonzero(~data.held_out)
    rows = train[:: -(-len(train) // SEEN)]
    sequences, labels = torch.tensor(data.sequences[rows]), np.eye(data.d_vocab)[data.labels[rows]]
    counts = build_inputs({"C_mean"}, data.sequences[rows], data.d_vocab)["C_mean"]
    kinds = np.array([counts[:, data.token_groups[kind]].sum(axis=1) for kind in KINDS])  # (kinds, rows)
    marginal = labels.mean(axis=0)
    seen = marginal > 0.0
    found: dict[str, list[float]] = {"divergence": [], "drive": []}
    for i in range(len(run)):
        with torch.no_grad():
            outputs = torch.softmax(network(model, run.state(i), torch.float32)(sequences), dim=1).numpy()
        mean = outputs.mean(axis=0)
        found["divergence"].append(float(marginal[seen] @ np.log(marginal[seen] / mean[seen])))
        found["drive"].append(float(cosine_matrix(kinds @ (labels - outputs))[0, 1]))
    return {name: np.array(values) for name, values in found.items()}


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
        now |= {f"training/{kind}": c for kind, c in direction_cosines(weights["W_E"], data, u[:, 0]).items()}
        for name, value in now.items():
            rows.setdefault(name, []).append(value)
    found = {name: np.array(values) for name, values in rows.items()}
    found |= {f"loss/{group}": trained.measured[f"loss/{group}"] for group in GROUPS}
    found |= {"label entropy": np.array([label_entropy(data, group) for group in GROUPS])}
    found |= values_from_laws(data) | drives(trained)
    return found | {"early": np.array(_early(found["loss/reasoning-train"], data))}


def _early(loss: np.ndarray, data: Dataset) -> int:
    """Saved point at which a network first knows more of reasoning than the frequencies of its labels; -1 if never."""
    return int(first_reached(loss < label_entropy(data, "reasoning-train")))


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    theory = (row for closure in CLOSURES for row in of_closure(closure, _laid(arrays, closure)))
    return (*_of_attention(arrays), *_of_values(arrays), *_of_crossing(arrays), *theory)


def _laid(arrays: Arrays, closure: str) -> Laid:
    levels = arrays["label entropy"][:, [0, 1, 1]]
    return Laid.of(arrays, closure, GROUPS, levels, "", GROUPS[:2])


def crossing(arrays: Arrays, side: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Divergences and saved points (n_seeds,) at which the mean drives of the kinds are first at right angles."""
    cosine, divergence = arrays[f"drive{side}"], arrays[f"divergence{side}"]
    return first_crossing(divergence, cosine, 0.0), first_reached(cosine <= 0.0)


def _of_crossing(arrays: Arrays) -> tuple[Statistic, ...]:
    (trained, points), (predicted, _) = crossing(arrays), crossing(arrays, "/theory")
    seeds = np.arange(len(points))
    along = [np.abs(arrays[f"training/{kind}"].mean(axis=2)) for kind in KINDS]  # (n_seeds, n_t)
    least = (along[1] / along[0])[:, 1:].min(axis=1)
    with np.errstate(invalid="ignore"):
        off = np.abs(predicted / trained - 1.0)
    at = np.where(points < 0, np.nan, along[1][seeds, points] / along[0][seeds, points])
    return (
        Statistic.within(
            "On the way the mean drives of the two kinds of anchors cross a right angle.",
            "Divergence (nats) of the mean output from the labels' law at which their cosine falls through zero "
            "(infinite if never), over that at the start",
            trained / arrays["divergence"][:, 0],
            above=0.0,
            below=1.0,
            note=f"At divergences {listed(trained)}, steps {listed(arrays['step'][points])}; cosine at the start "
            f"{listed(arrays['drive'][:, 0])}, least {listed(arrays['drive'].min(axis=1))}.",
        ),
        Statistic.within(
            f"The closure {CLOSURES[0]}, before any training, predicts where.",
            "Relative error of that divergence",
            off,
            below=NEAR,
            note=f"Predicted {listed(predicted)}.",
        ),
        Statistic.within(
            "There W_V's direction is nearly orthogonal to memory anchors.",
            "Mean cosine of memory anchors over that of reasoning anchors with it, moduli, at the first saved step "
            "behind the crossing",
            at,
            below=0.5,
            note=f"The least of all saved steps is {listed(least)}.",
        ),
    )


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
    figure.set_size_inches(10.5, 5.4)
    axes: Any = figure.subplots(2, 3)
    steps = arrays["step"]
    _attention(axes[0, 0], arrays["attention"][:, 0].mean(axis=0))
    _spectrum(axes[1, 0], arrays)
    (gaps, turn), (losses, angles) = axes[:, 1], axes[:, 2]
    for name, colour in (("largest gap", "#56B4E9"), ("mean gap", "#000000")):
        band(gaps, steps, arrays[name], colour, name.partition(" ")[0])
    gaps.set(ylabel=r"distance $|A_{ij} - 1/i|$", yscale="log", xlabel="training step")
    gaps.legend(loc="lower right")
    for group in GROUPS:
        band(losses, steps, arrays[f"loss/{group}"], GROUP_COLOURS[group], group)
    theory_lines(losses, arrays, GROUPS)
    losses.set(xlabel="training step", ylabel="loss (nats)")
    losses.legend(loc="lower left")
    _turn(turn, arrays)
    _angles(angles, arrays)
    reached = arrays["early"][arrays["early"] >= 0]
    if reached.size:
        for ax, top in ((gaps, 1.0), (losses, 1.0), (turn, 0.69)):
            when = np.median(steps[reached])
            ax.axvline(when, ymax=top, color="#777777", lw=0.7, ls=(0, (3, 2)), zorder=0)


def _turn(ax: Any, arrays: Arrays) -> None:
    """Cosines of anchors with W_V's direction over steps."""
    steps = arrays["step"]
    for kind in KINDS:
        short = kind.replace("-anchors", "")
        band(ax, steps, arrays[f"training/{kind}"].mean(axis=2), COLOURS[kind], f"{short} anchors")
        law = np.median(arrays[f"laws/mean/{kind}"].mean(axis=1))
        ax.axhline(law, color=COLOURS[kind], lw=0.8, ls="-.")
    band(ax, steps, arrays["predicted alignment"], "#000000", "theory with training")
    ax.plot([], [], color="#777777", lw=0.8, ls="-.", label="label laws alone")
    ax.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    ax.set(
        xlabel="training step",
        ylabel="cosine with $W_V$'s direction",
        ylim=(-1.05, 1.9),
        yticks=np.linspace(-1, 1, 5),
    )
    ax.legend(loc="upper right", ncols=2)


def _angles(ax: Any, arrays: Arrays) -> None:
    """The drives' cosine, and that of memory anchors with W_V's direction, against the divergence, a line a seed."""
    where = crossing(arrays)[0]
    for i in range(len(where)):
        first = i == 0
        ax.plot(
            arrays["divergence"][i], arrays["drive"][i], "o", ms=2.5, mfc="none", mec="#0072B2", mew=0.7,
            label="drives, training" if first else None,
        )  # fmt: skip
        ax.plot(
            arrays["divergence/theory"][i], arrays["drive/theory"][i], color="#000000", ls=(0, (4, 1.5)), lw=0.9,
            label="drives, softmax closure" if first else None,
        )  # fmt: skip
        ax.plot(
            arrays["divergence"][i], arrays[f"training/{KINDS[1]}"][i].mean(axis=1), color=COLOURS[KINDS[1]], lw=0.7,
            label="memory anchors with $W_V$" if first else None,
        )  # fmt: skip
        if np.isfinite(where[i]):
            ax.axvline(where[i], color="#0072B2", lw=0.5, ls=(0, (3, 2)), zorder=0)
    ax.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    ax.set(
        xlabel="KL(labels || mean output), nats",
        ylabel="cosine",
        ylim=(-1.05, 1.9),
        yticks=np.linspace(-1, 1, 5),
    )
    ax.invert_xaxis()
    ax.legend(loc="upper right")


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
