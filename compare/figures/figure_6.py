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
TURNED = 0.3  # mean cosine of reasoning anchors above which W_V has a direction to speak of
NEAR = 0.2  # how near the predicted crossing must be

CAPTION = (
    f"gamma = {GAMMA}. Attention of the first block at the start against the causal average, and its distance from it "
    "over training. Losses with the softmax closure (dashes) and the one that keeps attention (dots). Singular values "
    "of W_V, with and without LayerNorm. Mean cosine of the anchors' embeddings with the top left singular vector of "
    "W_V (median over seeds, range; without LayerNorm dotted; as the label laws alone predict it dash-dotted). Cosine "
    "of the two kinds' mean drives against the Kullback-Leibler divergence of the mean output from the labels' "
    "marginal law, which falls as training goes on, up to the early step: training, and the softmax closure before it. "
    "Vertical: the early step, when reasoning-train loss falls below the entropy of its labels; the crossing of each "
    "seed."
)

Arrays = dict[str, np.ndarray]
BARE = "no norm/"  # begins the names of what was measured without LayerNorm, as Definition 2 has it
WITH = {"": "with LayerNorm", BARE: "without LayerNorm"}
EARLY = "at the first saved step with reasoning-train loss below the entropy of its labels (early)"
DRIVES = {"": "#0072B2", BARE: "#D55E00"}
DOTS = (0, (1, 1))
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
        one = _attention_of(trained) | _values_of(trained) | values_from_laws(data)
        one |= {"label entropy": np.array([label_entropy(data, group) for group in GROUPS])}
        one |= laid_over(regime, data, GAMMA, seed, save_at[:POINTS], GROUPS)
        closure = regime.predict(CLOSURES[0], data, GAMMA, seed, save_at[:POINTS], "weights")
        one |= {f"{name}/theory": values for name, values in drives(closure).items()}
        tell(progress, f"figure 6: without LayerNorm, seed {seed}")
        bare = replace(regime, norm=None)
        trained = bare.train(data, GAMMA, seed, save_at, "weights", **resumable(state, "bare", seed))
        found_bare = _attention_of(trained) | _values_of(trained)
        one |= {f"{BARE}{name}": values for name, values in found_bare.items() if name != "attention"}
        closure = bare.predict(CLOSURES[0], data, GAMMA, seed, save_at[:POINTS], "weights")
        one |= {f"{BARE}{name}/theory": values for name, values in drives(closure).items()}
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
    weights = data.weights[rows] / data.weights[rows].sum()
    kinds = weights * np.array(
        [counts[:, data.token_groups[kind]].sum(axis=1) for kind in KINDS]
    )  # (kinds, rows)
    marginal = weights @ labels
    seen = marginal > 0.0
    found: dict[str, list[float]] = {"divergence": [], "drive": []}
    for i in range(len(run)):
        with torch.no_grad():
            outputs = torch.softmax(network(model, run.state(i), torch.float32)(sequences), dim=1).numpy()
        mean = weights @ outputs
        found["divergence"].append(float(marginal[seen] @ np.log(marginal[seen] / mean[seen])))
        found["drive"].append(float(cosine_matrix(kinds @ (labels - outputs))[0, 1]))
    return {name: np.array(values) for name, values in found.items()}


def _attention_of(trained: Trajectory) -> Arrays:
    """The first attention of one run and its distance from the causal average, time first."""
    model, data = trained.model_and_data()
    sequences = torch.tensor(data.sequences[:: -(-len(data) // SAMPLE)])
    average = np.tril(np.ones((data.n_ctx, data.n_ctx))) / np.arange(1, data.n_ctx + 1)[:, None]
    rows: dict[str, list[Any]] = {"largest gap": [], "mean gap": [], "attention": []}
    for i in range(len(trained)):
        net: Any = network(model, trained.state(i), torch.float32)
        attention = net.patterns(sequences)[0].mean(axis=1)  # (m, T, T), over heads
        gap = np.abs(attention - average)[:, average > 0]
        for name, value in zip(rows, (gap.max(), gap.mean(), attention.mean(axis=0)), strict=True):
            rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()}


def _values_of(trained: Trajectory) -> Arrays:
    """W_V of one run, anchors along its direction, and losses, time first."""
    model, data = trained.model_and_data()
    rows: dict[str, list[Any]] = {}
    for i in range(len(trained)):
        weights = trained.state(i)
        u, values, _ = np.linalg.svd(weights["blocks.0.W_V"])
        now = {"singular values": values}
        now |= {"predicted alignment": abs(u[:, 0] @ value_direction(model, data, weights))}
        now |= {f"training/{kind}": c for kind, c in direction_cosines(weights["W_E"], data, u[:, 0]).items()}
        for name, value in now.items():
            rows.setdefault(name, []).append(value)
    found = {name: np.array(values) for name, values in rows.items()}
    found |= {f"loss/{group}": trained.measured[f"loss/{group}"] for group in GROUPS}
    return found | drives(trained) | {"early": np.array(_early(found["loss/reasoning-train"], data))}


def _early(loss: np.ndarray, data: Dataset) -> int:
    """Saved point at which a network first knows more of reasoning than the frequencies of its labels; -1 if never."""
    return int(first_reached(loss < label_entropy(data, "reasoning-train")))


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    theory = (row for closure in CLOSURES for row in of_closure(closure, _laid(arrays, closure)))
    about = (_of_attention, _of_values, _of_crossing)
    return (*(row for part in about for kind in WITH for row in part(arrays, kind)), *theory)


def _laid(arrays: Arrays, closure: str) -> Laid:
    levels = arrays["label entropy"][:, [0, 1, 1]]
    return Laid.of(arrays, closure, GROUPS, levels, "", GROUPS[:2])


def crossing(arrays: Arrays, kind: str, side: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Divergences and saved points (n_seeds,) at which the mean drives of the kinds are first at right angles."""
    cosine, divergence = arrays[f"{kind}drive{side}"], arrays[f"{kind}divergence{side}"]
    return first_crossing(divergence, cosine, 0.0), first_reached(cosine <= 0.0)


def _of_crossing(arrays: Arrays, kind: str) -> tuple[Statistic, ...]:
    (trained, points), (predicted, _) = crossing(arrays, kind), crossing(arrays, kind, "/theory")
    divergence, cosine = arrays[f"{kind}divergence"], arrays[f"{kind}drive"]
    with np.errstate(invalid="ignore"):
        off = np.abs(predicted / trained - 1.0)
    return (
        Statistic.within(
            f"{WITH[kind]}: on the way the mean drives of the two kinds of anchors cross a right angle.",
            "Divergence of the mean output from the labels' law at which their cosine falls through zero (infinite if "
            "never), over that at the start",
            trained / divergence[:, 0],
            below=1.0,
            note=f"At divergences {listed(trained)} nats, steps {listed(arrays['step'][points])}; cosine at the start "
            f"{listed(cosine[:, 0])}, least {listed(cosine.min(axis=1))}.",
        ),
        Statistic.within(
            f"{WITH[kind]}: the closure {CLOSURES[0]}, before any training, predicts where.",
            "Relative error of that divergence",
            off,
            below=NEAR,
            note=f"Predicted {listed(predicted)} nats.",
        ),
    )


def at_early(arrays: Arrays, name: str, kind: str = "") -> np.ndarray:
    """Values of every seed at its early point (n_seeds, ...); nan where there is none."""
    values, early = arrays[f"{kind}{name}"], arrays[f"{kind}early"]
    found = values[np.arange(len(early)), early].astype(float)
    found[early < 0] = np.nan
    return found


def _of_attention(arrays: Arrays, kind: str) -> tuple[Statistic, ...]:
    return (
        Statistic.within(
            f"{WITH[kind]}: at the start the first attention is the causal average (Lemma 1).",
            "At initialisation, nothing is trained: largest |A_ij - 1/i| over sequences and positions at step 0",
            arrays[f"{kind}largest gap"][:, 0],
            below=0.01,
            note=f"The mean over positions j <= i is {listed(arrays[f'{kind}mean gap'][:, 0])}.",
        ),
        Statistic.within(
            f"{WITH[kind]}: early in training it still is, nearly.",
            f"Mean |A_ij - 1/i| over sequences and positions j <= i, {EARLY}",
            at_early(arrays, "mean gap", kind),
            below=0.05,
            note=_steps(arrays, kind),
        ),
    )


def _of_values(arrays: Arrays, kind: str) -> tuple[Statistic, ...]:
    first, second = at_early(arrays, "singular values", kind)[:, :2].T
    means = [at_early(arrays, f"training/{k}", kind).mean(axis=1) for k in KINDS]
    reasoning, memory = np.abs(means)
    along = [np.abs(arrays[f"{kind}training/{k}"].mean(axis=2)) for k in KINDS]  # (n_seeds, n_t)
    turned = along[0] > TURNED
    least = np.where(turned, along[1] / along[0], np.inf).min(axis=1)
    return (
        Statistic.within(
            f"{WITH[kind]}: W_V of the first block has one dominant singular value.",
            "First over second singular value, early",
            first / second,
            above=2.0,
            note=_steps(arrays, kind),
        ),
        Statistic.within(
            f"{WITH[kind]}: its top singular vector is aligned with the embeddings of reasoning anchors.",
            "Modulus of the mean cosine with them, early",
            reasoning,
            above=0.5,
        ),
        Statistic.within(
            f"{WITH[kind]}: it is nearly orthogonal to the embeddings of memory anchors.",
            "Mean cosine of memory anchors over that of reasoning anchors, moduli, early",
            memory / reasoning,
            below=0.5,
            note=f"The least ratio at any saved step with a cosine of reasoning anchors above {TURNED:g} is "
            f"{listed(least)}. {_why(arrays)}",
        ),
        Statistic.within(
            f"{WITH[kind]}: by theory memory anchors lie opposite to reasoning anchors along it, not across it.",
            "Mean cosine of memory anchors, early; its sign is that at which reasoning anchors' is positive",
            means[1],
            below=-0.5,
        ),
        Statistic.within(
            f"{WITH[kind]}: the theory's value direction, top singular vector of W_E^T M, is the one that W_V takes.",
            "|cosine| between the two, early",
            at_early(arrays, "predicted alignment", kind),
            above=0.7,
        ),
    )


def _steps(arrays: Arrays, kind: str) -> str:
    """Say when the early points are."""
    steps = [str(arrays["step"][i]) if i >= 0 else "never" for i in arrays[f"{kind}early"]]
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
    bottom = 0.6 * min(arrays[f"loss/{group}"].min() for group in GROUPS)  # room for the legend
    losses.set(xlabel="training step", ylabel="loss (nats)", ylim=(bottom, None))
    losses.legend(loc="lower left")
    _turn(turn, arrays)
    _angles(angles, arrays)
    reached = arrays["early"][arrays["early"] >= 0]
    if reached.size:
        for ax, top in ((gaps, 1.0), (losses, 1.0), (turn, 0.69)):
            when = np.median(steps[reached])
            ax.axvline(when, ymax=top, color="#777777", lw=0.7, ls=(0, (3, 2)), zorder=0)


def _turn(ax: Any, arrays: Arrays) -> None:
    """Cosines of anchors with W_V's direction over steps; without LayerNorm dotted."""
    steps = arrays["step"]
    for kind in KINDS:
        short = kind.replace("-anchors", "")
        band(ax, steps, arrays[f"training/{kind}"].mean(axis=2), COLOURS[kind], f"{short} anchors")
        bare = np.median(arrays[f"{BARE}training/{kind}"].mean(axis=2), axis=0)
        ax.plot(steps, bare, color=COLOURS[kind], ls=DOTS)
        law = np.median(arrays[f"laws/mean/{kind}"].mean(axis=1))
        ax.axhline(law, color=COLOURS[kind], lw=0.8, ls="-.")
    ax.plot([], [], color="#777777", ls=DOTS, label="no LayerNorm")
    ax.plot([], [], color="#777777", lw=0.8, ls="-.", label="label laws")
    ax.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    ax.set(
        xlabel="training step", ylabel="cosine with $W_V$", ylim=(-1.05, 1.9), yticks=np.linspace(-1, 1, 5)
    )
    ax.legend(loc="upper right", ncols=2, fontsize=6)


def _angles(ax: Any, arrays: Arrays) -> None:
    """Cosine of the mean drives against the divergence, a line a seed, up to the early step."""
    for kind, colour in DRIVES.items():
        where = crossing(arrays, kind)[0]
        for i, early in enumerate(arrays[f"{kind}early"]):
            part = slice(None, early + 1 if early >= 0 else None)
            x, y = (arrays[f"{kind}{name}"][i, part] for name in ("divergence", "drive"))
            ax.plot(
                x,
                y,
                "o",
                ms=2.5,
                mfc="none",
                mec=colour,
                mew=0.7,
                label=None if i else f"training, {WITH[kind]}",
            )
            x, y = (arrays[f"{kind}{name}/theory"][i, part] for name in ("divergence", "drive"))
            ax.plot(x, y, color=colour, ls=(0, (4, 1.5)), lw=0.9, label=None if i else "softmax closure")
            if np.isfinite(where[i]):
                ax.axvline(where[i], color=colour, lw=0.5, ls=(0, (3, 2)), zorder=0)
    ax.axhline(0.0, color="#777777", lw=0.6, zorder=0)
    ax.set(
        xlabel="KL(labels || mean output), nats",
        ylabel="cosine of mean drives",
        xscale="log",
        ylim=(-1.0, 1.0),
    )
    ax.set_xticks([0.3, 0.1, 0.03], ["0.3", "0.1", "0.03"])
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(loc="upper right", fontsize=6)


def _spectrum(ax: Any, arrays: Arrays) -> None:
    """Singular values of W_V at the start and at the early moment, median over seeds."""
    moments = [("step 0", "#777777", arrays["singular values"][:, 0])]
    for kind, colour in DRIVES.items():
        if (arrays[f"{kind}early"] >= 0).any():
            moments.append((f"early, {WITH[kind]}", colour, at_early(arrays, "singular values", kind)))
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
