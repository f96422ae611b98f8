"""A Jacobian by differences, an evaluation for each unknown, for equations with more fast directions than secants tell.

It is formed once secants have wasted as many evaluations as it takes itself: where it turns out to be of no use, it has
cost no more than they had already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ...kernel.threads.blas_threads import one_blas_thread, threads_given

USUAL = 3  # evaluations of one step; any more are in vain. Flows with few fast directions take 1.5 to 2
MANY = 40  # evaluations in vain that are no accident
SMALL = 1e-4  # of the largest entry of a state: smaller entries are moved as far as this one would be
SPARSE = 0.02  # up to this part of entries other than zero the factors are sparse
NEAR = 0.3  # relative difference of h from that of the factors, up to which they serve


class Jacobian:
    """The Jacobian J of n unknowns, learnt only if they are no more than `most`; solves ``d - h J d = residual``."""

    def __init__(self, n: int, most: int) -> None:
        self._n, self._most, self._vain = n, most, 0
        self._matrix: Any = None
        self._h, self._solve = np.nan, np.copy

    @property
    def known(self) -> bool:
        """Whether it is learnt."""
        return self._matrix is not None

    @property
    def missed(self) -> bool:
        """Whether many evaluations were in vain of late."""
        return self._vain > MANY

    @property
    def allowed(self) -> bool:
        """Whether the unknowns are not too many for it."""
        return self._n <= self._most

    def due(self, calls: int) -> bool:
        """Count the evaluations of one more step; whether more were in vain by now than the Jacobian takes."""
        self._vain = max(0, self._vain + calls - USUAL)
        return self.allowed and self._vain > self._n

    def learn(
        self, f: Callable[[np.ndarray], np.ndarray], y: np.ndarray, rounding: float, least: float,
        halted: Callable[[], bool],
    ) -> bool:  # fmt: skip
        """Take differences of f at y (n,), each entry moved by at least `least`; whether all are finite.

        `y` is written to and restored. Where `halted` says so it ends at once, with nothing learnt.
        """
        self._vain, n = 0, y.size
        base, matrix = f(y).copy(), np.empty((n, n), order="F")
        moves = np.maximum(np.sqrt(rounding) * np.maximum(np.abs(y), SMALL * np.abs(y).max()), least)
        for j, move in enumerate(np.copysign(moves, y)):
            kept = y[j]
            y[j] += move
            np.subtract(f(y), base, out=matrix[:, j])
            matrix[:, j] /= y[j] - kept
            y[j] = kept
            if halted():
                return False
        if not np.isfinite(matrix).all():
            return False
        if np.count_nonzero(matrix) <= SPARSE * matrix.size:
            from scipy.sparse import csc_matrix

            matrix = csc_matrix(matrix)
        self._matrix, self._h = matrix, np.nan
        return True

    def newton(self, residual: np.ndarray, h: float) -> np.ndarray:
        """Return the step d (n,); it is not finite where the equation is singular.

        Factors made for one h serve for others near it. Such a step is too long by h over that one in fast directions
        and right in slow ones: it is divided by the mean of both.
        """
        if not abs(h / self._h - 1.0) <= NEAR:
            with _one_thread():
                self._solve = (_dense if isinstance(self._matrix, np.ndarray) else _sparse)(self._matrix, h)
            self._h = h
        return self._solve(residual) * (2.0 / (1.0 + h / self._h))


def _one_thread() -> AbstractContextManager[None]:
    """The same bits for any number of threads."""
    return one_blas_thread() if threads_given() > 1 else nullcontext()


def _dense(jacobian: np.ndarray, h: float) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.linalg.lapack import dgetrf, dgetrs

    matrix = -h * jacobian
    np.einsum("ii->i", matrix)[:] += 1.0
    factors, pivots, _ = dgetrf(matrix, overwrite_a=True)
    return lambda residual: dgetrs(factors, pivots, residual)[0]


def _sparse(jacobian: Any, h: float) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.sparse import identity
    from scipy.sparse.linalg import splu

    try:
        return splu((identity(jacobian.shape[0], format="csc") - h * jacobian).tocsc()).solve
    except RuntimeError:  # exactly singular
        return lambda residual: np.full_like(residual, np.nan)
