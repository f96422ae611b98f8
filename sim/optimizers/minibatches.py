"""Minibatches on the side of theory: their mean, or the very batches of a seed.

Rows are drawn with replacement, row i with probability omega_i. A batch of B then has a gradient g_B of mean g, and
entry by entry the mean of its square is ``(1 - 1/B) g o g + S/B`` with ``S = sum_i omega_i g_i o g_i``: B
pairs of a draw with itself, B (B - 1) independent ones. No factor of a finite population enters, since no draw empties
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer
from .optimizer import GD, AdamW, Momentum, Optimizer

if TYPE_CHECKING:
    from ..kernel.problem import Problem

NONE = np.zeros(0)


def checked_batch_size(batch_size: int, rows: int) -> int:
    """Return a batch size that data of `rows` distinct training sequences allow.

    Raises
    ------
    FieldError
        If it is no positive integer or exceeds the data.
    """
    size = integer("batch_size", batch_size, 1)
    if size > rows:
        raise FieldError(
            "batch_size",
            f"is {size} but the data has {rows} distinct training sequences: leave it out for the full batch.",
        )
    return size


def drawn_rows(cumulated: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of `size` rows drawn with replacement, their probabilities given by the sums up to each row."""
    drawn = np.searchsorted(cumulated, rng.random(size), side="right")
    return np.minimum(drawn, len(cumulated) - 1)


class GradientRows:
    """Of which rows the gradients of a run are; by default of all of them."""

    keep = 1.0  # factor of g o g in a second moment

    def begun(self) -> GradientRows:
        """Rows for one run from its first step, with memory of their own."""
        return self

    def seeded(self, seed: int | None) -> GradientRows:
        """The same with the batches of another seed, where there are any."""
        return self

    def slope(self, problem: Problem, y: np.ndarray, out: np.ndarray) -> None:
        """Write minus the gradient of the next batch at a state (n,), or its mean, to `out`."""
        problem(0.0, y, out)

    def noise(self, y: np.ndarray) -> np.ndarray:
        """What the mean square of a gradient holds besides `keep` g o g at a state: (n,), or nothing."""
        return NONE


class FullBatch(GradientRows):
    """All rows at every step."""


class MeanBatches(GradientRows):
    """The mean over all minibatches, of the gradient and of its square.

    Parameters
    ----------
    squares : Problem
        It writes S, in the layout of the gradient.
    size : int
        Sequences per batch, B.
    optimizer : Optimizer
        One whose mean step follows from these two means.

    Raises
    ------
    FieldError
        If the optimizer's does not.
    """

    def __init__(self, squares: Problem, size: int, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, (GD, Momentum, AdamW)):
            raise FieldError(
                "batch_size",
                f"is {size}, but the mean step of {optimizer.label} hangs on more than two moments of the gradient: "
                "give a `seed`, or use GD, Momentum or AdamW.",
            )
        self.squares, self.size, self.optimizer = squares, size, optimizer
        self.asked = isinstance(optimizer, AdamW)  # to a linear update the mean of the square is of no use
        self.keep = 1.0 - 1.0 / size

    def begun(self) -> MeanBatches:
        """The same with memory of its own."""
        return MeanBatches(self.squares.with_own_memory(), self.size, self.optimizer)

    def noise(self, y: np.ndarray) -> np.ndarray:
        """S/B, a new array."""
        if not self.asked:
            return NONE
        out = np.empty_like(y)
        self.squares(0.0, y, out)
        out /= self.size
        return out


class DrawnBatches(GradientRows):
    """The batches that training draws with the same seed, one after the other.

    Parameters
    ----------
    weighted : Problem
        Minus the gradient, its state followed by the weights of the rows of the logits.
    weights, counts : ndarray, shape (m,)
        Of the training sequences, summing to 1; how many rows of the logits each of them has.
    size, seed : int
        Sequences per batch; seed of the generator.
    """

    def __init__(
        self, weighted: Problem, weights: np.ndarray, counts: np.ndarray, size: int, seed: int
    ) -> None:
        self.weighted, self.weights, self.counts = weighted, weights, counts
        self.size, self.seed = size, seed
        self.rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._out = np.empty(weighted.n)

    def begun(self) -> DrawnBatches:
        """The same batches from the first."""
        return DrawnBatches(self.weighted.with_own_memory(), self.weights, self.counts, self.size, self.seed)

    def seeded(self, seed: int | None) -> DrawnBatches:
        """The batches of another seed."""
        if seed is None:
            return self
        return DrawnBatches(self.weighted, self.weights, self.counts, self.size, seed)

    def slope(self, problem: Problem, y: np.ndarray, out: np.ndarray) -> None:
        """Minus the gradient of the next batch."""
        drawn = drawn_rows(np.cumsum(self.weights), self.size, self.rng)
        shares = np.bincount(drawn, minlength=len(self.weights)) / self.size
        rows = np.repeat(shares / self.counts, self.counts)
        self.weighted(0.0, np.concatenate([y, rows]), self._out)
        out[:] = self._out[: len(y)]
