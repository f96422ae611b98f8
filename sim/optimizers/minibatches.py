"""What minibatches do to the mean path of an optimizer: they feed Adam's second moment.

Rows are drawn with replacement, row i with probability omega_i. A batch of B then has a gradient g_B of mean g, and entry by
entry the mean of its square is ``(1 - 1/B) g o g + S/B`` with ``S = sum_i omega_i g_i o g_i``: B pairs of a draw with itself,
B (B - 1) independent ones. No factor for a finite population enters, since no draw empties it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer
from ..kernel.problem import Problem
from .optimizer import GD, AdamW, Momentum, Optimizer

MEAN_KNOWN = (GD, Momentum, AdamW)  # the mean step follows from the first two moments of the gradient


def checked_batch_size(batch_size: int, optimizer: Optimizer, rows: int) -> int:
    """Return a batch size that `optimizer` and data of `rows` distinct training sequences allow.

    Raises
    ------
    FieldError
        If it is no positive integer or exceeds the data, or the optimizer's mean step is not known.
    """
    size = integer("batch_size", batch_size, 1)
    if size > rows:
        raise FieldError(
            "batch_size",
            f"is {size} but the data has {rows} distinct training sequences: leave it out for the full batch.",
        )
    if not isinstance(optimizer, MEAN_KNOWN):
        raise FieldError(
            "batch_size",
            f"is {size}, but the mean step of {optimizer.label} on minibatches hangs on more than two moments of the "
            "gradient: use GD, Momentum or AdamW, or leave it out.",
        )
    return size


@dataclass(frozen=True)
class Minibatches:
    """The second moment of a minibatch's gradient.

    Attributes
    ----------
    squares : Problem
        It writes S, in the layout of the gradient.
    size : int
        Sequences per batch, B.
    """

    squares: Problem
    size: int

    @property
    def keep(self) -> float:
        """Factor 1 - 1/B of g o g."""
        return 1.0 - 1.0 / self.size

    def extra(self, y: np.ndarray) -> np.ndarray:
        """S/B at a state (n,), a new array."""
        out = np.empty_like(y)
        self.squares(0.0, y, out)
        out /= self.size
        return out
