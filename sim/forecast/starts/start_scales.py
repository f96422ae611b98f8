"""A start as the checks and tables of scales look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, log, nan
from typing import Any

import numpy as np

from ....theory.models.model import Model
from ...optimizers.optimizer import Optimizer
from ..escape import Escape
from .signals import Signals

SMALL, LARGE = 0.5, 2.0  # mean gain below which a start is small, above which it is large


@dataclass(frozen=True, eq=False)
class StartScales:
    """A start as the checks look at it.

    Attributes
    ----------
    model, weights
        The network and its weights.
    gains : dict
        Weight name -> std x sqrt(width), for all matrices but positions.
    signals : dict
        (block, kind) -> values.
    gradient : dict
        Weight name -> gradient of the loss.
    optimizer, steps
        What will move the weights, and how often; None if not known.
    escape, free : Escape or None
        The prediction, and the one without decay.
    due : float
        Flow time of the escape at a sane rate, where it is too late for `steps` or does not come; nan elsewhere.
    """

    model: Model
    weights: Mapping[str, np.ndarray]
    gains: Mapping[str, float]
    signals: Signals
    gradient: Mapping[str, np.ndarray]
    optimizer: Optimizer | None
    steps: int | None
    escape: Escape | None
    free: Escape | None
    due: float = nan

    @property
    def gain(self) -> float:
        """Geometric mean of the gains; 0 for a start at zero."""
        values = [g for g in self.gains.values() if g > 0.0]
        return exp(sum(map(log, values)) / len(values)) if values else 0.0

    @property
    def regime(self) -> str:
        """One of "small", "usual", "large"."""
        return "small" if self.gain < SMALL else "usual" if self.gain <= LARGE else "large"

    @property
    def gamma(self) -> float:
        """Exponent of the mean gain, width^(1/2 - gamma), at the mean width; infinite at zero."""
        return exponent(self.gain, self.mean_width)

    @property
    def mean_width(self) -> float:
        """Geometric mean of the widths."""
        return exp(float(np.mean([log(self.model.width(name)) for name in self.gains])))

    def largest(self, kind: str) -> float:
        """Largest rms of a kind of signal over the blocks; 0 where there is none."""
        return max((rms(v) for (_, k), v in self.signals.items() if k == kind), default=0.0)


def exponent(gain: float, width: float) -> float:
    """Gamma for which std = width^-gamma has this gain."""
    return 0.5 - log(gain) / log(width) if gain > 0.0 and width > 1.0 else inf


def matched_exponent(gamma: float, width: float, to: float) -> float:
    """Gamma for which weights of another width have the std x sqrt(width) that `gamma` gives at `width`."""
    return exponent(width ** (0.5 - gamma), to)


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values)))) if np.size(values) else 0.0
