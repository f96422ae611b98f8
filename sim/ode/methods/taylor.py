"""Taylor: the series of the solution itself, for smooth flows of small states.

A. Jorba, M. Zou, A software package for the numerical integration of ODEs by means of high-order Taylor methods,
Experimental Mathematics 14 (2005) 99-117: order from the tolerance, step from the last two coefficients. The loop is in
`smallinit.sim.ode.taylor.series_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .method import Method

if TYPE_CHECKING:
    import numpy as np

    from ...kernel.problem import Problem
    from ..stepper import Lanes, StepControl, Stepper


@dataclass(frozen=True)
class TaylorMethod(Method):
    """A method whose order follows from the tolerance, or is given.

    Attributes
    ----------
    name, reference : str
        As in `Method`.
    fixed_order : int or None
        Order of the series; None takes it from `rtol`.
    switching : bool
        Whether lanes leave members that have become stiff to RKC, as those of an ensemble do by themselves.

    Raises
    ------
    ValueError
        If `fixed_order` is not within [2, 60].
    """

    name: str = "taylor"
    reference: str = "Jorba, Zou, Exp. Math. 14 (2005) 99"
    fixed_order: int | None = None
    switching: bool = False
    in_lanes = True

    def __post_init__(self) -> None:
        """Refuse orders that are none."""
        order = self.fixed_order
        if order is not None and not (isinstance(order, int) and 2 <= order <= 60):
            raise ValueError(f"`fixed_order` must be an integer from 2 to 60 or None, got {order!r}.")

    def prepare(self, problem: Problem) -> None:
        """Write the problem's table out as a program of series, or refuse it."""
        from ..taylor.series_program import series_program

        series_program(problem)

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        from ..taylor.taylor_stepper import TaylorStepper

        return TaylorStepper(problem, y0, t0, t1, self, control)

    def begin_lanes(self, problem: Problem, rtol: float, starts: Any, span: Any, saves: Any) -> Lanes:
        """Start one integration from each of `starts` (batch, n); see `Lanes`."""
        from ..taylor.series_lanes import SeriesLanes
        from ..taylor.switching_lanes import SwitchingLanes

        kind = SwitchingLanes if self.switching else SeriesLanes
        return kind(problem, self.order(rtol), rtol, starts, span, saves, self.name)

    def order(self, rtol: float) -> int:
        """Order for a relative tolerance: a term less costs more in steps than it saves."""
        return self.fixed_order or max(4, math.ceil(3.0 - 0.5 * math.log(max(rtol, 1e-16))))


TAYLOR = TaylorMethod()
