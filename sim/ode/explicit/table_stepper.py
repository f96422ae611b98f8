"""One integration by an explicit Runge-Kutta method, whatever its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.alignment import aligned
from ...kernel.calls._operands import address_of
from ...kernel.problem import Problem
from ..stepper import StepControl
from . import registers as r
from .register_stepper import RegisterStepper
from .table_steps import UNFITTED, advance

if TYPE_CHECKING:
    from ..methods.tableau import RungeKutta


class TableStepper(RegisterStepper):
    """The compiled loop of `table_steps` with the table of one method; parameters as in `RegisterStepper`."""

    method: RungeKutta

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: RungeKutta, control: StepControl
    ) -> None:  # fmt: skip
        self._dense_ready = -1
        super().__init__(problem, y0, t0, t1, method, control, method.stages + 1)
        self._rows = np.arange(method.stages + 1 + len(method.c_extra), dtype=np.int64)
        self._cnt[[r.STAGES, r.ERRORS]] = method.stages, len(method.e)
        self._cnt[[r.NEEDS_NEW, r.MIDDLE]] = method.error_needs_new, method.middle
        self._list()

    def _list(self) -> None:
        self._cnt[r.FIT] = 0  # room for it is made anew
        self._places = self._listed(*self.method.step_table, self.method.sharing)

    def _loop(self) -> int:
        code = advance(self._places)
        if code == UNFITTED:
            self._make_room_to_fit()
            code = advance(self._places)
        return code

    def _make_room_to_fit(self) -> None:
        """Have what steps towards a pole need: compiled code that writes their rows, and room for these."""
        from .pole_rows import fit  # compiled for those who meet a pole

        method = self.method
        table, *forms = method.full_table()
        self._room = *table, method.shared_in(table), *forms
        self._places = self._listed(*method.step_table, method.sharing, *self._room, *method.whole)
        self._cnt[r.FIT] = address_of(fit, r.FIT_SIGNATURE)

    def stage_stiffness(self) -> float:
        """Step size x |difference of slopes| / |difference of states| of the last two stages, both at the step's end.

        Hairer, Wanner II, section IV.2; it costs no evaluation. After a rejected step the stages are none of a pair.
        """
        s, method = self.method.stages, self.method
        pair = s > 1 and method.c[-1] == 1.0 and self.accepted > 0 and not self._cnt[r.RETRIED]
        if not pair:
            return self.stiffness()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            slopes = self._k[self._rows[s]] - self._k[self._rows[s - 1]]
            last = self._last
            if last is None:
                apart = (method.b - method.a[s - 1]) @ self._k[self._rows[:s]] * self._ctl[r.H_LAST]
            else:
                between = last.points[s] - last.points[s - 1]
                apart = between[0] * self._y[1 - self._cnt[r.CUR]]
                apart += between[1 : s + 1] @ self._k[self._rows[:s]]
            # of numpy, which divides by the 0 of a state at rest
            found = self.h * np.linalg.norm(slopes) / np.linalg.norm(apart)
        return float(found) if np.isfinite(found) else 0.0

    def _prepare_dense(self) -> None:
        """Evaluate the extra stages of the last step, once, and only for methods that have some."""
        method = self.method
        if not len(method.c_extra) or self._dense_ready == self.accepted:
            return
        if len(self._k) == method.stages + 1:
            slopes, self._k = self._k, aligned(len(self._rows), self.problem.n)
            self._k[: len(slopes)] = slopes
            self._places[r.SLOPES] = r.begins(self._k)[0]
        from .dense_stages import extra_stages  # compiled for those who ask

        last = self._last
        table = method.extra_table if last is None else last.extra()
        problem = self.problem
        data = problem.floats, problem.ints, problem.work
        extra_stages(
            r.address_of(problem.rhs), *data, self._y, self._k, self._rows, table, self._ctl, self._cnt
        )
        self._dense_ready = self.accepted
