"""Claims of arXiv 2510.06954 about the two stages of a small attention classifier."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .. import exact
from ..dataset import Dataset
from ..flow import Flow, derive
from ..models import ScalarClassifier
from .claim import Claim, Finding, judged

if TYPE_CHECKING:
    from ...sim import Trajectory

SOURCE = "arXiv 2510.06954"
MODEL = ScalarClassifier(8, 5, 3, 4)
SETTING = (
    "stage 1 (order=3) of ScalarClassifier, exponential loss, 40 sequences of 4 tokens, entries of size 0.1"
)


@lru_cache(maxsize=1)
def data() -> Dataset:
    """Random sequences with two labels."""
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 8, (40, 4)), rng.integers(0, 2, 40), 8)


@lru_cache(maxsize=2)
def flow(closure: str = "order=3") -> Flow:
    """The values' flow of the first stage, in which keys and queries stand still; or "leading", in which they move."""
    return derive(MODEL, closure)


def start(seed: int) -> dict[str, np.ndarray]:
    """Random weights with entries of size 0.1."""
    rng = np.random.default_rng(seed)
    return {name: 0.1 * rng.normal(size=shape) for name, shape in MODEL.weights.items()}


@lru_cache(maxsize=1)
def direction() -> tuple[np.ndarray, float]:
    """Unit vector v = normalised mean of y x, and the norm that rescales time."""
    values = MODEL.data_matrices(data())
    M = np.asarray(values["C_mean"].T @ (values["omega"] * values["Y"])).ravel()
    return M / np.linalg.norm(M), float(np.linalg.norm(M))


def run(seed: int) -> Trajectory:
    """The first stage up to 99.99 % of its blow-up time."""
    from ...sim import integrate

    end = 0.9999 * _blow_up_time(start(seed))
    return integrate(flow(), data(), start(seed), t1=end, save_at=21, rtol=1e-10)


def conservation_claim(
    names: tuple[str, ...] = ("W_V.T*W_V - W_in*W_in.T", "W_in.T*W_in - W_out*W_out.T"),
) -> Claim:
    """Balances that the flow conserves."""

    def test() -> Finding:
        proved = {str(i) for i in flow().invariants}
        missing = [name for name in names if name not in proved]
        said = "all proved symbolically" if not missing else f"not conserved: {', '.join(missing)}"
        return judged(not missing, said, proved=len(names) - len(missing), stated=len(names))

    return Claim(
        "B conservation",
        SOURCE,
        " and ".join(names) + " are constant",
        SETTING,
        "the time derivative vanishes symbolically",
        test,
    )


def bracket_claim(factor: float = 3.0**0.5, power: float = -1.0 / 3.0, seeds: int = 100) -> Claim:
    """sqrt(3)/|theta0| <= T* <= E0^(-1/3) in time rescaled by |mean y x|."""

    def test() -> Finding:
        v, rate = direction()
        inside, tried, nearest = 0, 0, np.inf
        for seed in range(seeds):
            w = start(seed)
            row = v @ w["W_V"]
            energy = float(row @ w["W_in"] @ w["W_out"][:, 0])
            if energy < 0.0:  # the upper bound is for E0 > 0, which a change of sign provides
                w["W_out"], energy = -w["W_out"], -energy
            theta = np.concatenate([row, w["W_in"].ravel(), w["W_out"].ravel()])
            blow_up = rate * _blow_up_time(w)
            low, high = factor / np.linalg.norm(theta), energy**power
            inside, tried = inside + (low <= blow_up <= high), tried + 1
            nearest = min(nearest, blow_up / low)
        return judged(
            inside == tried,
            f"{inside} of {tried} starts inside; the closest to the lower bound {nearest:.2f} times it",
            inside=inside,
            tried=tried,
            nearest=nearest,
        )

    return Claim(
        "B blow-up",
        SOURCE,
        "sqrt(3)/|theta0| <= T* <= E0^(-1/3)",
        SETTING + f"; {seeds} starts, time in units of |mean y x|",
        "every blow-up time lies inside",
        test,
    )


def _blow_up_time(weights: dict[str, np.ndarray]) -> float:
    from ...sim import integrate

    return integrate(flow(), data(), weights, t1=1e9, save_at=2, rtol=1e-7).outcome.t


def condensation_claim(law=exact.condensation_cosine, seeds: int = 5) -> Claim:
    """Columns of W_V align with v; their cosine is a / sqrt(a^2 + frozen^2)."""

    def test() -> Finding:
        v, _ = direction()
        off, last = 0.0, 1.0
        for seed in range(seeds):
            path, first = run(seed), start(seed)["W_V"]
            frozen = np.linalg.norm(first - np.outer(v, v @ first), axis=0)
            for W_V in path.weights["W_V"]:
                along = v @ W_V
                off = max(off, float(np.abs(law(along, frozen) - along / np.linalg.norm(W_V, axis=0)).max()))
            last = min(
                last,
                float(
                    np.abs(
                        v @ path.weights["W_V"][-1] / np.linalg.norm(path.weights["W_V"][-1], axis=0)
                    ).min()
                ),
            )
        return judged(
            off < 1e-8,
            f"largest difference {off:.1e}; smallest |cosine| at the last saved time {last:.3f}",
            difference=off,
            cosine=last,
        )

    return Claim(
        "B condensation",
        SOURCE,
        "cos(W_V column, v) = a / sqrt(a^2 + |frozen part|^2)",
        SETTING,
        "along the whole flow within 1e-8",
        test,
    )


def stage_two_claim(sign: float = 1.0, flip: bool = True) -> Claim:
    """With the outer weights held, dW_Q/dt = F W_K and dW_K/dt = F^T W_Q."""

    def test() -> Finding:
        rng, w = np.random.default_rng(1), start(1)

        def rates(Q: np.ndarray, K: np.ndarray) -> dict[str, np.ndarray]:
            return flow("leading").rhs(data(), w | {"W_Q": Q, "W_K": K})

        d_head, d_vocab = MODEL.d_head, MODEL.d_vocab
        blocks = []
        for first in range(0, d_vocab, d_head):  # F, from unit keys
            unit = np.zeros((d_vocab, d_head))
            width = min(d_head, d_vocab - first)
            unit[first : first + width, :width] = np.eye(width)
            blocks.append(rates(np.zeros_like(unit), unit)["W_Q"][:, :width])
        F = np.concatenate(blocks, axis=1)
        Q, K = rng.normal(size=(2, d_vocab, d_head))
        found, other = rates(Q, K), F.T if flip else F
        off = max(
            float(np.linalg.norm(found["W_Q"] - F @ K) / np.linalg.norm(F @ K)),
            float(np.linalg.norm(found["W_K"] - sign * other @ Q) / np.linalg.norm(other @ Q)),
        )
        order = flow("leading").residual_order["W_Q"]
        return judged(
            off < 1e-10,
            f"largest relative difference {off:.1e}; what is dropped is eps^{order:g} smaller",
            difference=off,
            residual_order=order,
        )

    return Claim(
        "B stage 2",
        SOURCE,
        "dW_Q/dt = F W_K, dW_K/dt = F^T W_Q",
        "leading flow of ScalarClassifier, exponential loss; outer weights held",
        "F read off unit keys; random keys and queries within 1e-10",
        test,
    )


def collapse_claim(rate: float = 1.0) -> Claim:
    """sigma_2 / sigma_1 of W_Q decays like exp(-(sigma_1 - sigma_2) t)."""

    def test() -> Finding:
        rng = np.random.default_rng(2)
        F, Q, K = rng.normal(size=(6, 6)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
        S = np.linalg.svd(F, compute_uv=False)
        t = 12.0 / (S[0] - S[1])
        ratios = [np.linalg.svd(exact.key_query(s, F, Q, K)[0], compute_uv=False) for s in (t, 1.1 * t)]
        measured = -np.log((ratios[1][1] / ratios[1][0]) / (ratios[0][1] / ratios[0][0])) / (0.1 * t)
        return judged(
            abs(measured - rate * (S[0] - S[1])) < 0.01 * measured,
            f"measured rate {measured:.4f}, gap {S[0] - S[1]:.4f}",
            measured=measured,
            gap=S[0] - S[1],
        )

    return Claim(
        "B collapse",
        SOURCE,
        "sigma_2/sigma_1 of W_Q decays at the rate sigma_1(F) - sigma_2(F)",
        "random F, 6 x 6",
        "rate within 1 %",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """Conservation, blow-up, condensation, the second stage."""
    return conservation_claim(), bracket_claim(), condensation_claim(), stage_two_claim(), collapse_claim()
