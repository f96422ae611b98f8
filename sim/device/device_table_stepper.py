"""Explicit Runge-Kutta methods on a device: the loop of `table_steps`, with vectors that stay there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..ode.codes import RUNNING, UNDERFLOW
from ..ode.explicit import registers as r
from ..ode.explicit.acceptance import GO, HALTED
from ..ode.explicit.single_steps import landing, pause, settle
from ..ode.stepper import StepControl
from .device_stepper import DeviceStepper
from .tensor_program import TensorProgram
from .vectors import add_row, combine_row, growth_of, mean_square, numbers, tolerated

if TYPE_CHECKING:
    from ..ode.methods.tableau import RungeKutta


class DeviceTableStepper(DeviceStepper):
    """One integration by the table of a method; parameters as in `DeviceStepper`."""

    method: RungeKutta

    def __init__(
        self, program: TensorProgram, y0: np.ndarray, t0: float, t1: float, method: RungeKutta, control: StepControl
    ) -> None:  # fmt: skip
        self._dense_ready = -1
        super().__init__(program, y0, t0, t1, method, control, method.stages + 1)
        self._rows = np.arange(method.stages + 1 + len(method.c_extra), dtype=np.int64)

    def _loop(self) -> int:
        ctl, cnt, method = self._ctl, self._cnt, self.method
        while (code := pause(ctl, cnt)) == GO:
            t_new = landing(ctl, ctl[r.H])
            if np.isnan(t_new):
                return UNDERFLOW
            h = t_new - float(ctl[r.T])
            self._swap(method.stages)
            cnt[r.BUDGET] -= 1
            found = self._trial(t_new, h)
            if found[0] == HALTED:
                return RUNNING
            settle(ctl, cnt, self._log, t_new, h, *found)
        return code

    def _trial(self, t_new: float, h: float) -> tuple[float, float, float]:
        """One trial step into the spare state: error norm (tolerance = 1), or `HALTED`, |y|^2 and y . f."""
        method, table, old, new = self.method, self.method.step_rows, self._old, self._spare
        s, t = method.stages, self.t
        for i in range(1, s):
            combine_row(new, old, self._slopes, self._rows, table, i, h)
            self._evaluate(min(t + float(method.c[i]) * h, t_new), new, self._slope(i))
            if self._cnt[r.HALT]:
                return HALTED, 0.0, 0.0
        combine_row(new, old, self._slopes, self._rows, table, s, h)
        if method.error_needs_new:  # a good step wants no more than this, so both are asked for at once
            self._evaluate(t_new, new, self._slope(s))
            squares = numbers(*self._squares(old, new), *self._growth())
            return _error(squares[:-2], h), squares[-2], squares[-1]
        err = _error(numbers(*self._squares(old, new)), h)
        if not (np.isfinite(err) and (err <= 1.0 or self._cnt[r.FIXED])):
            return err, 0.0, 0.0
        self._evaluate(t_new, new, self._slope(s))
        yy, yf = numbers(*self._growth())
        return err, yy, yf

    def _squares(self, old: torch.Tensor, new: torch.Tensor) -> list[torch.Tensor]:
        """Mean squares of the error estimates, relative to the tolerance."""
        method, scale = self.method, tolerated(old, new, self._ctl[r.RTOL], self._ctl[r.ATOL])
        rows = range(method.stages + 1, method.stages + 1 + len(method.e))
        table = method.step_rows
        errors = (add_row(torch.zeros_like(old), self._slopes, self._rows, table, i, 1.0) for i in rows)
        return [mean_square(error, scale) for error in errors]

    def _growth(self) -> tuple[torch.Tensor, torch.Tensor]:
        return growth_of(self._spare, self._slope(self.method.stages), float(self._ctl[r.NORM]))

    def _prepare_dense(self) -> None:
        """Evaluate the extra stages of the last step, once, and only for methods that have some."""
        method, extra = self.method, len(self.method.c_extra)
        if not extra or self._dense_ready == self.accepted:
            return
        if len(self._slopes) == method.stages + 1:
            self._slopes = torch.cat([self._slopes, self._slopes.new_empty((extra, self.problem.n))])
        h, before, point = float(self._ctl[r.H_LAST]), self._spare, torch.empty_like(self._spare)
        for i, c in enumerate(method.c_extra.tolist()):
            combine_row(point, before, self._slopes, self._rows, method.extra_rows, i, h)
            self._evaluate(self.t_before + c * h, point, self._slope(method.stages + 1 + i))
        self._dense_ready = self.accepted


def _error(squares: list[float], h: float) -> float:
    """Error norm of a step of size h, of one estimate or of two; see `RungeKutta.e`."""
    if len(squares) == 1:
        return abs(h) * float(np.sqrt(squares[0]))
    fifth, third = squares
    if fifth == 0.0 and third == 0.0:
        return 0.0
    return abs(h) * fifth / float(np.sqrt(fifth + 0.01 * third))
