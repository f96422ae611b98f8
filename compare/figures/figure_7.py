"""Figure 7 of arXiv 2502.04375: how far training favours reasoning over narrative text, by initialisation.

The paper trains on PrOntoQA and TinyStories; here the two corpora are `reasoning_corpus` and `story_corpus`, mixed in
equal weight, which needs no download. Open in the paper's main text, and chosen here: windows of `n_ctx` words with
the loss at the last one, widths, AdamW's rate and decay, and the time at which biases are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...sim.trajectory import Trajectory
from ...theory.corpora import reasoning_corpus, story_corpus
from ...theory.dataset import Dataset
from ...theory.model import Model
from ...theory.models import OneLayerTransformer
from ...theory.similarity import cosine_matrix, signature_similarity
from ...theory.text import Lexicon
from ..phase import band
from ..similarity import off_diagonal
from ..train import train
from ._arguments import Progress, pick, tell
from .result import FigureResult, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CORPORA = ("reasoning", "narrative")
GAMMAS = (0.3, 0.5, 0.65, 0.8)
SMALLEST = len(GAMMAS) - 1
COLOURS = ("tab:red", "tab:purple", "tab:cyan", "tab:blue")


@dataclass(frozen=True)
class Settings:
    """What a size stands for; `documents` and `windows` per corpus."""

    documents: int
    windows: int
    n_ctx: int
    d_model: int
    steps: int
    saved: int
    learning_rate: float = 1e-3
    batch_size: int = 100
    weight_decay: float = 0.01


SIZES = {
    "small": Settings(documents=2000, windows=6000, n_ctx=8, d_model=48, steps=1500, saved=21),
    "paper": Settings(documents=10_000, windows=100_000, n_ctx=16, d_model=200, steps=20_000, saved=41),
}


def run(size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None) -> FigureResult:
    """Train on the mixture at every gamma and seed.

    Parameters
    ----------
    size : {"small", "paper"}
        "small" takes about five minutes with three seeds on two cores.
    seeds : sequence of int
        Of the initial weights and the minibatches; the corpora are the same for all.
    progress : callable, optional
        Told about every run.

    Returns
    -------
    FigureResult

    Raises
    ------
    ValueError
        If `size` is unknown or `seeds` are not distinct non-negative integers, one at least.
    """
    settings, seeds = pick(SIZES, size, seeds)
    data = mixture(settings)
    model = choose_model(data, settings)
    measured = []
    for gamma in GAMMAS:
        for seed in seeds:
            tell(progress, f"figure 7: gamma {gamma:g}, seed {seed}")
            measured.append(_measure(_train(model, data, settings, gamma, seed), data))
    # (gamma, seed, time) for every curve
    arrays = {
        name: np.stack([m[name] for m in measured]).reshape(len(GAMMAS), len(seeds), -1)
        for name in measured[0]
    }
    arrays["bias"] = relative_bias(arrays["loss/narrative"], arrays["loss/reasoning"])
    arrays["mean bias"] = arrays["bias"].mean(axis=-1)
    arrays["bias at half"] = bias_at_level(arrays, np.log(data.d_vocab) / 2.0)
    arrays["step"] = np.rint(np.linspace(0, settings.steps, settings.saved))
    arrays["gamma"] = np.array(GAMMAS)
    return FigureResult(
        name="7",
        title="Text: bias towards reasoning over the initialisation exponent",
        caption=CAPTION,
        settings={
            "size": size,
            "seeds": list(seeds),
            "gammas": list(GAMMAS),
            "corpora": {"reasoning": "reasoning_corpus", "narrative": "story_corpus"},
            "model": model.spec(),
            "optimizer": "adamw",
            "open in the paper": ["widths", "n_ctx", "rate", "decay", "when biases are compared"],
        }
        | asdict(settings),
        statistics=statistics(arrays, data),
        draw=lambda figure: draw(figure, arrays),
        arrays=arrays,
    )


CAPTION = (
    "a: training loss of the reasoning corpus (solid) and of the narrative corpus (dashed). b: bias dL = "
    "(L_narrative - L_reasoning) / L_reasoning. c: its mean over the training, one point per seed, and its value when "
    "the mean of both losses is half of log V. d: mean cosine between the embeddings of each corpus's own tokens at "
    "the end. Lines are medians over seeds, bands their quartiles."
)


def mixture(settings: Settings) -> Dataset:
    """Both corpora in equal weight, one closed vocabulary of all their words."""
    texts = {
        name: write(settings.documents)
        for name, write in zip(CORPORA, (reasoning_corpus, story_corpus), strict=True)
    }
    lexicon = Lexicon.of("".join(texts.values()))
    return lexicon.dataset(texts, settings.n_ctx, max_sequences=settings.windows)


def choose_model(data: Dataset, settings: Settings) -> Model:
    """The model that is trained: one layer, read at the last position."""
    d = settings.d_model
    return OneLayerTransformer(data.d_vocab, d, d // 2, d, data.n_ctx, positions=True)


def _train(model: Model, data: Dataset, settings: Settings, gamma: float, seed: int) -> Trajectory:
    return train(
        model,
        data,
        model.init(gamma, seed),
        "adamw",
        settings.learning_rate,
        settings.steps,
        settings.saved,
        batch_size=settings.batch_size,
        weight_decay=settings.weight_decay,
        seed=seed,
    )


def _measure(trained: Trajectory, data: Dataset) -> dict[str, np.ndarray]:
    """Loss of both corpora and mean cosine of their own tokens over time."""
    curves = {}
    for name in CORPORA:
        own = trained.weights["W_E"][:, data.token_groups[name]]
        curves[f"loss/{name}"] = trained[f"loss/{name}-train"]
        curves[f"cosine/{name}"] = np.array([off_diagonal(cosine_matrix(w)).mean() for w in own])
    return curves


def relative_bias(narrative: np.ndarray, reasoning: np.ndarray) -> np.ndarray:
    """The paper's dL = (L_narrative - L_reasoning) / L_reasoning."""
    return (narrative - reasoning) / reasoning


def bias_at_level(arrays: Mapping[str, np.ndarray], level: float) -> np.ndarray:
    """Bias (gamma, seed) when the mean of both losses first reaches a level, interpolated; nan if never."""
    mean = (arrays["loss/narrative"] + arrays["loss/reasoning"]) / 2.0
    below = mean <= level
    k = np.maximum(below.argmax(axis=-1), 1)[..., None]
    late, early = (np.take_along_axis(mean, k - i, -1)[..., 0] for i in (0, 1))
    after, before = (np.take_along_axis(arrays["bias"], k - i, -1)[..., 0] for i in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = before + (after - before) * (early - level) / (early - late)
    return np.where(below.any(axis=-1), found, np.nan)


def statistics(arrays: Mapping[str, np.ndarray], data: Dataset) -> tuple[Statistic, ...]:
    """The claims, decided."""
    laws = signature_similarity(data, "C")
    own = {name: off_diagonal(laws[np.ix_(ids, ids)]).mean() for name, ids in data.token_groups.items()}
    ends = {name: arrays[f"cosine/{name}"][SMALLEST, :, -1] for name in CORPORA}
    usual, smallest = GAMMAS.index(0.5), SMALLEST
    return (
        _positive(
            "the bias towards reasoning rises with gamma",
            "least increment of the mean of dL over the training steps, from each gamma to the next",
            np.diff(arrays["mean bias"], axis=0).min(axis=0),
        ),
        _positive(
            "a small initialisation (gamma .8) has a larger bias than the usual one (gamma .5)",
            "difference of the means of dL over the training steps",
            arrays["mean bias"][smallest] - arrays["mean bias"][usual],
        ),
        _positive(
            "the same at equal progress, that is, not only because a smaller initialisation is slower",
            "difference of dL when the mean of both losses is log(V) / 2",
            arrays["bias at half"][smallest] - arrays["bias at half"][usual],
        ),
        _positive(
            "tokens of the reasoning corpus have the smaller mean cosine (.123 against .531 in the paper)",
            "mean cosine of narrative minus that of reasoning tokens (those nine times as frequent in their own "
            "corpus), embedding at the end, gamma .8",
            ends["narrative"] - ends["reasoning"],
            f"depends on the corpora: cosines of their label laws P^s - 1/V have the means {own['reasoning']:.3f} "
            f"(reasoning) and {own['narrative']:.3f} (narrative); the embedding's, medians over seeds, are "
            f"{np.median(ends['reasoning']):.3f} and {np.median(ends['narrative']):.3f}",
        ),
    )


def _positive(claim: str, number: str, values: np.ndarray, note: str = "") -> Statistic:
    return Statistic.within(claim, number, values, above=0.0, note=note)


def draw(figure: Figure, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw the four panels."""
    figure.set_size_inches(9.5, 7.2)
    figure.set_layout_engine("constrained")
    (losses, bias), (summary, cosine) = figure.subplots(2, 2)
    step, gammas = arrays["step"], arrays["gamma"]
    for i, (gamma, colour) in enumerate(zip(gammas, COLOURS, strict=True)):
        for name, line in zip(CORPORA, ("-", "--"), strict=True):
            label = f"gamma {gamma:g}" if line == "-" else None
            losses.plot(step, np.median(arrays[f"loss/{name}"][i], axis=0), line, color=colour, label=label)
        band(bias, step, arrays["bias"][i].T, colour, f"gamma {gamma:g}")
    losses.set(
        xlabel="training step", ylabel="loss (nats)", yscale="log", title="a: reasoning -, narrative - -"
    )
    losses.set_yticks([1, 2, 3, 5, 10, 15], ["1", "2", "3", "5", "10", "15"])
    losses.minorticks_off()
    bias.axhline(0.0, color="grey", lw=0.8, ls=":")
    bias.set(xlabel="training step", ylabel="bias dL", title="b: bias over the training")
    for name, marker, label in (
        ("mean bias", "o", "mean over the training"),
        ("bias at half", "x", "at mean loss log(V) / 2"),
    ):
        colour = "black" if marker == "o" else "tab:orange"
        summary.plot(gammas, np.median(arrays[name], axis=1), color=colour, label=label)
        summary.plot(gammas, arrays[name], marker, color=colour, ms=5, mfc="none")
    summary.set(xlabel="gamma", ylabel="bias dL", xticks=gammas, title="c: bias over gamma")
    summary.set_ylim(
        0.0, 1.35 * max(arrays["mean bias"].max(), np.nanmax(arrays["bias at half"], initial=0.1))
    )
    for name, colour in zip(CORPORA, ("tab:green", "tab:orange"), strict=True):
        ends = arrays[f"cosine/{name}"][:, :, -1]
        cosine.plot(gammas, np.median(ends, axis=1), color=colour, label=name)
        cosine.plot(gammas, ends, "o", color=colour, ms=5, mfc="none")
    cosine.set(
        xlabel="gamma", ylabel="mean cosine of own tokens", xticks=gammas, title="d: embedding at the end"
    )
    for panel in (losses, bias, summary, cosine):
        panel.legend(fontsize=8, loc="upper left" if panel in (summary, cosine) else "upper right")
