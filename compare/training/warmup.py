"""Learning rates that change over the steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer, real


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up to the learning rate, then half a cosine down to a part of it, where it stays.

    Parameters
    ----------
    warmup : int
        Steps of the warm-up; 0 for none.
    total : int
        Step at which the cosine ends; a run may stop before or after it.
    final : float
        Last rate over the largest, in (0, 1].

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    warmup: int
    total: int
    final: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        integer("warmup", self.warmup, 0)
        integer("total", self.total, self.warmup + 1)
        if not 0.0 < real("final", self.final) <= 1.0:
            raise FieldError("final", f"must lie in (0, 1], got {self.final}.")

    def factor(self, step: int) -> float:
        """Rate of optimizer step number `step` (from 0) over the largest rate."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        part = min((step - self.warmup) / (self.total - self.warmup), 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + cos(pi * part))

    def elapsed(self, steps: np.ndarray) -> np.ndarray:
        """Sum of the factors of all steps before each of `steps`: flow time in units of the largest rate."""
        factors = [self.factor(step) for step in range(int(steps.max(initial=0)))]
        return np.concatenate([[0.0], np.cumsum(factors)])[steps]
