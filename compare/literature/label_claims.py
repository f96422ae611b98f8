"""Label laws of the composite task (A7, A8), attention at initialisation (Lemma 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import chi2

from ...theory.data.label_laws import memory_label_law, reasoning_label_law
from ...theory.data.tasks import CompositeTask
from ...theory.models.one_layer_transformer import OneLayerTransformer
from .claim import Claim, Finding, judged
from .wording import tiny

SOURCE = "arXiv 2502.04375"
LAW = Callable[[CompositeTask, int], np.ndarray]
D_VOCAB, MEMORY = 201, range(1, 11)
TABLES, LEAST_P = 10, 1e-3
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


def main_task(seed: int = 0) -> CompositeTask:
    """The paper's task without noise keys: 100 keys, 10 + 10 anchors, q = 2."""
    return CompositeTask(range(21, 121), MEMORY, range(11, 21), masked=(), d_vocab=D_VOCAB, seed=seed)


def exact_law_claim(law: LAW = reasoning_label_law, tolerance: float = 1e-12) -> Claim:
    """A8: the law of a reasoning anchor's labels, against the enumerated data."""

    def test() -> Finding:
        task = main_task()
        data = task.dataset()
        distances = [0.5 * np.abs(law(task, s) - data.label_law(s)).sum() for s in task.reasoning_anchors]
        worst = float(max(distances))
        return judged(
            worst <= tolerance, f"largest total variation over anchors {tiny(worst)}", distance=worst
        )

    return Claim(
        "A8", f"{SOURCE}, A8", "for q = 2, labels of reasoning anchors are translates of the law of Z + A",
        "q = 2, nothing masked", f"all sequences enumerated; total variation at most {tolerance:g}", test,
    )  # fmt: skip


def sampled_law_claim(law: LAW = lambda task, _: memory_label_law(task)) -> Claim:
    """A7: the law of a memory anchor's labels, which are drawn once for every key and pair of anchors.

    A finite table follows the law up to sampling noise, which hides much in the few labels of one anchor. So the labels
    of several tables are put together, and of all anchors for what they have in common.
    """

    def test() -> Finding:
        counts, stated = np.zeros((len(MEMORY), D_VOCAB)), np.zeros((len(MEMORY), D_VOCAB))
        for seed in range(TABLES):
            task = main_task(seed)
            counts += drawn_labels(task)
            stated += np.array([law(task, s) for s in task.memory_anchors]) / TABLES
        expected = counts.sum(axis=1, keepdims=True) * stated
        pooled, by_anchor = (
            _chi_squared(counts.sum(axis=0), expected.sum(axis=0)),
            _chi_squared(counts, expected),
        )
        shown = [f"{x:.0f} for {n} degrees of freedom (p = {p:.2g})" for x, n, p in (pooled, by_anchor)]
        return judged(
            min(pooled[2], by_anchor[2]) > LEAST_P,
            f"chi^2 of {counts.sum():.0f} labels is {shown[0]} over all anchors together and {shown[1]} anchor by "
            f"anchor; a law 10 % off would add {0.01 * counts.sum():.0f} to either",
            chi_squared=pooled[0],
            p=pooled[2],
            chi_squared_by_anchor=by_anchor[0],
            p_by_anchor=by_anchor[2],
        )

    return Claim(
        "A7", f"{SOURCE}, A7", "the labels of a memory anchor are uniform on the keys, for every anchor",
        "q = 2, nothing masked",
        f"labels of all keys and pairs of anchors in {TABLES} tables, by the first anchor; chi^2 tests over all "
        f"anchors together and anchor by anchor, p above {LEAST_P:g}",
        test,
    )  # fmt: skip


def drawn_labels(task: CompositeTask) -> np.ndarray:
    """Numbers of labels (anchors, V) of one table: every key with every pair of anchors, by the first of the pair."""
    first, second, keys = np.meshgrid(task.memory_anchors, task.memory_anchors, task.keys, indexing="ij")
    pairs = np.stack([first.ravel(), second.ravel()], axis=1)
    labels = task.memory_labels(keys.ravel(), pairs).reshape(len(first), -1)
    return np.array([np.bincount(row, minlength=D_VOCAB) for row in labels], dtype=float)


def _chi_squared(counts: np.ndarray, expected: np.ndarray) -> tuple[float, int, float]:
    """Pearson's statistic, its degrees of freedom and the probability of a larger one; infinite for the impossible."""
    possible = expected > 0.0
    degrees = int(possible.sum()) - (1 if counts.ndim == 1 else len(counts))
    if counts[~possible].any():
        return float("inf"), degrees, 0.0
    statistic = float(np.sum((counts - expected)[possible] ** 2 / expected[possible]))
    return statistic, degrees, float(chi2.sf(statistic, degrees))


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
        sentence = f"std over stated {min(ratios):.2f} to {max(ratios):.2f}"
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
        sampled_law_claim(),
        exact_law_claim(),
        cosine_claim(),
        score_claim(),
    )  # fmt: skip
