"""One integration by backward differentiation formulae, their equations solved by secants, or by a Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import float64

from ...kernel.cache import compiled
from ..codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from ..explicit.between_steps import interpolate
from ..explicit.sums.arithmetic import BLOCK
from ..growing import growth_row, part_of_tolerance
from ..stepper import NotFiniteAtStart, StepControl, Stepper, stiff_remedy
from .jacobian import Jacobian
from .polynomials import lagrange, slope_weights
from .secants import Secants

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from ..methods.bdf import Bdf

EPS = float(np.finfo(np.float64).eps)
LEAST = float(np.finfo(np.float64).tiny)  # first step tried
MOST_CALLS = 10  # of one trial step
CLOSE = 0.2  # error of a solved equation, in units of the tolerance
SHARE = 0.1  # of what a step may err while the state grows: estimates are of one step alone, errors of the equation too
_KEPT = 256  # rows of the history of growth


@compiled(float64(float64[::1], float64[::1], float64[::1], float64[::1], float64, float64, float64[::1]))
def relative_norm(x, y, old, new, rtol, atol, lanes):
    """RMS of x - y relative to the tolerance at the larger of two states; nan where one is."""
    n = x.size
    for i in range(min(n, BLOCK)):
        lanes[i] = 0.0
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        a, b, c, d = x[lo:hi], y[lo:hi], old[lo:hi], new[lo:hi]
        for i in range(hi - lo):
            size = max(abs(c[i]), abs(d[i])) + 0.0 * d[i]
            z = (a[i] - b[i]) / (atol + rtol * size)
            lanes[i] += z * z
    total = 0.0
    for i in range(min(n, BLOCK)):
        total += lanes[i]
    return np.sqrt(total / n)


class BdfStepper(Stepper):
    """Variable order and step; parameters as in `Method.begin`.

    The polynomial through the last ``order`` states and the new one has the slope f there. What is carried from step
    to step: `most_order` + 3 states, the pairs of `Secants`, and the `Jacobian` where the pairs do not suffice.
    """

    for_stiff = True

    def __init__(
        self, problem: Problem, y0: np.ndarray, t0: float, t1: float, method: Bdf, control: StepControl
    ) -> None:  # fmt: skip
        self.name, self.method, self.problem, self.control = method.name, method, problem, control
        self._t0, self._t1 = t0, t1
        n = problem.n
        self._times, self._states = np.array([t0]), np.zeros((method.most_order + 3, n))
        self._states[0] = y0
        self._rows = np.arange(len(self._states), dtype=np.int64)  # newest first; the last is free
        self._made = np.zeros((2, n))  # prediction, and what the equation holds of the past
        self._point, self._slope, self._step, self._residual = (np.zeros(n) for _ in range(4))
        self._zero = np.zeros(n)
        self._lanes, self._secants = np.empty(BLOCK), Secants(method.secants, n)
        self._jacobian = Jacobian(n, method.most_unknowns)
        self._counts = {"accepted": 0, "rejected": 0, "rhs_calls": 0}
        self._order, self._since, self._rate, self._last_order = 1, 0, 1.0, 1
        self._part = 1.0  # of the tolerance, that the last trial step might use
        self._bad = self._halted = False
        self._log: list[tuple[float, float, float]] = []
        self._h = self._begin()

    def _begin(self) -> float:
        """Slope at the start, and the first step: that of order 1 whose error is half the tolerance."""
        y, control = self.y, self.control
        first = self._call(self.t, y)
        if not np.isfinite(first).all():
            raise NotFiniteAtStart(self.t)
        self._last, self._last_time = (y.copy(), first.copy()), self.t
        self._growth_time = growth_row(self.t, y, first)[1]
        given = control.fixed_step or control.first_step
        if given is not None:
            return given
        span, zero = self._t1 - self.t, self._zero
        size, rate = self._norm(y, zero, y), self._norm(first, zero, y)
        guess, bend = 1e-3 * size / rate if size * rate > 0.0 else 1e-6, 0.0
        h = min(span, max(guess, EPS * abs(self.t), LEAST))  # the span may reach far beyond a blow-up
        for _ in range(20):
            with np.errstate(over="ignore", invalid="ignore"):
                bend = self._norm(self._call(self.t + h, y + h * self._last[1]), self._last[1], y) / h
            if np.isfinite(bend) or self._halted:
                break
            h *= 0.1
        return float(min(span, 100.0 * h, 1.0 / np.sqrt(bend)) if bend > 0.0 else min(span, 100.0 * h))

    def recall(self, times: list[float], states: list[np.ndarray]) -> None:
        """Take states of the same solution before the start, newest first, for steps of high order from the first."""
        known = min(len(times), len(self._states) - 2)
        self._times = np.array([self.t, *times[:known]])
        for row, state in zip(self._rows[1:], states[:known], strict=False):
            self._states[row] = state
        self._order = max(1, min(known - 1, self.method.most_order - 1))

    def _call(self, t: float, y: np.ndarray) -> np.ndarray:
        self._counts["rhs_calls"] += 1
        self.problem(t, y, self._slope)
        return self._slope

    def _evaluated(self, t: float, y: np.ndarray) -> np.ndarray:
        """f(t, y); what differs from the evaluation before, if that was at the same time, is a pair for the secants.

        A difference over time as well would make a Jacobian of what the right-hand side does by itself.
        """
        last_point, last_slope = self._last
        self._step[:], self._residual[:] = last_point, last_slope
        slope = self._call(t, y)
        last_point[:], last_slope[:] = y, slope
        np.subtract(y, self._step, out=self._step)
        np.subtract(slope, self._residual, out=self._residual)
        if t == self._last_time:
            self._secants.add(self._step, self._residual)
        self._last_time = t
        return slope

    def _norm(self, x: np.ndarray, y: np.ndarray, new: np.ndarray) -> float:
        return relative_norm(x, y, self.y, new, self.control.rtol, self.control.atol, self._lanes)

    @property
    def t(self) -> float:
        """Flow time reached."""
        return float(self._times[0])

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return float(self._times[min(1, len(self._times) - 1)])

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,)."""
        return self._states[self._rows[0]]

    @property
    def h(self) -> float:
        """Size of the next trial step."""
        return self._h

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return self._bad

    def counts(self) -> dict[str, int]:
        """Return accepted steps, rejected steps and calls of the right-hand side."""
        return dict(self._counts)

    def history(self) -> np.ndarray:
        """Growth of accepted steps, the newest."""
        return np.array(self._log).reshape(-1, 3)

    def remedy(self) -> str:
        """What helps: another method where equations fail since more directions are fast than secants tell."""
        if not self._jacobian.missed:
            return super().remedy()
        return stiff_remedy('method="rkc", a higher limit,' if self._jacobian.allowed else 'method="rkc"')

    def halt(self) -> None:
        """Have `advance` return after the evaluation that it is in."""
        self._halted = True

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps until `t` reaches `stop`, `budget` trials are used or `limit` were made in all."""
        while True:
            if self.t >= self._t1:
                return DONE
            if self.t >= stop:
                return RUNNING
            if self._counts["accepted"] + self._counts["rejected"] >= limit:
                return OUT_OF_STEPS
            if budget <= 0 or self._halted:
                return RUNNING
            t = self._landing()
            if np.isnan(t):
                return UNDERFLOW
            budget -= 1
            with np.errstate(all="ignore"):
                self._trial(t)

    def _landing(self) -> float:
        """Where the next step ends, as `acceptance.landing` has it."""
        t, h = self.t, self._h
        if not h > 0.0:
            return np.nan
        if t + 1.01 * h >= self._t1:
            return self._t1
        return np.nan if h <= 16.0 * EPS * max(abs(t), abs(self._t0)) else float(t + h)

    def _trial(self, t: float) -> None:
        """One step that ends at t, accepted or not."""
        h, fixed = t - self.t, self.control.fixed_step is not None
        k = self._order
        weights = slope_weights(np.r_[t, self._times[:k]])
        self._predict(t, k, weights)
        solved = self._solve(t, 1.0 / weights[0])
        if self._halted:
            return
        new, guess = self._point, self._made[0]
        row = growth_row(t, new, (new - self._made[1]) * weights[0])
        rtol, elapsed = self.control.rtol, t - self._t0
        rounding = self.problem.rounding
        self._part = part_of_tolerance(h, elapsed, self._growth_time, row[1], rtol, rounding, SHARE)
        error = self._norm(new, guess, new) * self._constant(t, k, weights) / self._part
        self._bad = not np.isfinite(error)
        if self._bad or not ((solved and error <= 1.0) or fixed):
            self._counts["rejected"] += 1
            self._since = 0
            shorter = max(0.2, 0.9 * error ** (-1.0 / (k + 1))) if error > 1.0 else 0.5
            if self._bad:
                self._h = 0.0 if fixed else 0.25 * h  # steps of a fixed size end here
            else:
                self._h = float(h * (shorter if solved else min(shorter, 0.5)))
            return
        self._accept(t, row)
        self._adapt(h, error)

    def _predict(self, t: float, k: int, weights: np.ndarray) -> None:
        """Extrapolate the states so far, and sum up what the equation y - f / w0 = past holds of them."""
        m = min(k + 1, len(self._times))
        rows = np.zeros((2, m))
        rows[0] = lagrange(self._times[:m], t)
        rows[1, :k] = -weights[1:] / weights[0]
        rows[:, 0] -= 1.0
        interpolate(self._made, self.y, self._states, self._rows, np.arange(m), rows, 1.0)
        if m == 1:
            self._made[0] += (t - self.t) * self._last[1]

    def _solve(self, t: float, share: float) -> bool:
        """Solve y = past + share f(t, y), whose Jacobian is formed where it is due; whether that succeeds."""
        before, point = self._counts["rhs_calls"], self._point
        solved = self._iterate(t, share)
        due = self._jacobian.due(self._counts["rhs_calls"] - before)
        if self.control.fixed_step is not None:  # an equation that fails rejects no step then
            due = due or (self._jacobian.allowed and not self._jacobian.known)
        if solved or self._halted or not due:
            return solved
        point[:] = self._made[0]
        rounding, least = self.problem.rounding, self.control.atol
        learnt = self._jacobian.learn(
            lambda y: self._call(t, y), point, rounding, least, lambda: self._halted
        )
        if learnt:
            self._secants.forget()
            self._last_time = np.nan  # no pair with an evaluation of the iteration that failed
        return learnt and self._iterate(t, share)

    def _iterate(self, t: float, share: float) -> bool:
        """Take Newton steps from the prediction; whether the equation is solved well enough."""
        point, past, before = self._point, self._made[1], np.inf
        point[:] = self._made[0]
        for i in range(MOST_CALLS):
            slope = self._evaluated(t, point)
            if self._halted:
                return False
            np.multiply(slope, share, out=self._residual)
            self._residual += past
            self._residual -= point
            self._secants.newton(self._residual, share, self._step, self._jacobian)
            size = self._norm(self._step, self._zero, point)
            point += self._step
            if not np.isfinite(size):
                return False
            if i > 0:
                self._rate = max(0.2 * self._rate, size / max(before, 1e-300))
            if size * min(1.0, self._rate if i > 0 else 1.0) <= CLOSE:
                return True
            if i > 1 and size > 2.0 * before:
                break
            before = size
        self._rate = 1.0
        return False

    def _constant(self, t: float, k: int, weights: np.ndarray) -> float:
        """Error of the step over new state - prediction."""
        if len(self._times) <= k:
            return 0.5
        return 1.0 / (weights[0] * (t - self._times[k]))

    def _accept(self, t: float, row: tuple[float, float, float]) -> None:
        self._counts["accepted"] += 1
        self._since += 1
        self._last_order = self._order
        self._rows = np.roll(self._rows, 1)
        self._states[self._rows[0]] = self._point
        self._times = np.r_[t, self._times][: len(self._states) - 1]
        # close rows are thinned, so that 256 span many decades of a blow-up
        if len(self._log) > 1 and 0.9 * self._log[-2][1] < self._log[-1][1] < 1.1 * self._log[-2][1]:
            self._log.pop()
        self._log, self._growth_time = [*self._log[-_KEPT + 1 :], row], row[1]

    def _adapt(self, h: float, error: float) -> None:
        """Choose order and step; a step is kept for some time, or the formulae would not be stable."""
        k, known = self._order, len(self._times)
        starting = known < self.method.most_order + 2
        if not starting and self._since <= k:
            return
        factors = {k: 0.9 * max(error, 1e-10) ** (-1.0 / (k + 1))}
        for q in (k - 1, k + 1):
            if 1 <= q <= self.method.most_order and known >= q + 2:
                factors[q] = 0.85 * max(self._error(q), 1e-10) ** (-1.0 / (q + 1))
        best = max(factors, key=lambda q: factors[q])
        if best != k or factors[best] > 1.2 or factors[best] < 0.9:
            self._order, self._since = best, 0
            if self.control.fixed_step is None:
                self._h = float(h * min(2.0, max(0.5, factors[best])))

    def _error(self, q: int) -> float:
        """Error that order q would have made, from the divided difference of the last q + 2 states."""
        times = self._times[: q + 2]
        # in units of a power of two near a step: products of differences that are very short, or long, leave the range
        unit = 2.0 ** np.frexp(times[0] - times[1])[1]
        apart = (times[:, None] - times) / unit
        np.fill_diagonal(apart, 1.0)
        weights = 1.0 / np.prod(apart, axis=1)
        weights *= np.prod((times[0] - times[1 : q + 1]) / unit) / (slope_weights(times[: q + 1])[0] * unit)
        out, origin = self._made[:1], self._zero
        interpolate(out, origin, self._states, self._rows, np.arange(q + 2), weights[None], 1.0)
        return self._norm(out[0], origin, self.y) / self._part

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        m = min(self._last_order + 1, len(self._times))
        for t, row in zip(times, out, strict=True):
            known = np.flatnonzero(self._times[:2] == t)
            if known.size:
                row[:] = self._states[self._rows[known[0]]]
                continue
            weights = lagrange(self._times[:m], float(t))
            weights[0] -= 1.0
            interpolate(row[None], self.y, self._states, self._rows, np.arange(m), weights[None], 1.0)
