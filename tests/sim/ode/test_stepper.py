"""The nine rules of `Stepper`, held against every method, against a kind of method that is not ours, and broken."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
import pytest
import torch
from adams import Adams, AdamsStepper
from helpers import TRAVELS, random_data
from scipy.special import elliprf
from sympy import MatrixSymbol

from smallinit.sim import Event, Method, Status, integrate, solve
from smallinit.sim.compile.compiler import compile_sides
from smallinit.sim.device.on_device import OnDevice
from smallinit.sim.kernel.problem import RHS_SIGNATURE, Problem
from smallinit.sim.ode.choice import automatic
from smallinit.sim.ode.choice.automatic import SwitchingStepper
from smallinit.sim.ode.codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from smallinit.sim.ode.methods import METHODS
from smallinit.sim.ode.stepper import NotFiniteAtStart, StepControl
from smallinit.theory import EmbMLP, derive
from smallinit.theory.algebra.matrices import product

CONTROL = StepControl(1e-5, 1e-8)
MANY = 10**6


class Choice(Method):
    """What `method=None` does, as a method."""

    name = "automatic"

    def begin(self, problem, y0, t0, t1, control):
        return SwitchingStepper(problem, y0, t0, t1, control)


class Arrays:
    """A problem of any kind in the place of a program: tensors of the CPU are arrays too."""

    device = torch.device("cpu")

    def __init__(self, problem):
        self.problem = problem

    def __call__(self, t, y, out):
        self.problem(t, y.numpy(), out.numpy())


class OnTensors(Method):
    """A method with its steps taken by torch."""

    def __init__(self, method):
        self.method, self.name = method, f"{method or 'automatic'} on tensors"

    def begin(self, problem, *rest):
        return OnDevice(Arrays(problem), self.method).begin(problem, *rest)


@dataclass
class Case:
    """A regular problem with its solution, one that blows up, one that only grows, one that cannot start."""

    regular: tuple[Problem, Any, float, float]  # problem, solution at t, t0, t1
    blow_up: tuple[Problem, np.ndarray, float]  # problem, start, blow-up time
    growing: tuple[Problem, np.ndarray]
    bad: tuple[Problem, np.ndarray]

    def begin(self, method, control=CONTROL, t0=None, y0=None):
        problem, truth, start, t1 = self.regular
        t0 = start if t0 is None else t0
        return method.begin(problem, truth(t0) if y0 is None else y0, t0, t1, control)


@cache
def watching():
    """The compiled right-hand side of `watched`, which holds no state of its own."""

    @numba.njit(RHS_SIGNATURE)
    def rhs(t, y, out, floats, ints, work):
        work[0], work[1], work[2] = min(work[0], t), max(work[1], t), work[2] + 1
        out[0] = floats[0] * y[0] * np.cos(t)
        out[1] = -2.0 * ints[0] * t * y[1] * y[1]

    return rhs


def watched():
    """Problem whose `work` holds the least and the largest flow time asked for, and the number of calls."""
    work = np.array([np.inf, -np.inf, 0.0])
    return Problem(watching(), {"y": (0, (2, 1))}, np.ones(1), np.ones(1, np.int64), work)


def forced(t):
    return np.array([np.exp(np.sin(t)), 1.0 / (1.0 + t * t)])


def of_mode():
    """The same for a method of polynomial flows: one three-factor mode, and A' = 50 A."""
    flow = derive(EmbMLP(1, 1, 1), "leading")
    mode = compile_sides(flow.equations, {"M": np.eye(1)}, dict(flow.model.weights), flow.model.sizes, {})
    a, s = MatrixSymbol("A", 1, 1), MatrixSymbol("S", 1, 1)
    growing = compile_sides({"A": product(s, a)}, {"S": np.full((1, 1), 50.0)}, {"A": (1, 1)}, {}, {})
    known = {}

    def truth(t):
        if t not in known:
            start = [0.3, 0.5, 0.4]
            known[t] = (
                np.array(start)
                if t == 0.0
                else solve(mode, start, t1=t, rtol=1e-12, atol=1e-15, save_at=1).y[0]
            )
        return known[t].copy()

    y0 = np.array([0.1, 0.11, 0.12])
    star = float(elliprf(*y0**2))
    return Case(
        (mode, truth, 0.0, 1.8),
        (mode, y0, star),
        (growing, np.ones(1)),
        (mode, np.array([1e200, 1e200, 1.0])),
    )


@pytest.fixture(scope="module")
def case(problem):
    """``case(method)``: the problems for a method."""
    polynomial = of_mode()

    def of(method):
        if method.name == "taylor":
            return polynomial
        one = np.ones(1)
        rest = ((problem("square"), one, 1.0), (problem("grow"), one), (problem("always_nan"), one))
        return Case((watched(), forced, 0.3, 2.3), *rest)

    return of


def walk(stepper, stops=(np.inf,), budget=1):
    """Advance to the end through some stops; the points on the way."""
    points = [(stepper.t, stepper.y.tobytes())]
    for stop in stops:
        code = RUNNING
        while code == RUNNING and stepper.t < stop:
            code = stepper.advance(stop, budget, MANY)
            points.append((stepper.t, stepper.y.tobytes()))
        if code != RUNNING:
            return code, points
    return RUNNING, points


def begin(method, case):
    stepper = case.begin(method)
    _, truth, t0, _ = case.regular
    assert (stepper.t, stepper.accepted) == (t0, 0)
    np.testing.assert_array_equal(stepper.y, truth(t0))
    problem, y0 = case.bad
    with pytest.raises(NotFiniteAtStart, match="must be finite at the start, got nan or inf at t = 0"):
        method.begin(problem, y0, 0.0, 1.0, CONTROL)


def own_memory(method, case):
    problem, truth, t0, t1 = case.regular
    y0 = truth(t0)
    data = (problem.floats.copy(), problem.ints.copy())
    stepper = case.begin(method, y0=y0)
    stepper.advance(t0 + 0.5, 3, MANY)
    times = np.linspace(stepper.t_before, stepper.t, 4)
    asked, y, kept = times.copy(), stepper.y, stepper.y.copy()
    stepper.dense(times, np.empty((4, y.size)))
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(times, asked)
    np.testing.assert_array_equal(y0, truth(t0))
    y0[:] = np.nan  # not looked at again
    assert walk(stepper)[0] == DONE
    np.testing.assert_allclose(stepper.y, truth(t1), rtol=1e-2)
    np.testing.assert_array_equal(problem.floats, data[0])
    np.testing.assert_array_equal(problem.ints, data[1])


def inside(method, case):
    problem, _, t0, t1 = case.regular
    for fixed in (None, 0.07):
        stepper = case.begin(method, StepControl(1e-5, 1e-8, fixed_step=fixed))
        while stepper.advance(np.inf, 1, MANY) == RUNNING:
            if stepper.accepted:
                stepper.dense(np.linspace(stepper.t_before, stepper.t, 5), np.empty((5, stepper.y.size)))
        assert stepper.t == t1
    if method.name != "taylor":  # whose series knows no time
        assert t0 <= problem.work[0]
        assert problem.work[1] <= t1


def whole_steps(method, case):
    stepper = case.begin(method)
    _, _, t0, t1 = case.regular
    code = RUNNING
    while code == RUNNING:
        t, accepted = stepper.t, stepper.accepted
        code = stepper.advance(np.inf, 1, MANY)
        assert stepper.accepted in (accepted, accepted + 1)
        assert stepper.t_before == t < stepper.t or stepper.accepted == accepted
        assert np.isfinite(stepper.y).all()
        assert (code == DONE) == (stepper.t == t1)
    assert code == DONE
    stop = t0 + 0.4
    stepper = case.begin(method)
    walk(stepper, [stop], budget=MANY)
    assert stepper.t_before < stop <= stepper.t
    stepper = case.begin(method)
    assert stepper.advance(np.inf, MANY, 3) == OUT_OF_STEPS
    counts = stepper.counts()
    assert counts["accepted"] + counts["rejected"] == 3
    problem, y0, star = case.blow_up
    stepper = method.begin(problem, y0, 0.0, 2.0 * star, CONTROL)
    assert walk(stepper, budget=MANY)[0] == UNDERFLOW
    assert np.isfinite(stepper.y).all()


def same_steps(method, case):
    _, _, t0, t1 = case.regular
    single = case.begin(method)
    whole, cut = case.begin(method), case.begin(method)
    walk(single)
    walk(whole, budget=MANY)
    _, points = walk(cut, np.linspace(t0, t1, 18), budget=7)
    assert len(points) > 4
    for other in (whole, cut):
        assert other.counts() == single.counts()
        np.testing.assert_array_equal(other.y, single.y)


def dense_output(method, case):
    truth = case.regular[1]
    stepper, plain = case.begin(method), case.begin(method)
    before, code = stepper.y.copy(), RUNNING
    while code == RUNNING:
        t = stepper.t
        code = stepper.advance(np.inf, 1, MANY)
        if stepper.t > t and (stepper.accepted < 40 or code == DONE):
            times = np.array([0.0, 0.3, 0.8, 1.0]) * (stepper.t - t) + t
            times[-1] = stepper.t
            found = np.full((4, before.size), np.nan)
            stepper.dense(times, found)
            np.testing.assert_allclose(found[0], before, rtol=1e-13)
            np.testing.assert_array_equal(found[-1], stepper.y)
            np.testing.assert_allclose(found[1:3], [truth(u) for u in times[1:3]], rtol=5e-3)
        before = stepper.y.copy()
    walk(plain)
    np.testing.assert_array_equal(stepper.y, plain.y)


def blow_up(method, case):
    problem, y0, star = case.blow_up
    stepper = method.begin(problem, y0, 0.0, 2.0 * star, CONTROL)
    assert walk(stepper, budget=MANY)[0] == UNDERFLOW
    found = stepper.blow_up(float(np.spacing(stepper.t)))
    assert found is not None
    assert abs(found - star) < 1e-2 * star
    problem, y0 = case.growing
    loose = StepControl(1e-3, 1e-6)  # the growth has no end, so that steps are many
    stepper = method.begin(problem, y0, 0.0, 100.0, loose)
    if walk(stepper, budget=MANY)[0] == UNDERFLOW:
        assert stepper.blow_up(float(np.spacing(stepper.t))) is None


def statistics(method, case):
    problem, *_ = case.regular
    problem.work[2:3] = 0.0
    stepper, last, code = case.begin(method), {}, RUNNING
    while code == RUNNING:
        code = stepper.advance(np.inf, 1, MANY)
        if stepper.accepted:
            stepper.dense(np.linspace(stepper.t_before, stepper.t, 3), np.empty((3, stepper.y.size)))
        counts = stepper.counts()
        assert set(counts) == {"accepted", "rejected", "rhs_calls"}
        assert all(counts[name] >= n for name, n in last.items())
        last = counts
    assert stepper.accepted == counts["accepted"] > 0
    if method.name != "taylor":  # whose table is not called but unrolled
        assert counts["rhs_calls"] == problem.work[2]


def restart(method, case):
    problem, _, t0, t1 = case.regular
    straight, half = case.begin(method), case.begin(method)
    walk(straight)
    walk(half, [0.5 * (t0 + t1)])
    rest = method.begin(problem, half.y.copy(), half.t, t1, CONTROL)
    walk(rest)
    np.testing.assert_allclose(rest.y, straight.y, rtol=5e-3)


RULES = (begin, own_memory, inside, whole_steps, same_steps, dense_output, blow_up, statistics, restart)
TENSORS = {method.name: method for method in map(OnTensors, ("tsit5", "dop853", "rkc", None))}
ALL = {**METHODS, "automatic": Choice(), "ab2": Adams(), **TENSORS}


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_method_keeps_every_rule(case, method, rule):
    rule(method, case(method))


class StartsAnywhere(AdamsStepper):
    def __init__(self, problem, y0, *rest):
        try:
            super().__init__(problem, y0, *rest)
        except NotFiniteAtStart:
            self.time = rest[0]


class WritesToTheStart(AdamsStepper):
    def __init__(self, problem, y0, *rest):
        super().__init__(problem, y0, *rest)
        self.start = y0

    def trial(self):
        taken = super().trial()
        self.start[:] = self.state
        return taken


class LooksAhead(AdamsStepper):
    def trial(self):
        self.problem(self.time + 1.5 * self.step, self.state, np.empty_like(self.state))
        return super().trial()


class TakesTwo(AdamsStepper):
    def advance(self, stop, budget, limit):
        return super().advance(stop, 2 * budget, limit)


class EndsAtStops(AdamsStepper):
    def advance(self, stop, budget, limit):
        self.step = min(self.step, max(stop - self.time, 1e-9))
        return super().advance(stop, budget, limit)


class StraightLines(AdamsStepper):
    def dense(self, times, out):
        x = (times - self.time_before) / (self.time - self.time_before)
        out[:] = (1 - x[:, None]) * self.state + x[:, None] * self.state


class AlwaysBlowsUp(AdamsStepper):
    def blow_up(self, resolution):
        return self.time


class ForgetsCalls(AdamsStepper):
    def counts(self):
        return super().counts() | {"rhs_calls": 2 * self.taken}


class OwnClock(AdamsStepper):
    def f(self, t, y):
        return super().f(t - self.t0 + 0.3, y)


BROKEN = (
    StartsAnywhere, WritesToTheStart, LooksAhead, TakesTwo, EndsAtStops, StraightLines, AlwaysBlowsUp, ForgetsCalls,
    OwnClock,
)  # fmt: skip


@pytest.mark.parametrize(("rule", "stepper"), list(zip(RULES, BROKEN, strict=True)), ids=lambda x: x.__name__)
def test_a_broken_rule_is_found(case, rule, stepper):
    method = Adams(stepper)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        rule(method, case(method))


def height(t, weights):
    return float(weights["y"][0, 0])


def test_another_kind_of_method_goes_through_solve(problem, exact_forced):
    times = np.sort(np.random.default_rng(0).uniform(0.0, 3.0, 50))
    found = solve(
        problem("forced", 2), [1.0, 1.0], t1=3.0, method=Adams(), rtol=1e-6, atol=1e-8, save_at=times,
        events=[Event(lambda t, w: height(t, w) - 2.0, name="two"), Event(lambda t, w: t - 2.5, True, name="late")],
    )  # fmt: skip
    assert found.outcome.status is Status.EVENT
    np.testing.assert_allclose(
        found.events["two"], [np.arcsin(np.log(2.0)), np.pi - np.arcsin(np.log(2.0))], atol=1e-4
    )
    np.testing.assert_allclose(found.t[-1], 2.5, atol=1e-12)
    np.testing.assert_allclose(found.y, exact_forced(found.t), rtol=1e-4)
    assert found.statistics["methods"] == "ab2"
    few = solve(problem("forced", 2), [1.0, 1.0], t1=3.0, method=Adams(), max_steps=5)
    assert few.outcome.status is Status.MAX_STEPS
    assert few.statistics["accepted"] + few.statistics["rejected"] == 5
    assert "5 steps did not reach t1 = 3" in str(few.outcome)
    star = solve(problem("square"), [1.0], t1=2.0, method=Adams(), rtol=1e-5, save_at=[0.5, 1.5])
    assert star.outcome.status is Status.BLOW_UP
    assert star.outcome.t == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(star.y, [[2.0]], rtol=1e-3)
    fixed = solve(problem("forced", 2), [1.0, 1.0], t1=3.0, method=Adams(), fixed_step=0.03, save_at=1)
    assert fixed.statistics["accepted"] == 100


def test_another_kind_of_method_goes_through_integrate():
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "softmax"), model.init(0.6, 0)
    found = integrate(flow, data, start, t1=5.0, save_at=6, method=Adams(), rtol=1e-5)
    truth = integrate(flow, data, start, t1=5.0, save_at=6, rtol=1e-9)
    for name in model.weights:
        np.testing.assert_allclose(found.weights[name], truth.weights[name], rtol=0, atol=1e-3)


def test_rkc_with_fixed_steps_ends_where_nothing_makes_them_stable(problem):
    """The spectral radius beyond a blow-up asked for 10^15 stages."""
    found = solve(problem("cube"), [1.0], t1=1.0, method="rkc", fixed_step=1.0 / 57.0)
    assert found.outcome.status in (Status.BLOW_UP, Status.NON_FINITE)
    assert 0.5 <= found.outcome.t < 0.6


def test_a_start_that_may_not_be_written_to():
    case = of_mode()
    y0 = case.regular[1](0.0)
    y0.flags.writeable = False
    assert solve(case.regular[0], y0, t1=1.0, method="taylor", save_at=1).outcome.success


@cache
def beside_a_pole():
    def f(t, y, out):
        out[0], out[1] = -300.0 * (y[0] - np.cos(t)), y[1] * y[1]

    return Problem.from_function(f, 2)


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
@pytest.mark.parametrize("method", ["tsit5", "dop853", "rkc", "bdf", "automatic"])
def test_a_copy_goes_on_by_itself(way, method):
    """In memory of its own, through steps towards a pole too, and where the first one is gone."""
    chosen, problem = ALL[method], beside_a_pole()
    first, straight = (chosen.begin(problem, np.array([0.3, 0.5]), 0.0, 5.0, CONTROL) for _ in range(2))
    for stepper in (first, straight):
        while stepper.t < 1.999:
            assert stepper.advance(1.999, MANY, MANY) == RUNNING
    second, t, y = TRAVELS[way](first), first.t, first.y.copy()
    assert second.advance(5.0, 5, MANY) == RUNNING
    assert first.t == t < second.t
    np.testing.assert_array_equal(first.y, y)
    del first
    for stepper in (second, straight):
        while (code := stepper.advance(5.0, MANY, MANY)) == RUNNING:
            pass
        assert code == UNDERFLOW
    assert (second.t, second.counts()) == (straight.t, straight.counts())
    np.testing.assert_array_equal(second.y, straight.y)


@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
@pytest.mark.parametrize("start", [1.0, 1e-170])
def test_a_dear_flow_at_rest_is_not_stiff(monkeypatch, rtol, start):
    """So small a difference of two stages that its square is 0, or none at all: no number comes of it."""

    def f(t, y, out):
        for i in range(y.size):
            out[i] = 0.0 if y[0] == 1.0 else 1e-3 * y[i]

    monkeypatch.setattr(automatic, "flops", lambda problem: np.inf)
    found = solve(Problem.from_function(f, 2), np.full(2, start), t1=500.0, rtol=rtol, atol=1e-180)
    assert found.outcome.status == Status.REACHED_END
    assert found.statistics["methods"] == ("dop853" if rtol < 1e-6 else "tsit5")


@pytest.mark.parametrize("method", ["euler", "tsit5", "dop853"])
def test_steps_of_a_fixed_size_that_overflow_end_and_do_not_shrink(method):
    stiff = Problem.from_function(relaxes_fast, 1)
    found = solve(stiff, [1.5], t1=50.0, method=method, fixed_step=0.05)
    assert found.outcome.status is Status.NON_FINITE
    assert found.statistics["rejected"] == 1
    assert found.outcome.t == pytest.approx(0.05 * found.statistics["accepted"])


def test_fixed_steps_of_bdf_that_meet_no_number_end():
    found = solve(Problem.from_function(squares, 1), [1.0], t1=2.0, method="bdf", fixed_step=0.05)
    assert found.outcome.status is Status.NON_FINITE
    assert found.statistics["rejected"] == 1


def relaxes_fast(t, y, out):
    out[0] = -1e4 * (y[0] - np.cos(t))


def squares(t, y, out):
    out[0] = y[0] * y[0]
