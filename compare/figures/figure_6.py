"""Figure 6 of arXiv 2502.04375: the first attention is an average, and W_V turns to the reasoning anchors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...theory.data.frequencies import label_entropy
from .arguments import Asked, figure
from .parts.anchors import GROUPS, KINDS, values_from_laws
from .parts.curves import PAPER, Regime, dense_then_even
from .parts.first_layer import BARE, WITH, Arrays, at_early, attention_of, crossing, drives, values_of
from .parts.first_layer_panels import draw_first_layer
from .parts.laid_over import CLOSURES, Laid, laid_over, of_closure
from .result import FigureResult, Statistic, by_seed, listed

EARLY_PART = replace(PAPER, steps=6000, warmup=500)  # of the paper's training: what the figure is about
REGIMES = {
    "small": EARLY_PART.small(1e-3, pairs=20_000),
    "paper": EARLY_PART,
}
GAMMA = 0.8
POINTS = 31
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

EARLY = "at the first saved step with reasoning-train loss below the entropy of its labels (early)"


@figure
def run(asked: Asked) -> FigureResult:
    """Train the decoder from a small initialisation and look at the first block's attention and values."""
    regime, size, seeds = asked.pick(REGIMES), asked.size, asked.seeds
    save_at = dense_then_even(regime.steps // 2, regime.steps, POINTS)
    runs = [_one_seed(regime, seed, save_at, asked) for seed in seeds]
    arrays = by_seed(runs) | {"step": save_at}
    return FigureResult(
        "6",
        "First attention and value weights of the full decoder",
        CAPTION,
        regime.record(seeds, gamma=GAMMA, size=size, exponent=regime.exponent(GAMMA)),
        _statistics(arrays),
        lambda figure: draw_first_layer(figure, arrays),
        arrays,
    )


def _one_seed(regime: Regime, seed: int, save_at: np.ndarray, asked: Asked) -> Arrays:
    """Curves of one seed, time first."""
    data = regime.task(seed).sampled(regime.pairs)
    found = values_from_laws(data)
    found |= {"label entropy": np.array([label_entropy(data, group) for group in GROUPS])}
    found |= laid_over(regime, data, GAMMA, seed, save_at[:POINTS], GROUPS, asked.state)
    for kind, some in (("", regime), (BARE, replace(regime, norm=None))):
        asked.tell(f"figure 6: gamma {GAMMA}, {WITH[kind]}, seed {seed}, {regime.steps} steps")
        named = [*(["bare"] if kind else []), seed]
        trained = some.train(data, GAMMA, seed, save_at, "weights", **asked.kept(*named))
        kept = asked.kept("theory", "weights", *named)
        closure = some.predict(CLOSURES[0], data, GAMMA, seed, save_at[:POINTS], "weights", **kept)
        one = attention_of(trained) | values_of(trained)
        one |= {f"{name}/theory": values for name, values in drives(closure).items()}
        found |= {f"{kind}{name}": values for name, values in one.items()}
    return found


def _statistics(arrays: Arrays) -> tuple[Statistic, ...]:
    theory = (row for closure in CLOSURES for row in of_closure(closure, _laid(arrays, closure)))
    about = (_of_attention, _of_values, _of_crossing)
    return (*(row for part in about for kind in WITH for row in part(arrays, kind)), *theory)


def _laid(arrays: Arrays, closure: str) -> Laid:
    levels = arrays["label entropy"][:, [0, 1, 1]]
    return Laid.of(arrays, closure, GROUPS, levels, "", GROUPS[:2])


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
    return (
        Statistic.within(
            f"{WITH[kind]}: W_V of the first block has one dominant singular value.",
            "First over second singular value, early",
            first / second,
            above=2.0,
            note=_steps(arrays, kind),
        ),
        *_of_direction(arrays, kind),
        Statistic.within(
            f"{WITH[kind]}: the theory's value direction, top singular vector of W_E^T M, is the one that W_V takes.",
            "|cosine| between the two, early",
            at_early(arrays, "predicted alignment", kind),
            above=0.7,
        ),
    )


def _of_direction(arrays: Arrays, kind: str) -> tuple[Statistic, ...]:
    """How the two kinds of anchors lie along the top singular vector of W_V."""
    signed = [at_early(arrays, f"training/{k}", kind).mean(axis=1) for k in KINDS]
    reasoning, memory = np.abs(signed)
    return (
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
            f"{listed(_least_ratio(arrays, kind))}. {_why(arrays)}",
        ),
        Statistic.within(
            f"{WITH[kind]}: by theory memory anchors lie opposite to reasoning anchors along it, not across it.",
            "Mean cosine of memory anchors, early; its sign is that at which reasoning anchors' is positive",
            signed[1],
            below=-0.5,
        ),
    )


def _least_ratio(arrays: Arrays, kind: str) -> np.ndarray:
    """Least ratio of memory's to reasoning's cosine over the steps at which W_V has a direction (n_seeds,)."""
    reasoning, memory = (np.abs(arrays[f"{kind}training/{k}"].mean(axis=2)) for k in KINDS)  # (n_seeds, n_t)
    return np.where(reasoning > TURNED, memory / reasoning, np.inf).min(axis=1)


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
