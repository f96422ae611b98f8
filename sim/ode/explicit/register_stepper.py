"""What steppers with a compiled explicit loop share: buffers, registers, the start, stiffness."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernel.alignment import aligned
from ...kernel.problem import Problem
from ..stepper import NotFiniteAtStart, StepControl, Stepper, stiff_remedy
from . import registers as r
from .between_steps import interpolate
from .step_guess import first_step
from .sums.arithmetic import BLOCK

if TYPE_CHECKING:
    from .pole_rows import LastStep

# Gains of the predictive controller. Gustafsson's (2, 1) oscillates where the error grows faster with h
# than the order says (y' = y^3 at loose tolerances: 52 steps of 152 rejected, with these 1 of 96); (0, 0)
# switches it off.
GAINS = (1.6, 0.8)
STIFF = 2.5  # step x spectral radius from which a used-up limit is put down to stability


def _norm(y: np.ndarray, block: int = 2**16) -> float:
    """Euclidean norm without a copy of the state; squares neither overflow nor underflow."""
    top = max(float(y.max(initial=0.0)), -float(y.min(initial=0.0))) or 1.0
    return top * float(np.sqrt(sum(np.sum((y[i : i + block] / top) ** 2) for i in range(0, y.size, block))))


class RegisterStepper(Stepper):
    """A stepper whose state is the buffers and registers of a compiled loop.

    Parameters
    ----------
    problem : Problem
        The right-hand side.
    y0 : ndarray, shape (n,)
        State at `t0`.
    t0, t1 : float
        Interval of flow time.
    method : RungeKutta or Stabilised
        What the loop needs to know: name, `error_order`, `safety`, `interpolant`.
    control : StepControl
        Tolerances and step sizes.
    slopes : int
        Rows of `k`.
    """

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: Any, control: StepControl, slopes: int
    ) -> None:  # fmt: skip
        self.name, self.method, self.problem = method.name, method, problem
        self._rows = np.arange(slopes, dtype=np.int64)
        self._ctl, self._cnt = np.zeros(r.N_CTL), np.zeros(r.N_CNT, dtype=np.int64)
        self._log = np.zeros((r.LOG, 3))
        self._reserve(y0, slopes)
        self._set_registers(t0, t1, control)
        self._start(control)

    def _reserve(self, y0: np.ndarray, slopes: int) -> None:
        """Buffers of the two states and of the slopes."""
        problem = self.problem
        self._y = aligned(2, problem.n)
        self._y[0] = y0
        self._k = aligned(slopes, problem.n, zero=True)
        self._buf = np.empty((4, BLOCK))

    def _set_registers(self, t0: float, t1: float, control: StepControl) -> None:
        ctl, cnt = self._ctl, self._cnt
        ctl[[r.T, r.T0, r.T_PREV]] = t0
        ctl[[r.T1, r.STOP]] = t1
        ctl[[r.RTOL, r.ATOL]] = control.rtol, control.atol
        ctl[[r.SAFETY, r.GAIN, r.GAIN_OLD]] = self.method.safety, *GAINS
        ctl[[r.LEAST, r.RETRY]] = self.method.least, self.method.retry
        ctl[r.NORM] = self._norm() or 1.0
        ctl[r.ROUNDING] = self.problem.rounding
        ctl[[r.TAU, r.TAU_END, r.TAU_LAST, r.WALL]] = np.inf
        cnt[r.ORDER], cnt[r.FIXED] = self.method.error_order, control.fixed_step is not None

    def _start(self, control: StepControl) -> None:
        self._cnt[r.CALLS] = 1
        if not self._first_slope():
            raise NotFiniteAtStart(self.t)
        self._ctl[r.H] = control.fixed_step or control.first_step or self._first_step()

    def _norm(self) -> float:
        """Size of the start."""
        return _norm(self._y[0])

    def _first_slope(self) -> bool:
        """Evaluate the slope at the start; whether it is finite."""
        self.problem(self.t, self._y[0], self._k[0])
        return bool(np.all(np.isfinite(self._k[0])))

    def _first_step(self) -> float:
        """Guess a first step."""
        return first_step(self.problem, self._y, self._k, self._ctl, self._cnt)

    @property
    def t(self) -> float:
        """Flow time reached."""
        return float(self._ctl[r.T])

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return float(self._ctl[r.T_PREV])

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,); a view that the next step but one overwrites."""
        return self._y[self._cnt[r.CUR]]

    @property
    def h(self) -> float:
        """Size of the next trial step."""
        return float(self._ctl[r.H])

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        return int(self._cnt[r.ACCEPTED])

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return bool(self._cnt[r.BAD])

    def counts(self) -> dict[str, int]:
        """Return accepted steps, rejected steps and calls of the right-hand side."""
        names = {"accepted": r.ACCEPTED, "rejected": r.REJECTED, "rhs_calls": r.CALLS}
        return {name: int(self._cnt[i]) for name, i in names.items()}

    def history(self) -> np.ndarray:
        """Return (t, growth time |y|^2 / (y . f), log norm) of accepted steps (m, 3), thinned."""
        newest, m = int(self._cnt[r.LOGGED]), len(self._log)
        if self.accepted == 0:
            return self._log[:0]
        return self._log[np.arange(max(0, newest - m + 1), newest + 1) % m]

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps until `t` reaches `stop`, `budget` trials are used or `limit` were made in all."""
        self._ctl[r.STOP] = stop
        self._cnt[r.BUDGET], self._cnt[r.LIMIT] = budget, limit
        return self._loop()

    def halt(self) -> None:
        """Have the compiled loop return after the evaluation that it is in."""
        self._cnt[r.HALT] = 1

    def _listed(self, *more: np.ndarray) -> np.ndarray:
        """What the compiled loop works on; to be listed anew where one of the arrays is another."""
        return r.listed(
            self.problem, self._y, self._k, self._rows, self._ctl, self._cnt, self._log, self._buf, *more
        )

    def _list(self) -> None:
        """Set `_places`, by `_listed`."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the places, where the arrays of a copy do not lie."""
        return {name: value for name, value in self.__dict__.items() if name != "_places"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the arrays, and list where they lie."""
        for name, value in state.items():
            setattr(self, name, value)
        self._list()

    @abstractmethod
    def _loop(self) -> int:
        """Run the compiled loop on the registers."""

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        inside = len(times) - (1 if times[-1] == self.t else 0)
        if inside < len(times):
            out[-1] = self.y
        if inside == 0:
            return
        self._prepare_dense()
        lead, weights = self._weights(times[:inside] - self.t_before)
        used = np.flatnonzero(weights.any(axis=0))
        h = float(self._ctl[r.H_LAST])
        self._interpolate(lead, np.ascontiguousarray(weights[:, used]), used, h, out[:inside])

    @property
    def _last(self) -> LastStep | None:
        """The last step, if it was one towards a pole."""
        h, tau = float(self._ctl[r.H_LAST]), float(self._ctl[r.TAU_LAST])
        if not np.isfinite(tau):
            return None
        from .pole_rows import LastStep  # compiled for those who meet a pole

        return LastStep(self.method, h, tau)

    def _weights(self, since: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How much of the state before and of each slope is in the states `since` (m,) after it: (m,), (m, slopes)."""
        if (last := self._last) is not None:
            return last.weights(since)
        return np.ones(len(since)), self.method.interpolant(since / float(self._ctl[r.H_LAST]))

    def _interpolate(
        self, lead: np.ndarray, weights: np.ndarray, used: np.ndarray, h: float, out: np.ndarray
    ) -> None:
        """Write lead_i y + h * sum_j weights_ij k_{used_j} of the last step to out_i."""
        old = self._y[1 - self._cnt[r.CUR]]
        if np.all(lead == 1.0):
            interpolate(out, old, self._k, self._rows, used, weights, h)
            return
        for i, share in enumerate(lead):
            interpolate(out[i : i + 1], share * old, self._k, self._rows, used, weights[i : i + 1], h)

    def _prepare_dense(self) -> None:
        """Evaluate what only the dense output of the last step needs."""

    def stiffness(self) -> float:
        """Estimate step size x largest |eigenvalue| of the Jacobian; methods here are stable up to 3 .. 6."""
        with np.errstate(over="ignore", invalid="ignore"):  # of a state near the end of the range of numbers
            return self._spectral_radius() * self.h

    def _spectral_radius(self) -> float:
        y, t = self.y, self.t
        f0, f1, size = np.empty_like(y), np.empty_like(y), float(np.linalg.norm(y)) or 1.0
        self.problem(t, y, f0)
        direction, rate = self._y[1 - self._cnt[r.CUR]] - y, 0.0
        reach = max(1e-7, self.problem.rounding**0.5) * size
        for _ in range(20):
            norm = float(np.linalg.norm(direction))
            if not 0.0 < norm < np.inf or self._cnt[r.HALT]:
                break
            direction *= reach / norm
            self.problem(t, y + direction, f1)
            direction = f1 - f0
            rate = float(np.linalg.norm(direction)) / reach
        return rate

    def remedy(self) -> str:
        """Name what fits: stiffness, the wrong order, or just a higher limit.

        At the border of stability steps are rejected, and the next one is short: the last accepted one counts as well.
        """
        longest = max(1.0, (self.t - self.t_before) / self.h) if self.h > 0.0 else 1.0
        if self.stiffness() * longest > STIFF:
            return stiff_remedy(self.method.stiff_cure)
        if self.method.order < 8:
            return '; use method="dop853", a larger `rtol`, or a higher limit.'
        return super().remedy()
