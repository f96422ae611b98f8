"""BDF: backward differentiation formulae of variable order and step, for right-hand sides that are dear.

C. W. Gear, Numerical Initial Value Problems in Ordinary Differential Equations (1971); Hairer, Norsett, Wanner, Solving
Ordinary Differential Equations I, III.5. Two or three evaluations a step, whether stiff or not: what an implicit
formula needs of the Jacobian is learnt from the evaluations themselves, see `smallinit.sim.ode.secants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .method import Method

if TYPE_CHECKING:
    import numpy as np

    from ...kernel.problem import Problem
    from ..stepper import StepControl, Stepper


@dataclass(frozen=True)
class Bdf(Method):
    """Formulae of orders 1 to `most_order`.

    It holds `vectors` of the size of the state; its vector work is worth it where a right-hand side costs some thousand
    operations for each unknown.

    Attributes
    ----------
    name, reference : str
        As in `Method`.
    most_order : int
        Highest order, up to 5.
    secants : int
        How many pairs of steps and slopes stand for the Jacobian.

    Raises
    ------
    ValueError
        If `most_order` is not within [1, 5] or `secants` not within [1, 100].
    """

    name: str = "bdf"
    reference: str = "Gear, Numerical Initial Value Problems in Ordinary Differential Equations (1971)"
    most_order: int = 5
    secants: int = 20

    def __post_init__(self) -> None:
        """Refuse orders that are not stable, and no secants at all."""
        for field, value, most in (("most_order", self.most_order, 5), ("secants", self.secants, 100)):
            if not (isinstance(value, int) and 1 <= value <= most):
                raise ValueError(f"`{field}` must be an integer from 1 to {most}, got {value!r}.")

    @property
    def vectors(self) -> int:
        """How many vectors of the size of the state it holds."""
        return self.most_order + 12 + 2 * self.secants

    def prepare(self, problem: Problem) -> None:
        """Load the compiled parts."""
        from .. import bdf_stepper

        del problem, bdf_stepper

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        from ..bdf_stepper import BdfStepper

        return BdfStepper(problem, y0, t0, t1, self, control)


BDF = Bdf()
