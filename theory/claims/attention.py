"""Claims of arXiv 2601.19208: leading terms in tau = learning rate x step of attention trained from zero."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..dataset import Dataset
from ..flow import Flow, derive
from ..models import AttentionOnly
from .claim import Claim, Finding, judged

if TYPE_CHECKING:
    from ...sim import Trajectory

SOURCE = "arXiv 2601.19208"
MODEL = AttentionOnly(12, 6)
TIMES = np.array([0.0, 0.02, 0.04, 0.08, 0.16, 1.0])
# Weight -> power of tau at which it starts, and the coefficient's denominator.
LAWS = {"W_U": (1, 1), "W_OV_1": (2, 2), "W_QK_1": (4, 8), "w_pos_1": (4, 8)}


@lru_cache(maxsize=1)
def data() -> Dataset:
    """A toy corpus: a random Markov chain over 12 words, 300 pieces of 6 words and the next one."""
    rng = np.random.default_rng(0)
    jump = rng.dirichlet(np.full(12, 0.3), size=12)
    words = [0]
    for _ in range(2100):
        words.append(int(rng.choice(12, p=jump[words[-1]])))
    pieces = np.array(words[: 7 * 300]).reshape(300, 7)
    return Dataset(pieces[:, :6], pieces[:, 6], 12)


@lru_cache(maxsize=1)
def flow() -> Flow:
    """The true gradient flow."""
    return derive(MODEL, "exact")


@lru_cache(maxsize=1)
def path() -> Trajectory:
    """The true gradient flow from zero."""
    from ...sim import integrate

    zero = {name: np.zeros(shape) for name, shape in MODEL.weights.items()}
    return integrate(flow(), data(), zero, t1=1.0, save_at=TIMES, rtol=1e-11, atol=1e-16)


@lru_cache(maxsize=1)
def statistics() -> dict[str, np.ndarray]:
    """B, Phi^T B^T, Q and Delta: rates of each weight once those before it have taken their leading form.

    Read off the true gradient at small h, extrapolated to h = 0, so that nothing is transcribed.
    """
    zero = {name: np.zeros(shape) for name, shape in MODEL.weights.items()}
    B = flow().rhs(data(), zero)["W_U"]

    def rate(name: str, power: int, *known: tuple[str, np.ndarray, int]) -> np.ndarray:
        def at(h: float) -> np.ndarray:
            weights = zero | {w: h**p * value for w, value, p in known}
            return flow().rhs(data(), weights)[name] / h**power

        pairs = [0.5 * (at(h) + at(-h)) for h in (1e-3, 5e-4)]  # odd powers of h drop out
        return (4.0 * pairs[1] - pairs[0]) / 3.0

    G = rate("W_OV_1", 1, ("W_U", B, 1))
    later = (("W_U", B, 1), ("W_OV_1", G, 2))
    return {"W_U": B, "W_OV_1": G, "W_QK_1": rate("W_QK_1", 3, *later), "w_pos_1": rate("w_pos_1", 3, *later)}


def tau_claim(weight: str, power: int | None = None, denominator: float | None = None) -> Claim:
    """A weight starts as tau^power / denominator times its statistic, with an error that grows linearly in tau."""
    stated_power, stated = LAWS[weight]
    p, c = power or stated_power, denominator or stated

    def test() -> Finding:
        law = statistics()[weight]
        errors = [
            float(np.linalg.norm(W - t**p / c * law) / np.linalg.norm(W))
            for t, W in zip(TIMES[1:], path().weights[weight][1:], strict=True)
        ]
        slope = float(np.polyfit(np.log(TIMES[1:-1]), np.log(errors[:-1]), 1)[0])
        sentence = f"relative error ~ tau^{slope:.2f}, {errors[-1]:.1%} at tau = 1"
        return judged(abs(slope - 1.0) < 0.1, sentence, slope=slope, error_at_1=errors[-1])

    return Claim(
        f"C {weight}",
        SOURCE,
        f"{weight} = tau^{p}/{c:g} x its corpus statistic, relative error linear in tau",
        "AttentionOnly, one layer, from zero; a toy Markov corpus of 12 words",
        "fitted exponent of the error within 0.1 of 1",
        test,
    )


def sums_claim() -> Claim:
    """Rows of B sum to zero."""

    def test() -> Finding:
        B = statistics()["W_U"]
        off = float(np.abs(B.sum(axis=1)).max() / np.abs(B).max())
        return judged(off < 1e-13, f"largest row sum {off:.1e} of the largest entry", row_sum=off)

    return Claim("C sums", SOURCE, "the rows of B sum to zero", "toy corpus", "below 1e-13", test)


def claims() -> tuple[Claim, ...]:
    """The four laws and the sums."""
    return (*map(tau_claim, LAWS), sums_claim())
