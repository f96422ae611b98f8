"""One integration by Taylor series, in the first lane of `SeriesLanes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernel.problem import Problem
from ..stepper import NotFiniteAtStart, StepControl, Stepper
from . import series_steps as kernel
from .series_lanes import SeriesLanes

if TYPE_CHECKING:
    from ..methods.taylor import TaylorMethod


class TaylorStepper(Stepper):
    """One member in lanes that are idle otherwise.

    Stability sets no limit of its own here, and a blow-up is read off the radius of convergence.
    """

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: TaylorMethod, control: StepControl
    ) -> None:  # fmt: skip
        self.name, self.t0, self.y0 = method.name, t0, y0.copy()
        slope = np.empty_like(self.y0)
        problem(t0, self.y0, slope)
        if not np.all(np.isfinite(slope)):
            raise NotFiniteAtStart(t0)
        span, saves = np.array([[t0, t1, control.atol]]), np.empty((1, 0))
        self.lanes = SeriesLanes(
            problem, method.order(control.rtol), control.rtol, self.y0[None], span, saves
        )
        self.fixed = control.fixed_step or 0.0

    def _lane(self, row: int) -> float:
        return float(self.lanes.lane[row, 0])

    @property
    def t(self) -> float:
        """Flow time reached."""
        return self._lane(kernel.T) if self.accepted else self.t0

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return self._lane(kernel.T_PREV) if self.accepted else self.t0

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,)."""
        if not self.accepted:
            return self.y0
        # A series that left the range of numbers has spoilt its sum; its first coefficients are the last good state.
        return self.lanes.zeroth() if self.last_trial_bad else self.lanes.new[:: kernel.LANES]

    @property
    def h(self) -> float:
        """Size of the last step that the series allowed."""
        return float(self.lanes.found[0, kernel.STEP])

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        return int(self.lanes.count[0, kernel.STEPS])

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return int(self.lanes.count[0, kernel.CODE]) == kernel.NOT_FINITE

    def counts(self) -> dict[str, int]:
        """Return accepted and rejected steps and evaluations of the flow."""
        return self.lanes.counts()

    def blow_up(self, resolution: float) -> float | None:
        """Time of the pole, from the radius of convergence."""
        return self.lanes.star()

    def remedy(self) -> str:
        """Name what fits: stiffness, or just a higher limit."""
        return self.lanes.remedy()

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps until `t` reaches `stop`, `budget` rounds are used or `limit` steps were made in all."""
        self.lanes.run(limit, budget, min(stop, 1e308), self.fixed)
        code = int(self.lanes.count[0, kernel.CODE])
        return kernel.UNDERFLOW if code == kernel.NOT_FINITE else code

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        scale = self._lane(kernel.SCALE)
        for t, row in zip(times, out, strict=True):
            if t == self.t:
                row[:] = self.y
            else:
                x = (t - self.t_before) / scale
                kernel.evaluate(self.lanes.work, self.lanes.order, 0, x, row)
