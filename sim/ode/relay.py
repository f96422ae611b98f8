"""A stepper that leaves the steps to another one, and what all who change their method share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .stepper import Stepper

CHECK = 40  # accepted steps between two looks at the stiffness


def in_words(chosen: Sequence[tuple[str, float]]) -> str:
    """Methods, each but the first with the flow time from which it was used."""
    return ", ".join(name if i == 0 else f"{name} from t = {t:.6g}" for i, (name, t) in enumerate(chosen))


class Relay(Stepper):
    """Hands on to the stepper at work, which may be another one later.

    Attributes
    ----------
    at_work : Stepper
        The one that takes the steps now.
    """

    at_work: Stepper
    _halted = False

    @property
    def t(self) -> float:
        """Flow time reached."""
        return self.at_work.t

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return self.at_work.t_before

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,)."""
        return self.at_work.y

    @property
    def h(self) -> float:
        """Size of the next trial step."""
        return self.at_work.h

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return self.at_work.last_trial_bad

    def history(self) -> np.ndarray:
        """Growth of the accepted steps of the one at work."""
        return self.at_work.history()

    def halt(self) -> None:
        """Hand on to the one at work, and have those after it halted."""
        self._halted = True
        self.at_work.halt()

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        self.at_work.dense(times, out)

    def stiffness(self) -> float:
        """Step size x largest |eigenvalue| of the Jacobian."""
        return self.at_work.stiffness()

    def remedy(self) -> str:
        """What helps the one at work."""
        return self.at_work.remedy()
