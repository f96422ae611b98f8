"""The update rules of all optimizers on a flat state, one step or several with an extrapolated gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from ..kernel.problem import Problem
from .optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from .schedule import Clock

NONE = np.zeros(0)


@dataclass(eq=False)
class Polynomial:
    """Gradient over the coming steps: c0 + j (c1 + j c2) at step j from here; parts that are left out count as 0."""

    c0: np.ndarray
    c1: np.ndarray = field(default_factory=lambda: NONE)
    c2: np.ndarray = field(default_factory=lambda: NONE)

    @property
    def order(self) -> int:
        """Degree in the step."""
        return 2 if self.c2.size else 1 if self.c1.size else 0

    def at(self, j: int) -> np.ndarray:
        """Gradient j steps from here."""
        value = self.c0.copy()
        if self.c1.size:
            value += j * self.c1
        if self.c2.size:
            value += (j * j) * self.c2
        return value


class Updates:
    """Carries a flat state and its moments over steps of an optimizer.

    Parameters
    ----------
    optimizer : Optimizer
        Its rates and decays are those of `problem`'s moving weights.
    problem : Problem
        Layout of the state.
    clock : Clock
        Rates of the steps.
    """

    def __init__(self, optimizer: Optimizer, problem: Problem, clock: Clock) -> None:
        self.optimizer, self.clock = optimizer, clock
        each = optimizer.of_weights((*problem.layout, *problem.frozen))
        self.parts = [
            (offset, offset + prod(shape), shape, *each[name])
            for name, (offset, shape) in problem.layout.items()
        ]

    def start(self, n: int) -> list[np.ndarray]:
        """Moments before the first step."""
        return [np.zeros(n) for _ in self.optimizer.moments]

    def take(
        self,
        y: np.ndarray,
        moments: list[np.ndarray],
        step: int,
        count: int,
        gradient: Polynomial,
        keep: float = 1.0,
        extra: np.ndarray = NONE,
    ) -> None:
        """Take `count` steps from number `step` on, in place.

        `keep` g^2 + `extra` feeds Adam's second moment.
        """
        rates = self.clock.rates[step : step + count]
        for low, high, shape, kappa, decay in self.parts:
            part = (low, high, kappa * rates if kappa != 1.0 else rates, decay)
            self._weight(y, moments, step, gradient, part, shape, keep, extra)

    def _weight(self, y, moments, step, gradient, part, shape, keep, extra) -> None:
        from . import _updates as kernels  # compiled for those who ask

        o, (low, high, rates, decay) = self.optimizer, part
        polynomial = (gradient.c0, gradient.c1, gradient.c2, gradient.order, low, high, rates)
        if isinstance(o, GD):
            kernels.descend(y, *polynomial, decay)
        elif isinstance(o, Momentum):
            kernels.roll(y, moments[0], *polynomial, decay, o.momentum, int(o.nesterov))
        elif isinstance(o, AdamW):
            numbers = np.arange(step + 1, step + 1 + len(rates), dtype=np.float64)
            first, second = (1.0 - beta**numbers for beta in o.betas)
            kernels.adapt(y, *moments, *polynomial, first, second, decay, *o.betas, o.eps, keep, extra)
        elif isinstance(o, SignGD):
            kernels.step_signs(y, *polynomial, decay, o.eps)
        elif isinstance(o, Spectral):
            v = moments[0][low:high]
            v *= o.momentum
            v += gradient.c0[low:high]
            w = y[low:high]
            w *= 1.0 - rates[0] * decay
            w -= rates[0] * polar(v.reshape(shape), o.eps).ravel()
        else:
            raise TypeError(f"no update rule for {type(o).__name__}; add one to sim/optimizers/updates.py.")


def polar(g: np.ndarray, eps: float) -> np.ndarray:
    """Polar factor of a matrix, singular values s taken to s / sqrt(s^2 + (eps s_max)^2)."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    if s[0] == 0.0:
        return np.zeros_like(g)
    return (u * (s / np.sqrt(s**2 + (eps * s[0]) ** 2))) @ vt
