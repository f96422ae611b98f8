"""Figure 7 of arXiv 2502.04375: how far training favours reasoning over narrative text, by initialisation.

The paper trains its decoder on PrOntoQA and TinyStories; here the two corpora are `reasoning_corpus` and
`story_corpus`, or a text of the user's in place of the stories, mixed in equal weight, which needs no download. Every
window begins with a document, so that the premises of a deduction are in sight, and every word of it is predicted.
Open in the paper's main text, and chosen here: the vocabulary, `n_ctx`, widths of heads and hidden layers, AdamW's
schedule and decay, and the time at which biases are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.arrays import cosine_matrix
from ...theory.base.crossings import first_crossing
from ...theory.data.dataset import Dataset
from ...theory.models.decoder import Decoder
from .arguments import FigureState, Progress, pick, resumable, tell
from .parts.curves import train_decoder
from .parts.text_panels import draw
from .parts.text_runs import CORPORA, NEARLY_ONE_LAW, Narrative, Prediction, mean, mixture, what_decides
from .result import FigureResult, Statistic

GAMMAS = (0.3, 0.5, 0.65, 0.8)
SMALLEST = len(GAMMAS) - 1

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DecoderStudy:
    """What a size stands for; `documents` per corpus, each the beginning of a window of `n_ctx` words."""

    documents: int
    vocabulary: int
    n_ctx: int
    d_model: int
    d_head: int
    d_mlp: int
    steps: int
    warmup: int
    saved: int
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.01
    clip: float = 1.0
    device: str = "cpu"

    def model(self, data: Dataset) -> Decoder:
        """The decoder: two layers of one head, LayerNorm before each half, the next token at every position."""
        widths = (self.d_model, self.d_head, self.d_mlp)
        return Decoder(data.d_vocab, *widths, data.n_ctx, activation="gelu", predict="all")

    def save_at(self) -> np.ndarray:
        """Steps that are measured, denser at the beginning, where the losses fall."""
        return np.unique(np.rint(self.steps * np.linspace(0.0, 1.0, self.saved) ** 2)).astype(np.int64)

    def train(self, data: Dataset, gamma: float, seed: int, **state: Any) -> Trajectory:
        """Train from A2's initialisation; `state` is what `resumable` gives."""
        return train_decoder(self, self.model(data), data, gamma, seed, self.save_at(), **state)


SIZES = {
    "small": DecoderStudy(400, 500, 80, 64, 32, 128, 1200, 60, 25, 5e-4, 16),
    "paper": DecoderStudy(10_000, 4000, 80, 200, 64, 800, 20_000, 1000, 41, 1e-4, 100, device="auto"),
}


def run(
    size: str = "small",
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = None,
    text: str | Path | None = None,
    state: FigureState | None = None,
) -> FigureResult:
    """Train on the mixture at every gamma and seed.

    Parameters
    ----------
    size : {"small", "paper"}
        "small" takes about five minutes with three seeds on two cores.
    seeds : sequence of int
        Of the initial weights and the minibatches; the corpora are the same for all.
    progress : callable, optional
        Told about every run.
    text : path, optional
        A text file for the narrative corpus; its passages of `n_ctx` words stand in for the stories.
    state : FigureState, optional
        Where trainings keep their state, to be taken up when the figure is run again.

    Returns
    -------
    FigureResult

    Raises
    ------
    ValueError
        If `size` is unknown, `seeds` are not distinct non-negative integers, one at least, or `text` cannot be used.
    FileNotFoundError
        If there is no such file.
    """
    settings, seeds = pick(SIZES, size, seeds)
    narrative = None if text is None else Narrative.read(text)
    data = mixture(settings.documents, settings.n_ctx, settings.vocabulary, narrative)
    theory = Prediction.of(data)
    curves, held = [], []
    for gamma in GAMMAS:
        for seed in seeds:
            tell(progress, f"figure 7: gamma {gamma:g}, seed {seed}")
            trained = settings.train(data, gamma, seed, **resumable(state, gamma, seed))
            curves.append(_curves(trained, theory))
            if gamma == GAMMAS[SMALLEST]:
                held.append(theory.against(trained))
    arrays = {
        name: np.stack([c[name] for c in curves]).reshape(len(GAMMAS), len(seeds), -1) for name in curves[0]
    }
    arrays |= {name: np.stack([h[name] for h in held]) for name in held[0]}
    arrays |= {"step": settings.save_at(), "gamma": np.array(GAMMAS)}
    arrays |= _biases(arrays, np.log(data.d_vocab) / 2.0) | _pictured(arrays, theory)
    return FigureResult(
        name="7",
        title="Text: bias towards reasoning over the initialisation exponent",
        caption=CAPTION,
        settings={"size": size, "seeds": list(seeds)} | _record(settings, data, narrative),
        statistics=statistics(arrays, theory),
        draw=lambda figure: draw(figure, arrays, GAMMAS),
        arrays=arrays,
    )


def _record(settings: DecoderStudy, data: Dataset, narrative: Narrative | None) -> dict[str, Any]:
    """Everything chosen, JSON-able."""
    return {
        "gammas": list(GAMMAS),
        "corpora": {
            "reasoning": "reasoning_corpus",
            "narrative": narrative.record() if narrative else "story_corpus",
        },
        "model": settings.model(data).spec(),
        "optimizer": "adamw",
        "schedule": "warm-up, cosine to a tenth",
        "open in the paper": [
            "vocabulary",
            "n_ctx",
            "widths",
            "schedule",
            "decay",
            "when biases are compared",
        ],
    } | asdict(settings)


CAPTION = (
    "a: loss of the reasoning corpus (solid) and of the narrative corpus (dashed). b: bias dL = (L_narrative - "
    "L_reasoning) / L_reasoning. c: its mean over the training steps, and its value when the mean of both losses is "
    "half of log V. d: mean cosine between the embeddings of each corpus's own words at the end, and between their "
    "label laws (dotted). e: correlation of the trained token similarities, gamma .8, with three predictions; the "
    "vertical line is the end of the first stage, and the flow starts from the training's own W_E, so that it is 1 at "
    "step 0. f: trained similarities at the end (above the diagonal) and those "
    "of the corpora's signature matrix (below), first seed; own words of the reasoning corpus first, then those of the "
    "narrative corpus, then common ones. Lines are medians over seeds, bands their range, circles single seeds."
)


def _curves(trained: Trajectory, theory: Prediction) -> dict[str, np.ndarray]:
    """Loss of both corpora and mean cosine of their own words over time."""
    found = {f"loss/{name}": trained[f"loss/{name}-train"] for name in CORPORA}
    matrices = [cosine_matrix(w) for w in trained.weights["W_E"]]
    return found | {f"cosine/{n}": np.array([mean(theory.own(m, n)) for m in matrices]) for n in CORPORA}


def _biases(arrays: Arrays, level: float) -> dict[str, np.ndarray]:
    """The paper's dL = (L_narrative - L_reasoning) / L_reasoning, its mean over the steps, and at equal progress."""
    reasoning = arrays["loss/reasoning"]
    bias = (arrays["loss/narrative"] - reasoning) / reasoning
    step = arrays["step"]
    return {
        "bias": bias,
        "mean bias": np.trapezoid(bias, step) / step[-1],
        "bias at half": bias_at_level({**arrays, "bias": bias}, level),
    }


def bias_at_level(arrays: Arrays, level: float) -> np.ndarray:
    """Bias (gamma, seed) when the mean of both losses first reaches a level, interpolated; nan if never."""
    mean = (arrays["loss/narrative"] + arrays["loss/reasoning"]) / 2.0
    return first_crossing(arrays["bias"], mean, level, never=np.nan)


def _pictured(arrays: Arrays, theory: Prediction) -> dict[str, np.ndarray]:
    """Mean cosines of the label laws of each corpus's own words, and panel f."""
    order, ends = theory.order()
    both = np.triu(arrays["trained"][0]) + np.tril(theory.laws, -1)
    laws = np.array([mean(theory.own(theory.laws, name)) for name in CORPORA])
    return {"similarity": both[np.ix_(order, order)], "block ends": ends, "law cosines": laws}


def statistics(arrays: Arrays, theory: Prediction) -> tuple[Statistic, ...]:
    """The claims, decided."""
    return (*_of_bias(arrays), _of_cosines(arrays, theory), _of_prediction(arrays))


def _of_bias(arrays: Arrays) -> tuple[Statistic, ...]:
    mean_bias, at_half, usual = arrays["mean bias"], arrays["bias at half"], GAMMAS.index(0.5)
    return (
        _positive(
            "the bias towards reasoning rises with gamma",
            "least increment of the mean of dL over the training steps, from each gamma to the next",
            np.diff(mean_bias, axis=0).min(axis=0),
            f"means {_by_gamma(mean_bias)}. {_floors(arrays)}",
        ),
        _positive(
            "a small initialisation (gamma .8) has a larger bias than the usual one (gamma .5)",
            "difference of the means of dL over the training steps",
            mean_bias[SMALLEST] - mean_bias[usual],
        ),
        _positive(
            "the same at equal progress, that is, not only because a smaller initialisation is slower",
            "difference of dL when the mean of both losses is log(V) / 2",
            at_half[SMALLEST] - at_half[usual],
            f"there dL is {_by_gamma(at_half)}",
        ),
    )


def _of_cosines(arrays: Arrays, theory: Prediction) -> Statistic:
    ends = {name: arrays[f"cosine/{name}"][SMALLEST, :, -1] for name in CORPORA}
    laws = arrays["law cosines"]
    return _positive(
        "tokens of the reasoning corpus have the smaller mean cosine (.123 against .531 in the paper)",
        "mean cosine of narrative minus that of reasoning tokens (those nine times as frequent in their own corpus), "
        "embedding at the end, gamma .8",
        ends["narrative"] - ends["reasoning"],
        "depends on the corpora: it counts the pairs of words that the same words follow. Of cosine above "
        f"{NEARLY_ONE_LAW:g} between their label laws P^s - 1/V are: "
        f"{what_decides(theory, arrays['trained'].mean(axis=0))}. Mean cosines of reasoning and narrative are "
        f"{laws[0]:.2f} and {laws[1]:.2f} between laws, {np.median(ends['reasoning']):.2f} and "
        f"{np.median(ends['narrative']):.2f} between embeddings",
    )


def _of_prediction(arrays: Arrays) -> Statistic:
    at_end = {name: arrays[f"at stage end/{name}"] for name in ("signature", "co-occurrence", "flow")}
    medians = ", ".join(f"{np.median(values):.2f} ({name})" for name, values in at_end.items())
    return _positive(
        "label laws (the signature matrix, before training) tell better than raw counts which tokens are alike",
        "correlation of trained similarities with those of label laws minus that with those of raw counts of "
        "neighbours, at the end of the first stage, gamma .8",
        at_end["signature"] - at_end["co-occurrence"],
        f"correlations there, medians: {medians}",
    )


def _by_gamma(values: np.ndarray) -> str:
    """Medians over seeds."""
    return ", ".join(f"{np.median(v):.2f} (gamma {g:g})" for g, v in zip(GAMMAS, values, strict=True))


def _floors(arrays: Arrays) -> str:
    """Where the losses end, from the largest and the smallest weights."""
    said = []
    for i in (0, SMALLEST):
        losses = [np.median(arrays[f"loss/{name}"][i, :, -1]) for name in CORPORA]
        said.append(f"{losses[0]:.2f} and {losses[1]:.2f} nats at gamma {GAMMAS[i]:g}")
    return f"Losses of reasoning and narrative end at {', '.join(said)}"


def _positive(claim: str, number: str, values: np.ndarray, note: str = "") -> Statistic:
    return Statistic.within(claim, number, values, above=0.0, note=note)
