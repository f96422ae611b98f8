"""The bias towards reasoning of two trainings side by side: at equal epochs, at equal loss, and the window between.

Curves are arrays with the saved moments last: "loss/reasoning" and "loss/narrative" in nats, as `text_curves` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from ....theory.base.crossings import first_crossing

Curves = Mapping[str, np.ndarray]
MOMENTS = 2001  # at which curves are compared, evenly spaced over the epochs; the saved ones are no even grid


def bias(curves: Curves) -> np.ndarray:
    """The paper's dL = (L_narrative - L_reasoning) / L_reasoning."""
    return (curves["loss/narrative"] - curves["loss/reasoning"]) / curves["loss/reasoning"]


@dataclass(frozen=True)
class BiasWindow:
    """The longest stretch of a training in which small weights have the larger bias; nan where there is none.

    Attributes
    ----------
    opens, closes : float
        Epochs; where it is still open at the end of the training, that is the end.
    still_open : bool
        Whether it is.
    excess : float
        Bias of the small weights minus that of the large ones at the middle, (opens + closes) / 2.
    greatest : float
        The largest excess in it.
    """

    opens: float
    closes: float
    still_open: bool
    excess: float
    greatest: float

    @property
    def middle(self) -> float:
        """Epoch half way between its ends."""
        return (self.opens + self.closes) / 2.0

    @classmethod
    def between(cls, epoch: np.ndarray, small: np.ndarray, large: np.ndarray) -> BiasWindow:
        """Find it from the biases of both trainings at the same epochs (n_t,)."""
        grid = np.linspace(epoch[0], epoch[-1], MOMENTS)
        excess = np.interp(grid, epoch, small - large)
        above = np.concatenate([[False], excess > 0.0, [False]])
        edges = np.flatnonzero(np.diff(above.astype(np.int8)))
        if not edges.size:
            return cls(nan, nan, False, nan, nan)
        first, last = max(zip(edges[::2], edges[1::2], strict=True), key=lambda ends: ends[1] - ends[0])
        opens, closes = (_zero(grid, excess, first), _zero(grid, excess, last))
        middle = float(np.interp((opens + closes) / 2.0, grid, excess))
        return cls(opens, closes, bool(last == MOMENTS), middle, float(excess[first:last].max()))


def _zero(grid: np.ndarray, excess: np.ndarray, after: int) -> float:
    """Where the excess changes sign between the points before and at an index; an end of the grid if there is none."""
    if after in (0, len(grid)):
        return float(grid[0] if after == 0 else grid[-1])
    (a, b), (x, y) = excess[after - 1 : after + 1], grid[after - 1 : after + 1]
    return float(x - a * (y - x) / (b - a))


def bias_at_equal_loss(curves: Curves, which: str) -> np.ndarray:
    """Bias of trainings (...) at equal loss, the lowest that all of them come to, linear between the saved moments.

    Parameters
    ----------
    curves : mapping
        Curves (..., n_t).
    which : {"reasoning", "mean"}
        The loss that is equal: that of reasoning, or the mean of both.
    """
    reasoning = curves["loss/reasoning"]
    loss = reasoning if which == "reasoning" else (reasoning + curves["loss/narrative"]) / 2.0
    return first_crossing(bias(curves), loss, loss.min(axis=-1).max(), never=np.nan)
