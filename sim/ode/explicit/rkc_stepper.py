"""One integration by the stabilised method RKC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.problem import Problem
from ..stepper import StepControl
from .register_stepper import RegisterStepper
from .rkc_steps import N_ROWS, advance

if TYPE_CHECKING:
    from ..methods.rkc import Stabilised


class RkcStepper(RegisterStepper):
    """The compiled loop of `rkc_steps`; parameters as in `RegisterStepper`."""

    for_stiff = True

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: Stabilised, control: StepControl
    ) -> None:  # fmt: skip
        self._radius = np.zeros(2)  # spectral radius and its age
        super().__init__(problem, y0, t0, t1, method, control, N_ROWS)
        self._places = self._listed(self._radius)

    def _loop(self) -> int:
        return advance(self._places)
