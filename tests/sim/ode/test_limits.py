"""Limits hold: while steps are rejected, within a step, and where a number is none."""

import math
import time

import numpy as np
import pytest
from numba import njit

from smallinit.sim import Status, solve
from smallinit.sim.kernel.compile_clock import COMPILING, CompileClock
from smallinit.sim.kernel.problem import RHS_SIGNATURE, Problem
from smallinit.sim.ode.codes import OUT_OF_STEPS, RUNNING, UNDERFLOW
from smallinit.sim.ode.explicit import registers
from smallinit.sim.ode.methods import METHODS
from smallinit.sim.ode.stepper import StepControl

TABLES = ["tsit5", "dop853", "euler"]
EXPLICIT = [*TABLES, "rkc"]


@njit(RHS_SIGNATURE)
def slow(t, y, out, floats, ints, work):
    """Takes `floats[0]` turns of a loop for one evaluation of y' = -y, and counts itself."""
    x = 0.0
    for i in range(int(floats[0])):
        x += math.sin(i * 1e-3)
    work[0] += 1.0
    out[0] = -y[0] + 0.0 * x


def calibrated(seconds):
    """The same with evaluations of about so many seconds."""
    turns, out = 10**6, np.empty(1)
    began = time.perf_counter()
    slow(0.0, np.ones(1), out, np.array([1.0 * turns]), np.zeros(1, np.int64), np.zeros(1))
    turns = int(turns * seconds / (time.perf_counter() - began))
    return Problem(slow, {"y": (0, (1, 1))}, np.array([1.0 * turns]), np.zeros(1, np.int64), np.zeros(1))


def fastest(problem):
    """Seconds of the fastest of some evaluations."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        slow(0.0, np.ones(1), np.empty(1), problem.floats, problem.ints, np.zeros(1))
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.parametrize("method", [*EXPLICIT, None])
def test_a_wall_clock_limit_holds_within_a_long_step(method):
    """A step of dop853 is 12 evaluations, a look at what would help 21: none of them after the limit."""
    problem = calibrated(0.05)
    result = solve(problem, [1.0], t1=1e6, method=method, rtol=1e-7, max_seconds=0.175)
    assert result.outcome.status is Status.MAX_SECONDS
    assert "0.175 s did not reach t1 = 1e+06" in str(result.outcome)
    assert problem.work[0] == result.statistics["rhs_calls"]
    # Four evaluations fill the time, more if they have become faster; one may be under way at its end, and the start
    # takes two or three.
    assert problem.work[0] <= 0.175 / fastest(problem) + 5.5
    assert np.isfinite(result.y).all()


@pytest.mark.parametrize("name", [*TABLES[:2], "rkc"])
def test_trial_steps_count_against_the_budget_whether_accepted_or_not(problem, name):
    stepper = METHODS[name].begin(problem("jumpy"), np.ones(1), 0.0, 1.0, StepControl(1e-9, 1e-12))
    before, rejected = 0, 0
    for budget in [1, 2, 3, 1, 5] * 40:
        code = stepper.advance(1.0, budget, 10**6)
        counts = stepper.counts()
        made = counts["accepted"] + counts["rejected"]
        assert made - before <= budget
        before, rejected = made, counts["rejected"]
        if code != RUNNING:
            break
    assert rejected > 20


@pytest.mark.parametrize("name", [*TABLES[:2], "rkc"])
def test_cuts_of_the_budget_change_no_bit_where_steps_are_rejected(problem, name):
    ends = []
    for budget in (1, 7, 10**6):
        stepper = METHODS[name].begin(problem("jumpy"), np.ones(1), 0.0, 1.0, StepControl(1e-6, 1e-9))
        while stepper.advance(1.0, budget, 400) == RUNNING:
            pass
        ends.append((stepper.t, stepper.y.tobytes(), stepper.counts()))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("name", EXPLICIT)
def test_a_step_that_is_no_number_is_an_end(problem, name):
    stepper = METHODS[name].begin(
        problem("oscillator", 2), np.array([1.0, 0.0]), 0.0, 1.0, StepControl(1e-6, 1e-9)
    )
    stepper._ctl[registers.H] = np.nan
    assert stepper.advance(1.0, 10**6, 10**6) == UNDERFLOW
    assert np.isfinite(stepper.y).all()


@pytest.mark.parametrize("rtol", [1e-14, 1e-13, 1e-10])
@pytest.mark.parametrize("method", [*METHODS, None])
def test_every_tolerance_that_is_accepted_ends(problem, method, rtol):
    if method in ("euler", "taylor"):
        pytest.skip("steps of fixed size; polynomial flows alone")
    for name, y0 in (("oscillator", [1.0, 0.0]), ("square", [1.0])):
        began = time.perf_counter()
        result = solve(
            problem(name, len(y0)),
            y0,
            t1=2.0,
            method=method,
            rtol=rtol,
            atol=1e-300,
            max_steps=1000,
            max_seconds=60.0,
        )
        assert time.perf_counter() - began < 120.0
        assert result.outcome.status in (
            Status.REACHED_END,
            Status.BLOW_UP,
            Status.MAX_STEPS,
            Status.STEP_UNDERFLOW,
        )
        assert np.isfinite(result.y).all()


def test_a_limit_of_trial_steps_holds_while_all_are_rejected(problem):
    stepper = METHODS["dop853"].begin(problem("jumpy"), np.ones(1), 0.0, 1.0, StepControl(1e-12, 1e-15))
    code = RUNNING
    while code == RUNNING:
        code = stepper.advance(1.0, 10**6, 50)
    counts = stepper.counts()
    assert code in (OUT_OF_STEPS, UNDERFLOW)
    assert counts["accepted"] + counts["rejected"] <= 50


@pytest.mark.parametrize("name", EXPLICIT)
def test_after_a_halt_nothing_more_is_tried(problem, name):
    stepper = METHODS[name].begin(
        problem("oscillator", 2), np.array([1.0, 0.0]), 0.0, 9.0, StepControl(1e-6, 1e-9)
    )
    stepper.advance(9.0, 3, 100)
    before = (stepper.t, stepper.y.tobytes(), stepper.counts())
    stepper.halt()
    for _ in range(3):
        assert stepper.advance(9.0, 10, 100) == RUNNING
        assert (stepper.t, stepper.y.tobytes(), stepper.counts()) == before


def test_very_long_limits_are_limits_too(problem):
    for seconds in (1e300, math.inf, 10**12):
        result = solve(problem("oscillator", 2), [1.0, 0.0], t1=1.0, max_seconds=seconds)
        assert result.outcome.status is Status.REACHED_END


def test_what_is_compiled_meanwhile_uses_up_no_time(problem):
    """Dense output, the stiff method and a series are compiled when they are first asked for, within a run."""
    compiled = []

    def compiles(t, weights):
        if t > 0.0 and not compiled:
            compiled.append(t)
            with COMPILING.running(), COMPILING.running():
                time.sleep(2.5)
        return 1.0

    result = solve(problem("oscillator", 2), [1.0, 0.0], t1=9.0, events=compiles, max_seconds=2.0)
    assert result.outcome.status is Status.REACHED_END
    assert 0.0 < result.statistics["seconds"] < 2.0
    assert compiled


def test_every_compilation_is_on_the_clock(monkeypatch):
    from numba import float64

    from smallinit.sim.kernel import cache

    clock = CompileClock()
    monkeypatch.setattr(cache, "COMPILING", clock)
    cache.compiled(float64(float64))(lambda x: x)  # which numba refuses to cache
    before = clock.seconds
    assert before > 0.0
    assert clock.seconds == before
