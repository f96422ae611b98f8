"""The scales of weights at which errors are measured: downwards from small logits, denser where errors fall fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...sim.compile.logits import logits
from ...theory.data.dataset import Dataset
from ...theory.models.model import Model
from .power_fit import FEWEST, LARGEST_ROUNDING

LARGEST_LOGIT = 3.0  # beyond it the loss saturates, and what is left of its gradient has lost digits
GRID = 2.0 ** np.arange(2.0, -26.0, -0.25)
ONE_DECADE = 14  # scales that are computed at least
# Points of the grid are passed over where errors fall slowly: at most an octave, and by half of a decade of the error.
WIDEST, FARTHEST_FALL = 4, 0.5


def stride(octaves: np.ndarray, errors: Sequence[np.ndarray]) -> int:
    """Points of the grid to the next scale, by how fast the error falls that falls fastest and is no rounding yet."""
    if len(errors) < FEWEST:
        return 1
    before, last = errors[-2:]
    above = (last > LARGEST_ROUNDING) & (before > 0) & np.isfinite(before + last)
    if not above.any():
        return WIDEST // 2  # the plateau, whose height is wanted
    fall = np.log10(before[above] / last[above]).max() / (octaves[-2] - octaves[-1])
    return int(np.clip(FARTHEST_FALL * WIDEST / max(fall, 0.1), 1, WIDEST))


def largest_logit(
    model: Model, data: Dataset, direction: Mapping[str, np.ndarray], eps: float, closure: str = "exact"
) -> float:
    """Largest logit of the network and of the closure's own."""
    weights = model.scaled(direction, eps)
    with np.errstate(over="ignore", invalid="ignore"):
        found = [logits(model, weights, data.sequences, kind) for kind in dict.fromkeys(("exact", closure))]
    largest = max(float(np.abs(f).max()) for f in found)
    return largest if np.isfinite(largest) else np.inf
