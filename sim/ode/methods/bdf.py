"""BDF: backward differentiation formulae of variable order and step, for right-hand sides that are dear.

C. W. Gear, Numerical Initial Value Problems in Ordinary Differential Equations (1971); Hairer, Norsett, Wanner, Solving
Ordinary Differential Equations I, III.5. Two or three evaluations a step, whether stiff or not: what an implicit
formula needs of the Jacobian is learnt from the evaluations themselves, see `sim.ode.implicit.secants`. Where more
directions are fast than these tell, the Jacobian is formed by differences, see `sim.ode.implicit.jacobian`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....theory.base.validate import is_integer
from .method import Method

if TYPE_CHECKING:
    import numpy as np

    from ...kernel.problem import Problem
    from ..stepper import StepControl, Stepper


@dataclass(frozen=True)
class Bdf(Method):
    """Formulae of orders 1 to `most_order`.

    It holds `vectors` of the size of the state, and where it forms a Jacobian that and its factors. Its vector work is
    worth it where a right-hand side costs some thousand operations for each unknown.

    Attributes
    ----------
    name, reference : str
        As in `Method`.
    most_order : int
        Highest order, up to 5.
    secants : int
        How many pairs of steps and slopes stand for the Jacobian.
    most_unknowns : int
        Up to how many unknowns the Jacobian may be formed, by one evaluation for each of them, once the pairs have
        wasted as many; with 0 it never is.

    Raises
    ------
    ValueError
        If `most_order` is not within [1, 5], `secants` not within [1, 100] or `most_unknowns` not within [0, 10000].
    """

    name: str = "bdf"
    reference: str = "Gear, Numerical Initial Value Problems in Ordinary Differential Equations (1971)"
    most_order: int = 5
    secants: int = 20
    most_unknowns: int = 2048

    def __post_init__(self) -> None:
        """Refuse orders that are not stable, and no secants at all."""
        for field, least, most in (("most_order", 1, 5), ("secants", 1, 100), ("most_unknowns", 0, 10_000)):
            value = getattr(self, field)
            if not (is_integer(value) and least <= value <= most):
                raise ValueError(f"`{field}` must be an integer from {least} to {most}, got {value!r}.")

    @property
    def vectors(self) -> int:
        """How many vectors of the size of the state it holds, besides a Jacobian."""
        return self.most_order + 12 + 2 * self.secants

    def prepare(self, problem: Problem) -> None:
        """Load the compiled parts."""
        from ..implicit import bdf_stepper

        del problem, bdf_stepper

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        from ..implicit.bdf_stepper import BdfStepper

        return BdfStepper(problem, y0, t0, t1, self, control)


BDF = Bdf()
