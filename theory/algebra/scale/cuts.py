"""What a truncated network keeps of its activations, attention and normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import sympy as sp

from ..scalars.series_at_zero import taylor

SEARCH_DEGREE = 24  # Taylor coefficients searched for an activation's first term


@dataclass(frozen=True)
class Truncation:
    """What is kept.

    Attributes
    ----------
    activation : int or None
        Highest power kept of every activation, at least its first non-zero term; None keeps it whole.
    attention : int or None
        Highest power of the scores kept: 0 is the average; None keeps the softmax whole.
    linear : bool
        Whether normalisations are taken to be linear, x eps^(-1/2), as they are where the mean square of x lies far
        below eps; else they are functions of directions, kept whole.
    """

    activation: int | None = None
    attention: int | None = None
    linear: bool = False

    def degree(self, function: sp.Lambda) -> float:
        """Highest power kept of a function."""
        return inf if self.activation is None else max(self.activation, leading_degree(function))

    @property
    def scores(self) -> float:
        """Highest power of the scores kept."""
        return inf if self.attention is None else self.attention


def leading_degree(function: sp.Lambda) -> int:
    """Power of the first non-zero Taylor term of a function that vanishes at 0."""
    for degree in (1, 2, 3, SEARCH_DEGREE):
        for i, c in enumerate(taylor(function, degree)):
            if i and c != 0:
                return i
    raise ValueError(f"the activation {function.expr} has no Taylor term up to x^{SEARCH_DEGREE}.")
