"""A stay with a stabilised method: whether it pays against what the method before would take by now."""

from __future__ import annotations

from dataclasses import dataclass

from .relay import CHECK
from .stepper import Stepper


@dataclass(frozen=True)
class Terms:
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
    terms : Terms
        Of the stay.

    Attributes
    ----------
    look : int
        Accepted steps at the next look.
    paid : bool
        Whether it did at a look.
    """

    def __init__(self, cost: float, terms: Terms) -> None:
        self._cost, self._terms = cost, terms
        self._swept, self._calls, self._looks = 0.0, 0, 0
        self.look, self.paid = terms.settling, False

    def pays(self, stepper: Stepper) -> bool:
        """Whether to go on with a stepper that has come to the look; sets the next one."""
        terms, now, total = self._terms, stepper.swept, stepper.counts()["rhs_calls"]
        swept, calls = now - self._swept, total - self._calls
        self._swept, self._calls = now, total
        self._looks += 1
        if self._looks == 1:
            self.look = stepper.accepted + terms.trial
            if not stepper.radius > 0.0:  # nothing is stiff
                return False
            self._cost *= terms.worth / stepper.radius
            return True
        expected = self._cost * swept
        self.paid |= calls <= expected
        self.look = stepper.accepted + (terms.later if self.paid else terms.again)
        return calls <= expected * (terms.doubt if self.paid or self._looks == 2 else 1.0)
