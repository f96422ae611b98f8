"""Rare classes: their loss falls slowly under gradient descent, and as fast as any under sign descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp

from ....sim.optimizers.optimizer import Optimizer, SignGD
from ....theory.algebra.matrices import product
from ....theory.algebra.nodes import Matrix
from ....theory.data.dataset import Dataset
from ....theory.data.inputs import COUNTS, weight
from ....theory.flows.flow import Flow, derive
from ....theory.models.model import Model
from ..claim import Claim, Finding, judged

CLASSES = 8
LATE, STEPS, RATE = np.logspace(5, 7, 5), 1000, 0.01
SLOPE_WITHIN, EXPONENT_WITHIN = 0.01, 0.01
SETTING = (
    f"logits C W, one token a class, {CLASSES} classes of frequency pi_k ~ 1/k, cross-entropy of each class on its "
    "own, W = 0 at the start"
)


@dataclass(frozen=True)
class TokenTable(Model):
    """A row of logits for every token: softmax regression on one-hot inputs."""

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W."""
        return (weight("W", "d_vocab", "d_vocab"),)

    @property
    def logits(self) -> Matrix:
        """C W."""
        return product(COUNTS, *self.weight_symbols)


@lru_cache(maxsize=1)
def table() -> tuple[Flow, Dataset, np.ndarray]:
    """The exact flow, the data and the frequencies of the classes."""
    frequency = 1.0 / np.arange(1, CLASSES + 1)
    frequency /= frequency.sum()
    every = np.arange(CLASSES)
    return derive(TokenTable(CLASSES), "exact"), Dataset(every[:, None], every, CLASSES, frequency), frequency


def losses(logits: np.ndarray) -> np.ndarray:
    """Loss of each class (times, classes), of logits (times, classes, classes), without cancellation."""
    gap = logits - np.diagonal(logits, axis1=1, axis2=2)[:, :, None]
    return np.log1p(np.exp(np.where(np.eye(CLASSES, dtype=bool), -np.inf, gap)).sum(axis=2))


def frequency_claim(power: float = -1.0, optimizer: Callable[[float], Optimizer] = SignGD) -> Claim:
    """Class k's loss falls as 1/(pi_k t) under gradient descent, and as exp(-2 t) under sign descent."""

    def test() -> Finding:
        from ....sim.integration.integrate import integrate

        flow, data, frequency = table()
        start = {"W": np.zeros((CLASSES, CLASSES))}
        path = integrate(flow, data, start, t1=float(LATE[-1]), save_at=LATE, rtol=1e-8)
        late = losses(path.weights["W"])
        in_time = np.polyfit(np.log(path.t), np.log(late), 1)[0]
        in_frequency = np.polyfit(np.log(frequency), np.log(late.T), 1)[0]
        prefactor = late[-1] * frequency * path.t[-1] * CLASSES / (CLASSES - 1)
        rule, saved = optimizer(RATE), [STEPS // 2, STEPS]
        run = integrate(flow, data, start, steps=STEPS, optimizer=rule, method="steps", save_at=saved)
        first, last = losses(run.weights["W"])
        rates = np.log(first / last) / (run.t[-1] - run.t[0])
        worst = max(np.abs(s - power).max() for s in (in_time, in_frequency))
        spread = float(np.abs(rates / 2.0 - 1.0).max())
        return judged(
            worst < SLOPE_WITHIN and spread < EXPONENT_WITHIN,
            f"under gradient flow the loss of class k falls with power {np.mean(in_time):.3f} of time and "
            f"{np.mean(in_frequency):.3f} of its frequency, as {np.mean(prefactor):.3f} (1 - 1/V)/(pi_k t); under "
            f"{rule.label} as exp(-c t) with c from {rates.min():.4f} to {rates.max():.4f}",
            power_of_time=np.mean(in_time),
            power_of_frequency=np.mean(in_frequency),
            prefactor=np.mean(prefactor),
            slowest=rates.min(),
            fastest=rates.max(),
        )

    return Claim(
        "F frequency",
        "arXiv 2402.19449, 2505.19227",
        f"with the loss on its own, class k falls as (pi_k t)^{power:g} under gradient descent, and as exp(-2 t), "
        "whatever its frequency, under sign descent",
        SETTING,
        f"integrated exact flow at t = {LATE[0]:g} .. {LATE[-1]:g}, powers within {SLOPE_WITHIN}; {STEPS} steps of "
        f"sign descent at rate {RATE}, exponents within {EXPONENT_WITHIN:.0%}",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """The one on class frequencies."""
    return (frequency_claim(),)
