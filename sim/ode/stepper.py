"""What the loop around an integration sees of a method: the contract that every stepper keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .blowup import blow_up_time
from .outcome import Outcome


@dataclass(frozen=True)
class StepControl:
    """What a stepper is told about its steps.

    Attributes
    ----------
    rtol, atol : float
        Relative and absolute tolerance per entry of the state.
    first_step : float or None
        First trial step in flow time; None lets the method choose.
    fixed_step : float or None
        Size of all steps whatever their error; None lets the error choose.
    """

    rtol: float
    atol: float
    first_step: float | None = None
    fixed_step: float | None = None


REMEDY = "; use a larger `rtol` or a higher limit."  # where nothing better is known


def stiff_remedy(cure: str) -> str:
    """What helps where stability holds steps down, for an `Outcome`; follows the words "the step size is .."."""
    return f" and held down by stability (the problem is stiff), not accuracy: use {cure} or shorten t1."


class NotFiniteAtStart(ValueError):
    """The right-hand side is nan or inf where an integration is to begin."""

    def __init__(self, t: float) -> None:
        self.t = t
        super().__init__(
            f"the right-hand side must be finite at the start, got nan or inf at t = {t:g};"
            " check the size of the start and the data."
        )

    def __reduce__(self) -> tuple[type[NotFiniteAtStart], tuple[float]]:
        """Restore from the time: an error must survive its way out of a worker process."""
        return type(self), (self.t,)


class Stepper(ABC):
    """One integration in progress.

    `solve`, `Record` and `SwitchingStepper` know this class and no other. A new kind of method is three things: a
    subclass of this, a `Method` whose `begin` makes one, and its entry in the lists (`methods.METHODS`, and
    `theory.base.names.METHODS`, which configurations and flags read). A stepper keeps nine rules;
    ``tests/sim/ode/test_stepper.py`` holds every method to them.

    1. **Begin.** It stands at t0 with the given state and no accepted step. A right-hand side that is not finite there
       is refused with `NotFiniteAtStart`.
    2. **Own memory.** It writes to no array of the caller: neither to the start, nor to times asked for, nor to the
       problem's data (``Problem.work`` is scratch). What it hands out as `y` holds until the next `advance`.
    3. **Inside.** The right-hand side is called at flow times within [t0, t1] alone, and the last step ends at t1 to
       the bit.
    4. **Advance.** `advance` takes whole steps forward and returns as soon as `stop` is reached, or `budget` trial
       steps are used up, rejected ones too, or earlier. It returns `DONE` exactly at t1, `OUT_OF_STEPS` before trial
       steps exceed `limit`, `UNDERFLOW` where no step that flow time resolves is good (nan is none), else `RUNNING`.
       Whatever it returns, `y` is finite. After `halt`, called from another thread, it breaks a long step off.
    5. **Same steps.** Where calls of `advance` are cut, by `stop` or by `budget`, changes no bit of what follows.
    6. **Dense output.** `dense` gives the states within the last accepted step: `y` itself at `t`, the state before at
       `t_before`, to the method's own accuracy in between. Calling it changes no later step.
    7. **Blow-up.** After `UNDERFLOW`, `blow_up` is the flow time at which the state becomes infinite, or None where
       that is not what happened. Growth alone, however fast, is no blow-up.
    8. **Statistics.** `counts` never fall, hold every trial step as accepted or rejected, and every evaluation that
       steps and dense output took (looks at `stiffness` apart).
    9. **Restart.** Begun at the `t` and `y` of another, it goes on to the same solution within the tolerance. What a
       method carries from step to step besides y (slopes of steps past, moments) is its own, and made anew then.
    """

    name: str
    for_stiff = False  # whether the method in use is one for stiff equations: its steps are long and dear

    @property
    @abstractmethod
    def t(self) -> float:
        """Flow time reached."""

    @property
    @abstractmethod
    def t_before(self) -> float:
        """Flow time before the last accepted step."""

    @property
    @abstractmethod
    def y(self) -> np.ndarray:
        """State at `t` (n,), to be read only, until the next `advance`."""

    @property
    @abstractmethod
    def h(self) -> float:
        """Size of the next trial step, as far as it is known."""

    @abstractmethod
    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps until `t` reaches `stop`, `budget` trials are used or `limit` were made in all; see `codes`."""

    def halt(self) -> None:  # noqa: B027 -- steps that are short need not hear it
        """Have `advance` return soon, now and ever after: a limit is used up."""

    @abstractmethod
    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at rising `times` (m,) within the last accepted step to `out` (m, n)."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return "accepted" and "rejected" steps, and "rhs_calls"."""

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        return self.counts()["accepted"]

    @property
    def methods(self) -> str:
        """Methods used, in words; several each with the flow time from which it was."""
        return self.name

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return False

    def history(self) -> np.ndarray:
        """Return (t, growth time |y|^2 / (y . f), log norm) of the last accepted steps (m, 3), oldest first."""
        return np.zeros((0, 3))

    def blow_up(self, resolution: float) -> float | None:
        """Flow time at which the state becomes infinite, if it does; `resolution` is that of flow time here."""
        return blow_up_time(self.history(), resolution)

    @property
    def radius(self) -> float:
        """Largest |eigenvalue| of the Jacobian, of a method that knows it; 1 for others."""
        return 1.0

    @property
    def swept(self) -> float:
        """Integral of `radius` over flow time, up to a constant."""
        return self.t

    def stiffness(self) -> float:
        """Step size x largest |eigenvalue| of the Jacobian, as far as that limits the step; 0 where it does not."""
        return 0.0

    def remedy(self) -> str:
        """What helps where a limit was used up; follows the words "the step size is .."."""
        return REMEDY


class Lanes(ABC):
    """Many integrations of one flow side by side, each with steps, an end and a save list of its own.

    What a member's numbers are depends on no other member; rules 1 to 9 of `Stepper` hold for each, except that a start
    that cannot be continued is an outcome.

    Attributes
    ----------
    starts : ndarray, shape (batch, n)
        States at the start.
    saves : ndarray, shape (batch, m)
        Flow times to save.
    states : ndarray, shape (batch, m, n)
        States at the first `saved` of them.
    """

    starts: np.ndarray
    saves: np.ndarray
    states: np.ndarray

    @abstractmethod
    def run(self, max_steps: int, budget: int) -> None:
        """Carry on until all members are done, or for `budget` rounds of steps."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether every member has ended."""

    @abstractmethod
    def saved(self, member: int) -> int:
        """Number of times that a member has saved."""

    @abstractmethod
    def methods(self, member: int) -> str:
        """Methods that a member used, in words; several each with the flow time from which it was."""

    @abstractmethod
    def counts(self, member: int) -> dict[str, int]:
        """Return "accepted" and "rejected" steps and "rhs_calls" of a member."""

    @abstractmethod
    def outcome(self, member: int, max_steps: int) -> Outcome:
        """How a member ended."""
