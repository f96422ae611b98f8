"""RKC: the stabilised explicit method of order 2 of Sommeijer, Shampine and Verwer.

B. P. Sommeijer, L. F. Shampine, J. G. Verwer, RKC: an explicit solver for parabolic PDEs, J. Comput. Appl. Math. 88
(1998) 315-326. With s stages it is stable for real negative eigenvalues up to .65 s^2 / h, the spectrum of a gradient
flow near its end; the loop is in `smallinit.sim.ode.explicit.rkc_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bdf import BDF
from .method import Method

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from ..stepper import StepControl, Stepper


@dataclass(frozen=True, eq=False, repr=False)
class Stabilised(Method):
    """A method whose number of stages follows from the step size and the spectral radius.

    Attributes
    ----------
    name, order, error_order, dense_order, interpolant, reference, safety
        As in `RungeKutta`.
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    interpolant: Callable[[np.ndarray], np.ndarray]
    reference: str
    safety: float = 0.9
    retry = 0.8
    least = 0.1
    stiff_cure = f'a higher limit, method="bdf" for up to {BDF.most_unknowns:,} unknowns,'

    def prepare(self, problem: Problem) -> None:
        """Load the compiled loop."""
        from ..explicit import rkc_stepper

        del problem, rkc_stepper

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        from ..explicit.rkc_stepper import RkcStepper

        return RkcStepper(problem, y0, t0, t1, self, control)

    def __repr__(self) -> str:
        """Name and orders."""
        return f"Stabilised({self.name!r}, order={self.order}, dense_order={self.dense_order})"


def _hermite(theta: np.ndarray) -> np.ndarray:
    """Weights (m, 6) of f at the start, (y_new - y) / h and f at the end, at fractions `theta` (m,) of the step."""
    x = np.asarray(theta, dtype=np.float64)
    weights = np.zeros((x.size, 6))
    weights[:, 0] = x * (1.0 - x) ** 2
    weights[:, 1] = x * x * (3.0 - 2.0 * x)
    weights[:, 4] = x * x * (x - 1.0)
    return weights


RKC = Stabilised(
    name="rkc",
    order=2,
    error_order=3,
    dense_order=3,
    interpolant=_hermite,
    reference="Sommeijer, Shampine, Verwer, J. Comput. Appl. Math. 88 (1998) 315",
)
