"""Label laws of the composite task (A7, A8), attention at initialisation (Lemma 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...theory.data.label_laws import memory_label_law, reasoning_label_law
from ...theory.data.tasks import CompositeTask
from ...theory.models.one_layer_transformer import OneLayerTransformer
from .claim import Claim, Finding, judged

SOURCE = "arXiv 2502.04375"
LAW = Callable[[CompositeTask, int], np.ndarray]
D_VOCAB = 201
COSINES = (
    1.0,
    0.998,
    0.992,
    0.983,
    0.970,
    0.955,
    0.938,
    0.9195,
    0.8995,
    0.879,
)  # as printed, distances 0 .. 9


def main_task() -> CompositeTask:
    """The paper's task without noise keys: 100 keys, 10 + 10 anchors, q = 2."""
    return CompositeTask(range(21, 121), range(1, 11), range(11, 21), masked=(), d_vocab=D_VOCAB)


def law_claim(
    number: str, statement: str, law: LAW, anchors: range, exact: bool, tolerance: float = 1e-12
) -> Claim:
    """A label law against the enumerated data: largest total-variation distance over anchors.

    A memory label is drawn once per tuple, so its finite data follow the law only up to sampling noise, whose size the
    law itself predicts.
    """

    def test() -> Finding:
        task = main_task()
        data = task.dataset()
        distances, noise = [], []
        for anchor in anchors:
            p, q = law(task, anchor), data.label_law(anchor)
            distances.append(0.5 * np.abs(p - q).sum())
            n = np.sum((data.sequences == anchor).sum(axis=1))
            noise.append(0.5 * np.sum(np.sqrt(2.0 * p * (1.0 - p) / (np.pi * n))))
        worst, expected = max(distances), max(noise)
        limit = tolerance if exact else 1.3 * expected
        sentence = f"largest total variation {worst:.2g}" + (
            "" if exact else f", {expected:.2g} expected of sampling"
        )
        return judged(worst <= limit, sentence, distance=worst, limit=limit)

    how = "all 19,800 + 200 sequences enumerated; total variation at most "
    how += f"{tolerance:g}" if exact else "1.3 times what sampling of the labels makes"
    return Claim(number, f"{SOURCE}, {number}", statement, "q = 2, nothing masked", how, test)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two label laws about 1/V."""
    a, b = a - 1.0 / a.size, b - 1.0 / b.size
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def cosine_claim(law: LAW = reasoning_label_law, stated: tuple[float, ...] = COSINES) -> Claim:
    """Cosines of P^s - 1/V between reasoning anchors, by distance."""

    def test() -> Finding:
        task = main_task()
        found = [cosine(law(task, 11), law(task, 11 + k)) for k in range(len(stated))]
        off = max(abs(a - b) for a, b in zip(found, stated, strict=True))
        return judged(
            off < 6e-4,
            f"from {found[0]:.3f} down to {found[-1]:.4f}; largest difference {off:.1e}",
            last=found[-1],
            difference=off,
        )

    return Claim(
        "A8 cosines", f"{SOURCE}, figure 4", f"cosines at distance 0 .. 9 are {', '.join(f'{c:g}' for c in stated)}",
        f"V = {D_VOCAB}, q = 2", "closed form of the law; within 6e-4 (they are printed to three digits)", test,
    )  # fmt: skip


def score_claim(
    exponents: tuple[int, int, int] = (1, 1, 2), gammas: tuple[float, ...] = (0.3, 0.5, 0.8)
) -> Claim:
    """Lemma 1: std of the scores at initialisation, sigma_Q^a sigma_K^b d_m sigma_E^c off the diagonal."""

    def test() -> Finding:
        model, ratios, worst = OneLayerTransformer(151, 120, 32, 8, 9), [], []
        for gamma in gammas:
            for seed in range(3):
                w = model.init(gamma, seed)
                scores = w["W_E"] @ w["W_Q"] @ w["W_K"].T @ w["W_E"].T / np.sqrt(model.d_head)
                off = scores[~np.eye(model.d_vocab, dtype=bool)]
                sizes = [float(np.std(w[name])) for name in ("W_Q", "W_K", "W_E")]
                stated = np.prod([s**p for s, p in zip(sizes, exponents, strict=True)]) * model.d_model
                ratios.append(float(np.std(off) / stated))
                worst.append((gamma, _deviation(scores, model.n_ctx, seed)))
        spread = max(abs(r - 1.0) for r in ratios)
        late = max(d for g, d in worst if g == max(gammas))
        sentence = f"std over stated {min(ratios):.2f} .. {max(ratios):.2f}"
        sentence += f"; at gamma {max(gammas):g} attention is within {late:.1e} of the average"
        return judged(spread < 0.15 and late < 1e-2, sentence, largest_ratio_error=spread, deviation=late)

    return Claim(
        "Lemma 1", f"{SOURCE}, Lemma 1",
        "scores at initialisation have std sigma_Q sigma_K d_m sigma_E^2, so attention starts at the average",
        f"gamma in {gammas}, three seeds, d_m = 120, d_k = 32",
        "ratio within 15 %; attention within 1 % of uniform at the largest gamma",
        test,
    )  # fmt: skip


def _deviation(scores: np.ndarray, n_ctx: int, seed: int) -> float:
    """Largest relative distance of attention from the average, over random sequences read at their last token."""
    tokens = np.random.default_rng(seed).integers(0, len(scores), (200, n_ctx))
    e = np.exp(np.take_along_axis(scores[tokens[:, -1]], tokens, axis=1))
    return float(np.abs(n_ctx * e / e.sum(axis=1, keepdims=True) - 1.0).max())


def claims() -> tuple[Claim, ...]:
    """A7, A8, the cosines, Lemma 1."""
    return (
        law_claim(
            "A7", "the labels of a memory anchor are uniform on the keys", lambda t, _: memory_label_law(t),
            range(1, 11), exact=False,
        ),
        law_claim(
            "A8", "labels of reasoning anchors are translates of the law of Z + A", reasoning_label_law, range(11, 21),
            exact=True,
        ),
        cosine_claim(),
        score_claim(),
    )  # fmt: skip
