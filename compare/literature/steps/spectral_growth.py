"""Spectral descent: all modes of the data grow alike, and no plateau depends on how small the start is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ....sim.optimizers.optimizer import GD, Optimizer, Spectral
from ....theory.data.dataset import Dataset
from ....theory.flows.flow import derive
from ....theory.models.embed_unembed import EmbedUnembed
from ..claim import Claim, Finding, judged

MODEL = EmbedUnembed(6, 8)
SMALL, SMALLER = 1e-2, 1e-4
AT = (50, 100, 200)
GROWTH_WITHIN, SHIFT_WITHIN, DELAY_WITHIN = 0.05, 0.1, 0.25
Weights = dict[str, np.ndarray]


@lru_cache(maxsize=1)
def data() -> Dataset:
    """A token a class, frequencies 1/k: five modes of strengths 5 : 1."""
    every = np.arange(MODEL.d_vocab)
    frequency = 1.0 / (every + 1.0)
    return Dataset(every[:, None], every, MODEL.d_vocab, frequency / frequency.sum())


@lru_cache(maxsize=1)
def modes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular vectors and strengths of the signature matrix, read off the derived equation at unit W_U."""
    from ....sim.compile.logits import value

    size, flow = MODEL.d_vocab, derive(EmbedUnembed(MODEL.d_vocab, MODEL.d_vocab), "leading")
    unit = {"W_E": np.zeros((size, size)), "W_U": np.eye(size)}
    M = value(flow.right_hand_sides["W_E"], flow.model, unit, flow.model.data_matrices(data()))
    left, strengths, right = np.linalg.svd(M)
    kept = int(np.sum(strengths > 1e-9 * strengths[0]))
    return left[:, :kept], strengths[:kept], right[:kept].T


def start(scale: float) -> Weights:
    """Random weights."""
    rng = np.random.default_rng(0)
    return {name: scale * rng.normal(size=shape) for name, shape in MODEL.weights.items()}


def strengths(optimizer: Optimizer) -> tuple[np.ndarray, np.ndarray]:
    """Flow times, and of each mode how strongly W_E W_U holds it (times, modes), along the leading equations."""
    from ....sim.integration.integrate import integrate

    left, _, right = modes()
    path = integrate(
        derive(MODEL, "leading"), data(), start(SMALLER), steps=AT[-1], optimizer=optimizer, method="steps",
        save_at=AT,
    )  # fmt: skip
    held = left.T @ path.weights["W_E"] @ path.weights["W_U"] @ right
    return path.t, np.diagonal(held, axis1=1, axis2=2)


def first_fall(optimizer: Optimizer, scale: float, steps: int) -> float:
    """Flow time at which a twentieth of the loss is gone."""
    from ....sim.integration.integrate import integrate
    from ....theory.base.crossings import first_crossing

    path = integrate(
        derive(MODEL, "exact"), data(), start(scale), steps=steps, optimizer=optimizer, method="steps",
        save_at=range(steps + 1), observables=["loss"],
    )  # fmt: skip
    return float(first_crossing(path.t, path["loss"], 0.95 * float(path["loss"][0])))


def spectral_claim(rule: type[Optimizer] = Spectral) -> Claim:
    """All modes grow as t^2 under spectral descent, and the first fall of the loss comes when it does at any scale."""

    def test() -> Finding:
        t, held = strengths(rule(0.01))
        alike = held / t[:, None] ** 2
        off = float(np.abs(alike - 1.0).max())
        sigma = modes()[1]
        grown, plain = strengths(GD(1.0 / sigma[0] / 10))
        rates = np.log(plain[-1] / plain[-2]) / (grown[-1] - grown[-2]) / sigma
        waits = [first_fall(rule(0.01), scale, 100) for scale in (SMALL, SMALLER)]
        slow = [first_fall(GD(0.5), scale, 100) for scale in (SMALL, SMALLER)]
        shift = abs(waits[1] / waits[0] - 1.0)
        delay = (slow[1] - slow[0]) * sigma[0] / np.log(SMALL / SMALLER)
        return judged(
            off < GROWTH_WITHIN
            and abs(rates.mean() / 2.0 - 1.0) < GROWTH_WITHIN
            and shift < SHIFT_WITHIN
            and abs(delay - 1.0) < DELAY_WITHIN,
            f"strength of every mode over t^2 between {alike.min():.3f} and {alike.max():.3f}, while their sigma "
            f"differ {sigma[0] / sigma[-1]:.2g}-fold (under GD each grows at {rates.mean():.3f} sigma); a start "
            f"{SMALL / SMALLER:g} times smaller delays the loss's first fall by {shift:.1%}, under GD by {delay:.2f} "
            "log(ratio)/sigma_1",
            smallest=alike.min(),
            largest=alike.max(),
            shift=shift,
            delay=delay,
        )

    return Claim(
        "F spectral",
        "arXiv 2606.30509, 2603.00742",
        "under spectral descent all modes of W_E W_U grow alike, as t^2 at leading order, and there is no plateau that "
        "grows with log(1/eps); under gradient descent mode k grows at 2 sigma_k and waits for log(1/eps)/sigma_k",
        "EmbedUnembed, one token a class of frequency 1/k, d_model at least the number of modes; small random start",
        f"the optimizer's steps on the leading equations from entries of size {SMALLER:g}, within {GROWTH_WITHIN:.0%}; "
        f"on the exact ones from {SMALL:g} and {SMALLER:g}, when a twentieth of the loss is gone",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """The one on spectral descent."""
    return (spectral_claim(),)
