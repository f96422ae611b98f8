"""Figure 7 of arXiv 2502.04375: how far training favours reasoning over narrative text, by initialisation.

The paper trains GPT-2 once on PrOntoQA and TinyStories together and compares training losses by epoch. Here files of
such documents can be given; otherwise `reasoning_corpus` and `story_corpus` write them. Every window begins with a
document, so that the premises of a deduction are in sight, and every word of it is predicted. Exponents are GPT-2's:
weights of another width have the same std x sqrt(width). Open in the paper's main text, and chosen here: words in place
of GPT-2's tokens, the length of windows, an untied head and LayerNorm's eps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.data.corpora.documents import Documents
from ...theory.data.dataset import Dataset
from .arguments import Asked, figure
from .parts.text_bias import BiasWindow, bias, bias_at_equal_loss
from .parts.text_panels import draw
from .parts.text_runs import CORPORA, NEARLY_ONE_LAW, Prediction, generated, mean, what_decides
from .parts.text_training import TextTraining, text_curves
from .result import FigureResult, Statistic, by_seed

GAMMAS = (0.3, 0.5, 0.65, 0.8)  # of a width of 768
LARGEST, SMALLEST = 0, len(GAMMAS) - 1  # weights
PAPER_COSINES = (0.123, 0.531)  # of PrOntoQA's and TinyStories' tokens
LEAST_EXCESS = 0.1

Arrays = Mapping[str, np.ndarray]

# GPT-2's rate, 5e-5 at a width of 768, is 1.7e-4 and 1e-4 at these widths, if a step moves a weight by the same part.
SIZES = {
    "small": TextTraining(
        documents=100, held_out=25, vocabulary=500, n_ctx=80, d_model=64, d_head=32, d_mlp=128, epochs=80, saved=25,
        learning_rate=3e-4, batch_size=10,
    ),
    "paper": TextTraining(
        documents=5000, held_out=500, vocabulary=4000, n_ctx=160, d_model=200, d_head=64, d_mlp=800, epochs=200,
        saved=41, learning_rate=1e-4, batch_size=20, device="auto",
    ),
}  # fmt: skip


@figure
def run(
    asked: Asked, reasoning: str | Path | None = None, narrative: str | Path | None = None
) -> FigureResult:
    """Train on the mixture at every gamma and seed.

    Parameters
    ----------
    asked : Asked
        "small" takes about six minutes with three seeds on two cores.
    reasoning, narrative : path, optional
        Text files of documents, one a line or with blank lines between them, see `Documents`; generated if absent.

    Returns
    -------
    FigureResult

    Raises
    ------
    ValueError
        If a file cannot be used, or both are the same text.
    FileNotFoundError
        If there is no such file.
    """
    settings, size, seeds = asked.pick(SIZES), asked.size, asked.seeds
    given = {"reasoning": reasoning, "narrative": narrative}
    files = {name: Documents.read(path) for name, path in given.items() if path is not None}
    if len(files) == 2 and files["reasoning"].texts == files["narrative"].texts:
        raise FieldError("narrative", "has the same documents as `reasoning`: give two corpora.")
    made = generated(settings.documents + settings.held_out)
    data = settings.data({**made, **{name: file.texts for name, file in files.items()}})
    theory = Prediction.of(data)
    arrays = _trained(settings, theory, asked)
    arrays |= _compared(arrays) | _pictured(arrays, theory)
    return FigureResult(
        name="7",
        title="Text: bias towards reasoning over the initialisation exponent",
        caption=CAPTION,
        settings={"size": size, "seeds": list(seeds)} | _record(settings, data, files),
        statistics=statistics(arrays, theory),
        draw=lambda figure: draw(figure, arrays, GAMMAS, PAPER_COSINES),
        arrays=arrays,
    )


def _trained(settings: TextTraining, theory: Prediction, asked: Asked) -> dict[str, np.ndarray]:
    """Curves of all trainings (gamma, seed, t); theory held against those from the smallest weights (seed, ...)."""
    data, seeds, curves, held = theory.data, asked.seeds, [], []
    for gamma in GAMMAS:
        for seed in seeds:
            asked.tell(f"figure 7: gamma {gamma:g}, seed {seed}")
            trained = settings.train(data, gamma, seed, **asked.kept(gamma, seed))
            curves.append(text_curves(trained, data))
            if gamma == GAMMAS[SMALLEST]:
                held.append(theory.against(trained))
    shape = (len(GAMMAS), len(seeds), -1)
    found = {name: some.reshape(shape) for name, some in by_seed(curves).items()} | by_seed(held)
    step = settings.save_at(data)
    return found | {"step": step, "epoch": step / settings.steps_an_epoch(data), "gamma": np.array(GAMMAS)}


def _record(settings: TextTraining, data: Dataset, files: Mapping[str, Documents]) -> dict[str, Any]:
    """Everything chosen, JSON-able."""
    made = {"reasoning": "reasoning_corpus", "narrative": "story_corpus"}
    return {
        "gammas": list(GAMMAS),
        "exponents at this width": [settings.exponent(gamma) for gamma in GAMMAS],
        "corpora": {name: files[name].record() if name in files else made[name] for name in CORPORA},
        "windows": {str(name): int((data.groups == name).sum()) for name in data.group_names},
        "model": settings.model(data).spec(),
        "optimizer": "adamw, constant rate, no decay",
        "open in the paper": ["words as tokens", "n_ctx", "untied head", "norm_eps"],
    } | asdict(settings)


CAPTION = (
    "Gammas are those of GPT-2's width; weights have the same std x sqrt(width). a: training loss of the reasoning "
    "corpus (solid) and of the narrative corpus (dashed). b: bias dL = (L_narrative - L_reasoning) / L_reasoning by "
    "epoch; grey: the window in which it is larger at gamma 0.8 than at 0.3, first seed. c: the same against the loss "
    "of reasoning, that is, at equal progress, a line a seed. d: the bias over gamma, at the middle of the window and "
    "at the lowest loss that all trainings come to. e: mean cosine between the embeddings of each corpus's own words, "
    "gamma 0.8; dotted: the paper's. f: training losses (solid) and losses of documents that are not trained on "
    "(dashed), gamma 0.8. g: correlation of the trained token similarities, gamma 0.8, with three predictions; the "
    "vertical line is the end of the first stage. h: trained similarities at the end (above the diagonal) and those "
    "of the corpora's signature matrix (below), first seed; own words of the reasoning corpus first, then those of "
    "the narrative corpus, then common ones. Lines are medians over seeds, bands their range, circles single seeds."
)


def _compared(arrays: Arrays) -> dict[str, np.ndarray]:
    """The bias (gamma, seed, t); (gamma, seed) at equal epochs and equal losses; the windows' ends (seed, 2)."""
    curves, epoch = bias(arrays), arrays["epoch"]
    found = [
        BiasWindow.between(epoch, small, large)
        for small, large in zip(curves[SMALLEST], curves[LARGEST], strict=True)
    ]
    middle = [[np.interp(w.middle, epoch, one) for w, one in zip(found, row, strict=True)] for row in curves]
    return {
        "bias": curves,
        "window": np.array([[w.opens, w.closes] for w in found]),
        "window open at end": np.array([w.still_open for w in found]),
        "bias at middle": np.array(middle),
        "bias at equal reasoning loss": bias_at_equal_loss(arrays, "reasoning"),
        "bias at equal mean loss": bias_at_equal_loss(arrays, "mean"),
    }


def _pictured(arrays: Arrays, theory: Prediction) -> dict[str, np.ndarray]:
    """Mean cosines of the label laws of each corpus's own words, and panel h."""
    order, ends = theory.order()
    both = np.triu(arrays["trained"][0]) + np.tril(theory.laws, -1)
    laws = np.array([mean(theory.own(theory.laws, name)) for name in CORPORA])
    return {"similarity": both[np.ix_(order, order)], "block ends": ends, "law cosines": laws}


def statistics(arrays: Arrays, theory: Prediction) -> tuple[Statistic, ...]:
    """The claims, decided."""
    return (*_of_bias(arrays), *_at_equal_loss(arrays), _of_cosines(arrays, theory), _of_prediction(arrays))


def _of_bias(arrays: Arrays) -> tuple[Statistic, ...]:
    middle = arrays["bias at middle"]
    return (
        _above(
            "there is a window of epochs in which the smallest weights have the larger bias",
            "dL at gamma 0.8 minus dL at gamma 0.3 at its middle, the window being the longest stretch of epochs in "
            "which that is positive",
            middle[SMALLEST] - middle[LARGEST],
            f"{_windows(arrays)}. {_ends(arrays)}",
            LEAST_EXCESS,
        ),
        _above(
            "the bias towards reasoning rises with gamma",
            "least increment of dL from each gamma to the next at the middle of that window",
            np.diff(middle, axis=0).min(axis=0),
            f"there dL is {_by_gamma(middle)}",
        ),
    )


def _at_equal_loss(arrays: Arrays) -> tuple[Statistic, ...]:
    """Whether the order is more than that of two speeds."""
    found = []
    for which, words in (("reasoning", "loss of reasoning"), ("mean", "mean of both losses")):
        values = arrays[f"bias at equal {which} loss"]
        found.append(
            _above(
                f"the smallest weights have the larger bias at equal {words} too",
                f"dL at gamma 0.8 minus dL at gamma 0.3 at the lowest {words} that all trainings come to",
                values[SMALLEST] - values[LARGEST],
                f"there dL is {_by_gamma(values)}",
            )
        )
    return tuple(found)


def _of_cosines(arrays: Arrays, theory: Prediction) -> Statistic:
    found = {name: cosine_at_middle(arrays, name) for name in CORPORA}
    laws = arrays["law cosines"]
    reasoning, narrative = (np.median(found[name]) for name in CORPORA)
    return _above(
        "tokens of the reasoning corpus have the smaller mean cosine (0.123 against 0.531 in the paper)",
        "mean cosine of narrative minus that of reasoning tokens (those nine times as frequent in their own corpus), "
        "embedding at the middle of the window, gamma 0.8",
        found["narrative"] - found["reasoning"],
        f"medians of reasoning and narrative: {reasoning:.3f} and {narrative:.3f}; between label laws {laws[0]:.2f} "
        f"and {laws[1]:.2f}. Of cosine above {NEARLY_ONE_LAW:g} between their label laws P^s - 1/V are: "
        f"{what_decides(theory, arrays['trained'].mean(axis=0))}",
    )


def cosine_at_middle(arrays: Arrays, name: str) -> np.ndarray:
    """Mean cosine (seed,) of a corpus's own words at the middle of the window, smallest weights."""
    middles = arrays["window"].mean(axis=1)
    curves = arrays[f"cosine/{name}"][SMALLEST]
    return np.array([np.interp(m, arrays["epoch"], c) for m, c in zip(middles, curves, strict=True)])


def _of_prediction(arrays: Arrays) -> Statistic:
    at_end = {name: arrays[f"at stage end/{name}"] for name in ("signature", "co-occurrence", "flow")}
    medians = ", ".join(f"{np.median(values):.2f} ({name})" for name, values in at_end.items())
    return _above(
        "label laws (the signature matrix, before training) tell better than raw counts which tokens are alike",
        "correlation of trained similarities with those of label laws minus that with those of raw counts of "
        "neighbours, at the end of the first stage, gamma 0.8",
        at_end["signature"] - at_end["co-occurrence"],
        f"correlations there, medians: {medians}",
    )


def _by_gamma(values: np.ndarray) -> str:
    """Medians over seeds."""
    return ", ".join(f"{np.median(v):.2f} (gamma {g:g})" for g, v in zip(GAMMAS, values, strict=True))


def _windows(arrays: Arrays) -> str:
    """From when to when, seed by seed."""
    said = [
        f"{opens:.1f} to {closes:.1f}{' (end of training)' * bool(still)}"
        for (opens, closes), still in zip(arrays["window"], arrays["window open at end"], strict=True)
    ]
    return f"window in epochs: {', '.join(said)}"


def _ends(arrays: Arrays) -> str:
    """Where the losses end, from the largest and the smallest weights."""
    said = []
    for i in (LARGEST, SMALLEST):
        losses = [np.median(arrays[f"loss/{name}"][i, :, -1]) for name in CORPORA]
        said.append(f"{losses[0]:.2f} and {losses[1]:.2f} nats at gamma {GAMMAS[i]:g}")
    return f"Training losses of reasoning and narrative end at {', '.join(said)}"


def _above(claim: str, number: str, values: np.ndarray, note: str = "", least: float = 0.0) -> Statistic:
    return Statistic.within(claim, number, values, above=least, note=note)
