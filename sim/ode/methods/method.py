"""What every method of integration has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ...kernel.problem import Problem
    from ..stepper import Lanes, StepControl, Stepper


class Method(ABC):
    """A way of integrating: what `solve` and `integrate` take as `method`.

    Attributes
    ----------
    name : str
        Name by which `solve` finds it.
    reference : str
        Where it comes from.
    in_lanes : bool
        Whether `begin_lanes` integrates many members of an ensemble side by side.
    """

    name: str
    reference: str
    in_lanes = False

    def prepare(self, problem: Problem) -> None:
        """Work out once what all runs of a problem share, or refuse it; before threads start."""
        del problem

    @abstractmethod
    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration from the state `y0` (n,) at flow time `t0`; it ends at `t1`."""

    def begin_lanes(self, problem: Problem, rtol: float, starts: Any, span: Any, saves: Any) -> Lanes:
        """Start one integration from each of `starts` (batch, n); see `Lanes`."""
        raise NotImplementedError(f"method {self.name!r} takes one member at a time.")
