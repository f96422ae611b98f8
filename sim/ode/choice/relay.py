"""A stepper that leaves the steps to another one, and what all who change their method share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..stepper import Stepper

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


@dataclass(frozen=True)
class StayTerms:
    """When a stabilised method is looked at, in accepted steps, and how dear it may be.

    Attributes
    ----------
    settling : int
        Its first steps, which say nothing of its cost: they are short.
    trial, again, later : int
        Steps after those until it is first judged, until it is judged anew where that left it in doubt, and from each
        look to the next once it has paid.
    worth : float
        How many of its calls are held for one of the method before.
    doubt : float
        How much dearer than that it may be at the first look, and, once it has paid, at any other: two methods that
        cost about the same are not to take turns, as each change costs some steps that are short.
    """

    settling: int = 5
    trial: int = 5
    again: int = 20
    later: int = CHECK
    worth: float = 1.0
    doubt: float = 1.5


class Judged(Protocol):
    """What a stay asks of a stepper."""

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        ...

    @property
    def radius(self) -> float:
        """Largest |eigenvalue| of the Jacobian."""
        ...

    @property
    def swept(self) -> float:
        """Integral of `radius` over flow time."""
        ...

    def counts(self) -> Mapping[str, float]:
        """Return "rhs_calls"."""
        ...


class Stay:
    """Judges the stabilised method at each look, by counted calls alone.

    The method before was held down by stability: its steps are in inverse proportion to the spectral radius of the
    Jacobian, and its calls in proportion to the integral of that over flow time, which a method that knows the radius
    has at hand (`Stepper.swept`). In a flow whose loss goes on falling all rates fall; a method that is cheap against
    the calls of the other when that was left can then be dear against those that it would take by now.

    Parameters
    ----------
    cost : float
        Calls per unit of flow time of the method before, when it was left.
    terms : StayTerms
        Of the stay.

    Attributes
    ----------
    look : int
        Accepted steps at the next look.
    paid : bool
        Whether it did at a look.
    """

    def __init__(self, cost: float, terms: StayTerms) -> None:
        self._cost, self._terms = cost, terms
        self._known = self.paid = False  # whether the cost is that of what is swept
        self.resume()

    def resume(self) -> None:
        """Go on with a stepper begun anew."""
        self._swept, self._calls, self._looks = 0.0, 0.0, 0
        self.look = self._terms.settling

    def pays(self, stepper: Judged) -> bool:
        """Whether to go on with a stepper that has come to the look; sets the next one."""
        terms, now, total = self._terms, stepper.swept, stepper.counts()["rhs_calls"]
        swept, calls = now - self._swept, total - self._calls
        self._swept, self._calls = now, total
        self._looks += 1
        if self._looks == 1:
            self.look = stepper.accepted + terms.trial
            if not stepper.radius > 0.0:  # nothing is stiff
                return False
            if not self._known:
                self._cost *= terms.worth / stepper.radius
                self._known = True
            return True
        expected = self._cost * swept
        self.paid |= calls <= expected
        self.look = stepper.accepted + (terms.later if self.paid else terms.again)
        return calls <= expected * (terms.doubt if self.paid or self._looks == 2 else 1.0)
