"""One step towards a pole (see `approach`): the rows of its table, and the dense output of the last one.

Importing compiles the rows or loads them, so only runs that take such a step import this.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import float64, types

from ...kernel.cache import compiled
from ...kernel.calls._operands import part, shaped
from ...kernel.inner import INNER, helper
from .approach import before
from .registers import (
    ALL_ROWS,
    COUNTS,
    ERRORS,
    F1,
    F2,
    FIT_SIGNATURE,
    FITTED,
    FORMS,
    STAGES,
    reals,
    table_at,
    wholes,
)

if TYPE_CHECKING:
    from ..methods.tableau import RungeKutta, StepTable


@compiled(types.void(F2, F1, float64, float64, F2, F2))
def forms(a, c, h, tau, points, slopes):
    """Write stages of a step of size h at a distance tau, as linear forms of y and the slopes f_0 .. f_{m-1}.

    Parameters
    ----------
    a, c : ndarray, shapes (m, m), (m,)
        Table of the stages of z, the new state and points of the dense output among them.
    points, slopes : ndarray, shape (m, 1 + m)
        Forms of the states y_i and of the slopes dz/ds, the factor of y first.
    """
    m, length = c.size, before(h, tau)
    for i in range(m):
        for k in range(1 + m):
            points[i, k] = slopes[i, k] = 0.0
        points[i, 0] = 1.0
        for j in range(i):
            if a[i, j] != 0.0:
                for k in range(j + 2):
                    points[i, k] += length * a[i, j] * slopes[j, k]
        for k in range(i + 1):
            slopes[i, k] = -points[i, k]
        slopes[i, 1 + i] = tau * math.exp(-2.0 * c[i] * length)
    for i in range(m):
        growth = math.exp(c[i] * length)
        for k in range(i + 1):
            points[i, k] *= growth


@helper()
def write_rows(whole, h, tau, table, points, slopes):
    """Write the rows of a step of size h at a distance tau; see `RungeKutta.whole` and `RungeKutta.full_table`."""
    a, e, c = whole
    pointers, columns, values, lead, nodes = table
    forms(a, c, h, tau, points, slopes)
    m, length = c.size, before(h, tau)
    scale = math.exp(length) * length / h  # of an error of z to that of y
    for i in range(m):
        nodes[i], lead[i] = -tau * math.expm1(-c[i] * length) / h, points[i, 0]
        for k in range(pointers[i], pointers[i + 1]):
            values[k] = points[i, 1 + columns[k]] / h
    for row in range(m, m + e.shape[0]):
        lead[row] = 0.0
        for i in range(m):
            lead[row] += scale * e[row - m, i] * slopes[i, 0]
        for k in range(pointers[row], pointers[row + 1]):
            values[k] = 0.0
            for i in range(columns[k], m):
                values[k] += scale * e[row - m, i] * slopes[i, 1 + columns[k]]


@compiled(FIT_SIGNATURE, **INNER)
def fit(places, h, tau):
    """The same for the loop of tables, see `registers`."""
    counts = wholes(places, COUNTS)
    m, errors = counts[STAGES] + 1, counts[ERRORS]
    a, e = shaped(reals(places, ALL_ROWS), m, m), shaped(reals(places, ALL_ROWS + 1), errors, m)
    points, slopes = shaped(reals(places, FORMS), m, m + 1), shaped(reals(places, FORMS + 1), m, m + 1)
    c = part(reals(places, ALL_ROWS + 2), 0, m)
    write_rows((a, e, c), h, tau, table_at(places, FITTED), points, slopes)


class LastStep:
    """A step of size h by a method at a distance tau from a pole: stages and dense output as forms of y and of slopes.

    Attributes
    ----------
    points, slopes : ndarray, shape (m, 1 + m)
        States and slopes in the time of the pole, of all m stages, extra ones too; the factor of y first.
    """

    def __init__(self, method: RungeKutta, h: float, tau: float) -> None:
        self.method, self.h, self.tau = method, h, tau
        (wide, _, c), first = method.whole, method.stages + 1
        m = first + len(method.c_extra)
        table = np.zeros((m, m))
        table[:first, :first], table[first:] = wide, method.a_extra
        self.length = -float(np.log1p(-h / tau))
        self.points, self.slopes = np.empty((m, 1 + m)), np.empty((m, 1 + m))
        forms(table, np.append(c, method.c_extra), h, tau, self.points, self.slopes)

    def extra(self) -> StepTable:
        """Rows of the stages that only the dense output needs."""
        points = self.points[self.method.stages + 1 :]
        nodes = -self.tau * np.expm1(-self.method.c_extra * self.length) / self.h
        return self.method.step_table_of(points[:, 1:] / self.h, points[:, 0].copy(), nodes)

    def weights(self, since: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `RegisterStepper._weights`."""
        passed = -np.log1p(-since / self.tau)
        weights = self.method.interpolant(passed / self.length)
        inside = self.length * weights @ self.slopes[: weights.shape[1]]
        inside[:, 0] += 1.0
        inside *= np.exp(passed)[:, None]
        return inside[:, 0].copy(), inside[:, 1 : 1 + weights.shape[1]] / self.h
