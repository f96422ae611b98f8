"""A Jacobian by differences, an evaluation for each unknown, for equations with more fast directions than secants tell.

It is formed once secants have taken as many evaluations in vain as it takes itself: where it turns out to be of no use,
it has cost no more than they had already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ...kernel.threads.blas_threads import one_blas_thread, threads_given

USUAL = 3  # evaluations of one step; more of them are in vain. Flows with few fast directions take 1.5 to 2
MANY = 40  # evaluations in vain that are no accident
SMALL = 1e-4  # of the largest entry of a state: smaller ones are moved as this is
SPARSE = 0.02  # part of entries that are not zero, up to which factors are sparse
NEAR = 0.3  # part by which h may differ from that of the factors


class Jacobian:
    """Solves ``d - h J d = residual`` for n unknowns once it is learnt, which it is for no more of them than `most`."""

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
        """Count the evaluations of one more step; whether as many were in vain as the Jacobian takes."""
        self._vain = max(0, self._vain + calls - USUAL)
        return self.allowed and self._vain > self._n

    def learn(
        self, f: Callable[[np.ndarray], np.ndarray], y: np.ndarray, rounding: float, least: float,
        halted: Callable[[], bool],
    ) -> bool:  # fmt: skip
        """Take differences of f at y (n,), each entry moved by `least` at the least; whether all are finite.

        `y` is written to and restored. It ends as soon as `halted` says so, and has learnt nothing then.
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

        Factors serve for all h near one another. In directions that are fast the step by those of another h is too
        long by h / that, in slow ones it is right: it is divided by the mean.
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
