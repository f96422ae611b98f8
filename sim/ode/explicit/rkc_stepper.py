"""One integration by the stabilised method RKC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.problem import Problem
from ..stepper import StepControl, stiff_remedy
from .register_stepper import STIFF, RegisterStepper
from .rkc_steps import N_RADIUS, N_ROWS, RADIUS, SPARE, SWEPT, advance, longest

if TYPE_CHECKING:
    from ..methods.rkc import Stabilised

# accuracy holds the steps of a stiff problem down: a higher order takes fewer, which cost more the more unknowns
OF_HIGHER_ORDER = (
    '; use a larger `rtol`, a higher limit, or method="bdf" if the stiff problem has few unknowns.'
)
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
        radius = float(self._radius[RADIUS])
        if self.h >= HELD * longest.py_func(radius):
            return stiff_remedy(self.method.stiff_cure)
        if self.h * radius > STIFF:
            return OF_HIGHER_ORDER
        return '; use a larger `rtol`, a higher limit, or method="dop853" if the problem is not stiff.'

    def _loop(self) -> int:
        return advance(self._places)
