"""One integration by the stabilised method RKC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.problem import Problem
from ..stepper import StepControl, stiff_remedy
from .register_stepper import STIFF, RegisterStepper
from .rkc_steps import MOST_STAGES, N_RADIUS, N_ROWS, RADIUS, SPARE, SWEPT, advance

if TYPE_CHECKING:
    from ..methods.rkc import Stabilised

FEW = '; use a larger `rtol`, a higher limit, or method="bdf" if the stiff problem has few unknowns.'
HELD = 0.5  # of the longest stable step: the radius is estimated anew on the way


class RkcStepper(RegisterStepper):
    """The compiled loop of `rkc_steps`; parameters as in `RegisterStepper`."""

    for_stiff = True

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: Stabilised, control: StepControl
    ) -> None:  # fmt: skip
        self._radius = np.zeros(N_RADIUS)  # spectral radius, its age and its integral
        super().__init__(problem, y0, t0, t1, method, control, N_ROWS)
        self._list()

    def _list(self) -> None:
        self._places = self._listed(self._radius)

    @property
    def radius(self) -> float:
        """Largest |eigenvalue| of the Jacobian, as last estimated."""
        return float(self._radius[RADIUS]) / SPARE

    @property
    def swept(self) -> float:
        """Integral of `radius` over flow time."""
        return float(self._radius[SWEPT]) / SPARE

    def remedy(self) -> str:
        """Name what fits: stability holds a step down only where it has the most stages; else it is accuracy."""
        along = self.h * float(self._radius[RADIUS])
        if 1.54 * along >= HELD * (MOST_STAGES - 1) ** 2:
            return stiff_remedy(self.method.stiff_cure)
        if (
            along > STIFF
        ):  # accuracy: stiff all the same, where a higher order takes fewer steps while n is small
            return FEW
        return '; use a larger `rtol`, a higher limit, or method="dop853" if the problem is not stiff.'

    def _loop(self) -> int:
        return advance(self._places)
