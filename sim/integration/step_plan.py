"""What an optimizer and its steps ask for, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import integer
from ..ode.methods import Method
from ..optimizers.optimizer import Optimizer
from ..optimizers.schedule import Clock
from .integrate import RTOL
from .optimized import TOLERANCE, method_of, outcome_in_time
from .save_steps import save_steps


@dataclass(frozen=True)
class StepPlan:
    """The steps of one optimizer.

    Attributes
    ----------
    optimizer : Optimizer
        What moves the weights.
    steps : int
        How many.
    saves : ndarray of int
        Steps to keep.
    method : Method
        How they are taken.
    clock : Clock
        Flow times of the steps.
    """

    optimizer: Optimizer
    steps: int
    saves: np.ndarray
    method: Method
    clock: Clock

    @classmethod
    def of(
        cls, optimizer: Any, steps: Any, save_at: Any, method: Any, rtol: float, beside: Mapping[str, Any]
    ) -> StepPlan:
        """Check what was asked for; `beside` are arguments that do not go with it, by name.

        Raises
        ------
        FieldError
            If one of the two is missing, one of `beside` is given, or a value is out of range.
        """
        if not isinstance(optimizer, Optimizer):
            hint = (
                "give one, such as AdamW(learning_rate=1e-3)." if optimizer is None else "use GD, AdamW, ..."
            )
            raise FieldError("optimizer", f"must be an Optimizer with `steps`, got {optimizer!r}: {hint}")
        if steps is None:
            raise FieldError("steps", "is missing: an `optimizer` moves by steps, not to a flow time.")
        for name, value in beside.items():
            if value is not None:
                raise FieldError(
                    name, f"is {value!r} beside an `optimizer`, which counts `steps`: leave it out."
                )
        count = integer("steps", steps, 0)
        tolerance = TOLERANCE if rtol == RTOL else rtol
        return cls(
            optimizer,
            count,
            save_steps(save_at, count),
            method_of(optimizer, method, tolerance),
            optimizer.clock(count),
        )

    def in_time(self, member: Mapping[str, Any]) -> dict[str, Any]:
        """What was found of one member, with flow times in place of steps."""
        outcome = outcome_in_time(member["outcome"], self.clock, self.optimizer)
        return {**member, "t": self.clock.time(member["t"]), "outcome": outcome}
