"""What evaluations near one another tell of the Jacobian, and a Newton step by that alone.

Pairs (s, J s) of a difference of states and that of its slopes, the newest few, kept from step to step: the directions
in which a flow is stiff are few and turn slowly. D. G. Anderson, J. ACM 12 (1965) 547; as a quasi-Newton method with
several secants at once: H. Fang, Y. Saad, Numer. Linear Algebra Appl. 16 (2009) 197. Sums run over fixed lanes: same
bits for any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import float64, int64, types

from ...kernel.cache import compiled
from ..explicit.between_steps import interpolate
from ..explicit.sums.arithmetic import BLOCK

if TYPE_CHECKING:
    from .jacobian import Jacobian

_LOST = 1e-14  # part of the largest pivot below which a direction is one that others span already


@compiled(types.void(float64[:, ::1], int64, float64[::1], float64[::1], float64[:, ::1]))
def dots(rows, m, x, out, lanes):
    """Write the products of x (n,) with the first m rows to `out`."""
    n = x.size
    width = min(n, BLOCK)
    for j in range(m):
        for i in range(width):
            lanes[j, i] = 0.0
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        b = x[lo:hi]
        for j in range(m):
            a, total = rows[j, lo:hi], lanes[j]
            for i in range(hi - lo):
                total[i] += a[i] * b[i]
    for j in range(m):
        out[j] = 0.0
        for i in range(width):
            out[j] += lanes[j, i]


class Secants:
    """The newest `most` pairs of unit steps and their slopes for a state of n entries, 2 `most` vectors in all."""

    def __init__(self, most: int, n: int) -> None:
        self._s, self._t = np.zeros((most, n)), np.zeros((most, n))
        self._lanes = np.empty((most, BLOCK))
        self._ss, self._st, self._tt = (np.zeros((most, most)) for _ in range(3))  # st[i, j] = s_i . t_j
        self._columns = np.arange(most, dtype=np.int64)
        self._count = self._next = 0

    def add(self, step: np.ndarray, slope: np.ndarray) -> None:
        """Keep a pair (n,), (n,) in the place of the oldest; nothing of a step too short to tell."""
        length = float(np.sqrt(self._products(step[None], 1, step)[0]))
        if not 0.0 < length < np.inf or not np.isfinite(slope).all():
            return
        k, most = self._next, len(self._s)
        np.multiply(step, 1.0 / length, out=self._s[k])
        np.multiply(slope, 1.0 / length, out=self._t[k])
        self._count, self._next = min(self._count + 1, most), (k + 1) % most
        m = self._count
        self._ss[k, :m] = self._ss[:m, k] = self._products(self._s, m, self._s[k])
        self._tt[k, :m] = self._tt[:m, k] = self._products(self._t, m, self._t[k])
        self._st[k, :m] = self._products(self._t, m, self._s[k])
        self._st[:m, k] = self._products(self._s, m, self._t[k])

    def forget(self) -> None:
        """Keep no pair."""
        self._count = self._next = 0

    def newton(self, residual: np.ndarray, h: float, out: np.ndarray, base: Jacobian | None = None) -> None:
        """Write the step d with ``d - h J d = residual`` to `out` (n,).

        J is what the pairs tell of it, and in other directions that of `base` if it is known, else 0.
        """
        m = self._count
        if base is not None and not base.known:
            base = None
        if m == 0:
            out[:] = residual if base is None else base.newton(residual, h)
            return
        gram = self._ss - h * (self._st + self._st.T) + h * h * self._tt
        right = self._products(self._s, m, residual) - h * self._products(self._t, m, residual)
        weights = _least(gram[:m, :m], right)
        columns = self._columns[:m]
        interpolate(out[None], residual, self._t, self._columns, columns, weights[None], h)
        if base is not None:  # it takes the part of the residual that the pairs do not
            rest = np.empty((1, out.size))
            interpolate(rest, out, self._s, self._columns, columns, weights[None], -1.0)
            interpolate(
                out[None], base.newton(rest[0], h), self._s, self._columns, columns, weights[None], 1.0
            )

    def _products(self, rows: np.ndarray, m: int, x: np.ndarray) -> np.ndarray:
        out = np.empty(m)
        dots(rows, m, x, out, self._lanes)
        return out


def _least(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations without the directions that are lost in rounding."""
    size = 1.0 / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(gram * size[:, None] * size)
    kept = values > _LOST * values[-1]
    return size * (vectors[:, kept] @ ((vectors[:, kept].T @ (size * right)) / values[kept]))
