"""A kind of method that the package does not have, written as a contributor would: a multistep method.

Adams-Bashforth of order 2 predicts from this slope and the last one, the trapezoidal rule corrects; the difference is
the error estimate, and a cubic through both ends with their slopes the dense output. Its state beyond y is the slope
and the size of the last step.
"""

import numpy as np

from smallinit.sim import Method
from smallinit.sim.ode.codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from smallinit.sim.ode.stepper import NotFiniteAtStart, Stepper


class AdamsStepper(Stepper):
    name = "ab2"

    def __init__(self, problem, y0, t0, t1, control):
        self.problem, self.t0, self.t1, self.control = problem, t0, t1, control
        self.calls, self.taken, self.rejected, self.bad = 0, 0, 0, False
        self.state, self.before, self.rows = y0.copy(), y0.copy(), []
        self.time = self.time_before = t0
        self.slope, self.past = self.f(t0, self.state), None
        if not np.isfinite(self.slope).all():
            raise NotFiniteAtStart(t0)
        size, rate = np.linalg.norm(y0), np.linalg.norm(self.slope)
        guess = 1e-3 * size / rate if size * rate > 0.0 else 1e-6
        self.step = control.fixed_step or control.first_step or min(guess, t1 - t0)

    def f(self, t, y):
        out = np.empty_like(y)
        self.problem(t, y, out)
        self.calls += 1
        return out

    @property
    def t(self):
        return self.time

    @property
    def t_before(self):
        return self.time_before

    @property
    def y(self):
        return self.state

    @property
    def h(self):
        return self.step

    @property
    def last_trial_bad(self):
        return self.bad

    def counts(self):
        return {"accepted": self.taken, "rejected": self.rejected, "rhs_calls": self.calls}

    def history(self):
        return np.array(self.rows).reshape(-1, 3)

    def advance(self, stop, budget, limit):
        retried = False
        while True:
            if self.time >= self.t1:
                return DONE
            if self.time >= stop:
                return RUNNING
            if self.taken + self.rejected >= limit:
                return OUT_OF_STEPS
            if budget <= 0 and not retried:
                return RUNNING
            if self.step <= 4e-15 * max(abs(self.time), abs(self.t0)):
                return UNDERFLOW
            budget -= 1
            with np.errstate(over="ignore", invalid="ignore"):
                retried = not self.trial()

    def trial(self):
        t = self.t1 if self.time + 1.01 * self.step >= self.t1 else self.time + self.step
        h, slope = t - self.time, self.slope
        if self.past is not None:
            slope = slope + 0.5 * h / (self.time - self.time_before) * (slope - self.past)
        guess = self.state + h * slope
        new = self.state + 0.5 * h * (self.slope + self.f(t, guess))
        end = self.f(t, new)
        scale = self.control.atol + self.control.rtol * np.maximum(np.abs(self.state), np.abs(new))
        error = float(np.sqrt(np.mean(((new - guess) / (6.0 * scale)) ** 2)))
        self.bad = not (np.isfinite(error) and np.isfinite(new).all() and np.isfinite(end).all())
        if self.bad or (error > 1.0 and self.control.fixed_step is None):
            self.rejected += 1
            self.step = 0.25 * h if self.bad else h * max(0.2, 0.9 * error ** (-1.0 / 3.0))
            return False
        self.time_before, self.time, self.taken = self.time, t, self.taken + 1
        self.before, self.past, self.state, self.slope = self.state, self.slope, new, end
        self.rows.append((t, new @ new / (new @ end), 0.5 * np.log(new @ new)))
        if self.control.fixed_step is None:
            self.step = h * min(3.0, max(0.3, 0.9 * max(error, 1e-10) ** (-1.0 / 3.0)))
        return True

    def dense(self, times, out):
        h = self.time - self.time_before
        for t, row in zip(times, out, strict=True):
            x = (t - self.time_before) / h
            cubic = (1 - x) * self.before + x * self.state
            bend = (1 - 2 * x) * (self.state - self.before)
            bend = bend + (x - 1) * h * self.past + x * h * self.slope
            row[:] = self.state if t == self.time else cubic + x * (x - 1) * bend


class Adams(Method):
    """The entry that `METHODS` would have."""

    name, reference, stepper = "ab2", "Hairer, Norsett, Wanner I, III.1", AdamsStepper

    def __init__(self, stepper=AdamsStepper):
        self.stepper = stepper

    def begin(self, problem, y0, t0, t1, control):
        return self.stepper(problem, y0, t0, t1, control)
