"""What a step towards a pole was: its stages, and points of its dense output, as linear forms of y and of slopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .pole_rows import forms

if TYPE_CHECKING:
    from ..methods.tableau import RungeKutta, StepTable


class LastStep:
    """A step of size h by a method at a distance tau from a pole; see `approach`.

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
