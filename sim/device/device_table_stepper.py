"""Explicit Runge-Kutta methods on a device: the loop of `table_steps`, with vectors that stay there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..ode.codes import RUNNING, UNDERFLOW
from ..ode.explicit import registers as r
from ..ode.explicit.acceptance import GO, HALTED
from ..ode.explicit.approach import NONE, believed
from ..ode.stepper import StepControl
from .device_stepper import DeviceStepper
from .single_steps import distance, landing, pause, settle, write_rows
from .tensor_program import TensorProgram
from .vectors import bend_of, combine_row, growth_of, mean_square, numbers, tolerated

if TYPE_CHECKING:
    from ..ode.methods.tableau import RungeKutta, StepTable


class DeviceTableStepper(DeviceStepper):
    """One integration by the table of a method; parameters as in `DeviceStepper`."""

    method: RungeKutta

    def __init__(
        self, program: TensorProgram, y0: np.ndarray, t0: float, t1: float, method: RungeKutta, control: StepControl
    ) -> None:  # fmt: skip
        self._dense_ready = -1
        super().__init__(program, y0, t0, t1, method, control, method.stages + 1)
        self._rows = np.arange(method.stages + 1 + len(method.c_extra), dtype=np.int64)
        self._fitted, self._cnt[r.MIDDLE] = method.full_table(), method.middle

    def _loop(self) -> int:
        ctl, cnt, method = self._ctl, self._cnt, self.method
        while (code := pause(ctl, cnt)) == GO:
            t_new = landing(ctl, ctl[r.H])
            if np.isnan(t_new):
                return UNDERFLOW
            h = t_new - float(ctl[r.T])
            self._swap(method.stages)
            cnt[r.BUDGET] -= 1
            table = method.step_table
            if np.isfinite(tau := float(ctl[r.TAU])):
                table = self._fitted[0]
                write_rows(method.whole, h, tau, *self._fitted)
            found = self._trial(t_new, h, table)
            if found[0] == HALTED:
                return RUNNING
            settle(ctl, cnt, self._log, t_new, h, *found)
        return code

    def _trial(self, t_new: float, h: float, table: StepTable) -> tuple[float, float, float]:
        """One trial step into the spare state: error norm (tolerance = 1), or `HALTED`, |y|^2 and y . f."""
        method, old, new = self.method, self._old, self._spare
        s, t = method.stages, self.t
        for i in range(1, s):
            combine_row(new, old, self._slopes, self._rows, table, i, h)
            self._evaluate(min(t + float(table[4][i]) * h, t_new), new, self._slope(i))
            if self._cnt[r.HALT]:
                return HALTED, 0.0, 0.0
        combine_row(new, old, self._slopes, self._rows, table, s, h)
        if method.error_needs_new:  # a good step wants no more than this, so both are asked for at once
            self._evaluate(t_new, new, self._slope(s))
            found = numbers(*self._squares(old, new, table), *self._growth())
            errors = len(method.e)
            return _error(found[:errors], h), *self._look_ahead(found[errors:], table, h)
        err = _error(numbers(*self._squares(old, new, table)), h)
        if not (np.isfinite(err) and (err <= 1.0 or self._cnt[r.FIXED])):
            return err, 0.0, 0.0
        self._evaluate(t_new, new, self._slope(s))
        return err, *self._look_ahead(numbers(*self._growth()), table, h)

    def _look_ahead(self, found: list[float], table: StepTable, h: float) -> tuple[float, float]:
        """Note the distance of a pole from the end of the step, as `table_steps` does; |y|^2 and y . f."""
        yy, yf, *bend = found
        part = float(table[4][self._cnt[r.MIDDLE]])
        looked = self._cnt[r.MIDDLE] and not self._cnt[r.FIXED]
        tau = distance(*bend, part, h) if looked else NONE
        self._ctl[r.TAU_END] = tau if believed.py_func(tau, yy, yf) else NONE
        return yy, yf

    def _squares(self, old: torch.Tensor, new: torch.Tensor, table: StepTable) -> list[torch.Tensor]:
        """Mean squares of the error estimates, relative to the tolerance."""
        method, scale = self.method, tolerated(old, new, self._ctl[r.RTOL], self._ctl[r.ATOL])
        rows = range(method.stages + 1, method.stages + 1 + len(method.e))
        room = torch.empty_like(old)
        errors = (combine_row(room, old, self._slopes, self._rows, table, i, 1.0) for i in rows)
        return [mean_square(error, scale) for error in errors]

    def _growth(self) -> tuple[torch.Tensor, ...]:
        y, scale, last = self._spare, float(self._ctl[r.NORM]), self._slope(self.method.stages)
        middle = self._slope(int(self._cnt[r.MIDDLE]))
        return *growth_of(y, last, scale), *bend_of(self._slope(0), middle, last, y, scale)

    def _prepare_dense(self) -> None:
        """Evaluate the extra stages of the last step, once, and only for methods that have some."""
        method, extra = self.method, len(self.method.c_extra)
        if not extra or self._dense_ready == self.accepted:
            return
        if len(self._slopes) == method.stages + 1:
            self._slopes = torch.cat([self._slopes, self._slopes.new_empty((extra, self.problem.n))])
        last = self._last
        table = method.extra_table if last is None else last.extra()
        h, before, point = float(self._ctl[r.H_LAST]), self._spare, torch.empty_like(self._spare)
        for i, c in enumerate(table[4].tolist()):
            combine_row(point, before, self._slopes, self._rows, table, i, h)
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
