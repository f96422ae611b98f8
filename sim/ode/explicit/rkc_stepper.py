"""One integration by the stabilised method RKC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.problem import Problem
from ..stepper import StepControl
from .register_stepper import RegisterStepper
from .rkc_steps import ROWS, advance

if TYPE_CHECKING:
    from ..methods.rkc import Stabilised


class RkcStepper(RegisterStepper):
    """The compiled loop of `rkc_steps`; parameters as in `RegisterStepper`."""

    for_stiff = True

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: Stabilised, control: StepControl
    ) -> None:  # fmt: skip
        self._radius = np.zeros(2)  # spectral radius and its age
        super().__init__(problem, y0, t0, t1, method, control, ROWS)

    def _loop(self) -> int:
        registers = (self._rows, self._ctl, self._cnt, self._log, self._buf, self._radius)
        return advance(*self._rhs, self._y, self._k, *registers)
