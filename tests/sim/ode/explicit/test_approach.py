"""Steps towards a pole against the equations in its time, order, the distance found, and what they save."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import random_data

from smallinit.sim import integrate, solve
from smallinit.sim.device.on_device import OnDevice
from smallinit.sim.device.single_steps import distance
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.explicit import registers as r
from smallinit.sim.ode.explicit.pole_rows import LastStep
from smallinit.sim.ode.methods.dop853 import DOP853
from smallinit.sim.ode.methods.euler import EULER
from smallinit.sim.ode.methods.tsit5 import TSIT5
from smallinit.sim.ode.outcome import Status
from smallinit.sim.ode.stepper import StepControl
from smallinit.theory import EmbMLP, derive

BOTH = pytest.mark.parametrize("method", [TSIT5, DOP853], ids=lambda m: m.name)


def plain(method):
    return replace(method, approaches=False)


def as_function(problem):
    def f(t, y):
        out = np.empty_like(y)
        problem(t, y, out)
        return out

    return f


def step_in_time_of_pole(method, f, t, y, h, tau):
    """One step of dz/ds = tau e^-2s f(t, e^s z) - z by the method's own table: the state, and its error estimates."""
    length = -np.log(1.0 - h / tau)
    s, k = method.stages, np.zeros((method.stages + 1, y.size))

    def slope(part, z):
        passed = part * length
        return tau * np.exp(-2.0 * passed) * f(t + tau * (1.0 - np.exp(-passed)), np.exp(passed) * z) - z

    for i in range(s):
        k[i] = slope(method.c[i], y + length * method.a[i, :i] @ k[:i])
    z = y + length * method.b @ k[:s]
    k[s] = slope(1.0, z)
    return np.exp(length) * z, np.exp(length) * length * method.e @ k


@BOTH
@pytest.mark.parametrize("n", [1, 7, 8, 600])
def test_a_step_is_one_of_the_equations_in_the_time_of_the_pole(problem, method, n):
    f, y0 = problem("square", n), np.linspace(1.0, 0.2, n)
    run = method.begin(f, y0, 0.0, 1.0, StepControl(1e-6, 1e-9))
    while not np.isfinite(run._ctl[r.TAU]) or run.t < 0.5:
        run.advance(np.inf, 1, 100)
    t, y, tau, accepted = run.t, run.y.copy(), float(run._ctl[r.TAU]), run.accepted
    assert abs(t + tau - 1.0) < 0.1
    while run.accepted == accepted:
        run.advance(np.inf, 1, 100)
    new, errors = step_in_time_of_pole(method, as_function(f), t, y, run.t - t, tau)
    np.testing.assert_allclose(run.y, new, rtol=1e-12)
    scale = 1e-9 + 1e-6 * np.maximum(np.abs(y), np.abs(new))
    first, *second = (np.mean((e / scale) ** 2) for e in errors)
    norm = first / np.sqrt(first + 0.01 * second[0]) if second else np.sqrt(first)
    assert run._ctl[r.ERR_OLD] == pytest.approx(max(norm, 1e-2), rel=1e-5)


@BOTH
@pytest.mark.parametrize("tau", [2.0, 10.0])
def test_the_order_stays_whatever_the_distance(problem, exact_forced, method, tau):
    f, t, errors = as_function(problem("forced", 2)), 0.3, []
    steps = np.array([0.4, 0.3, 0.2, 0.15]) if method is DOP853 else np.array([0.1, 0.05, 0.025, 0.0125])
    for h in steps:
        points = LastStep(method, float(h), tau).points[: method.stages + 1]
        slopes, y = np.zeros((method.stages + 1, 2)), exact_forced(t)
        for i, row in enumerate(points):
            part = np.append(method.c, 1.0)[i]
            state = row[0] * y + row[1 : len(slopes) + 1] @ slopes
            slopes[i] = f(t + tau * (1.0 - (1.0 - h / tau) ** part), state)
        errors.append(np.abs(state - exact_forced(t + h)).max())
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order > method.order + 0.5


def rises(slope, state, part, h=1.0):
    """What `approach.bend` returns of one slope and state as functions of the part of a step of size h."""
    first, middle, last = (slope(x * h) for x in (0.0, part, 1.0))
    rise = last - first
    return rise * (middle - first), rise * (last - middle), rise * (last + first), rise * state(h), part, h


@pytest.mark.parametrize("part", [0.3, 0.6, 0.86])
@pytest.mark.parametrize("tau", [0.5, 1.0, 40.0])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_distance_of_a_pole_of_any_power_is_found(part, tau, power):
    h = 3.0

    def slope(t):
        return power / (tau * h + h - t) ** (power + 1.0)

    def state(t):
        return 1.0 / (tau * h + h - t) ** power

    assert distance(*rises(slope, state, part, h)) == pytest.approx(tau * h, rel=2e-6)
    assert distance(*rises(slope, lambda t: -state(t), part, h)) == np.inf


@pytest.mark.parametrize("part", [0.3, 0.6, 0.86])
def test_no_distance_is_found_where_there_is_no_pole(part):
    def power(k, a):
        return lambda t: (t + a) ** k, lambda t: (t + a) ** (k + 1) / (k + 1)

    powers = [power(k, a) for k in (1, 2, 4) for a in (0.0, 0.5, 3.0)]
    weak = (lambda t: 0.1 * (2.0 - t) ** -1.1, lambda t: (2.0 - t) ** -0.1)
    for slope, state in [*powers, (np.exp, np.exp), weak, (lambda t: 1.0, lambda t: t)]:
        assert distance(*rises(slope, state, part)) == np.inf
    for numbers in ([-1.0, 2.0, 1.0, 1.0], [0.0] * 4, [np.nan] * 4, [np.inf] * 4, [1.0, 2.0, 4.0, 0.0]):
        assert distance(*numbers, part, 1.0) == np.inf


@BOTH
@pytest.mark.parametrize("rtol", [1e-5, 1e-7])
def test_calls_and_error_of_a_blow_up(problem, method, rtol):
    def run(chosen):
        found = solve(problem("square"), [1.0], t1=0.99, method=chosen, rtol=rtol, save_at=1)
        return found.statistics["rhs_calls"], abs(found.y[0, 0] - 100.0)

    calls, error = run(method)
    before, error_before = run(plain(method))
    assert calls < 0.8 * before
    assert error < 0.2 * error_before


@BOTH
@pytest.mark.parametrize(
    ("name", "t1", "truth"),
    [("cube", 0.499, 1.0 / np.sqrt(0.002)), ("power_1_5", 1.9, 400.0), ("grow", 0.2, np.exp(10.0))],
)
def test_other_growth_keeps_its_accuracy_at_about_the_calls(problem, method, name, t1, truth):
    found, before = (
        solve(problem(name), [1.0], t1=t1, method=m, rtol=1e-6, save_at=1) for m in (method, plain(method))
    )
    assert found.statistics["rhs_calls"] <= 1.25 * before.statistics["rhs_calls"]
    error, error_before = (abs(x.y[0, 0] / truth - 1.0) for x in (found, before))
    assert error < max(2.0 * error_before, 1e-5)


@BOTH
@pytest.mark.parametrize(
    ("name", "start", "t1", "rtol"),
    [("van_der_pol", [2.0, 0.0], 3.0, 1e-9), ("climb", [0.01], 105.0, 1e-6)],
)
def test_no_pole_is_believed_where_the_state_goes_to_none(problem, method, name, start, t1, rtol):
    """A stiff part that looks like one held every later step down, to an underflow of the step or thrice the calls."""
    found, before = (
        solve(problem(name, len(start)), start, t1=t1, method=m, rtol=rtol, atol=1e-12, save_at=1)
        for m in (method, plain(method))
    )
    assert found.outcome.status == before.outcome.status == Status.REACHED_END
    assert found.statistics["rhs_calls"] <= 1.25 * before.statistics["rhs_calls"]


@BOTH
@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
@pytest.mark.parametrize(("name", "start", "t1"), [("quartic_of_time", 0.0, 10.0), ("tangent", 0.0, 1.5)])
def test_what_starts_as_a_power_of_time_takes_no_more_calls(problem, method, rtol, name, start, t1):
    """Their slopes rose as towards a pole that ran ahead: up to nine times the calls."""
    found, before = (
        solve(problem(name), [start], t1=t1, method=m, rtol=rtol, atol=1e-3 * rtol).statistics["rhs_calls"]
        for m in (method, plain(method))
    )
    assert found <= 1.25 * before


@BOTH
@pytest.mark.parametrize("part", [0.9, 0.999])
def test_a_pole_of_small_power_keeps_the_error_of_the_plain_method(problem, method, part):
    """A state that hardly grows is no smoother in the time of its pole; errors were up to 200 times as large."""
    t1, truth = part / 7.0, (1.0 - part) ** (-1.0 / 7.0)
    found, before = (
        solve(problem("power_8"), [1.0], t1=t1, method=m, rtol=1e-4, atol=1e-7, save_at=1).y[-1, 0]
        for m in (method, plain(method))
    )
    assert abs(found - truth) <= 2.0 * abs(before - truth)


def test_a_step_at_the_border_of_stability_does_not_bound_all_later_ones(problem):
    """They shrank with what was left to the pole, 1.6 times the calls, as if the pole had made it too long."""
    found, before = (
        solve(problem("stiff_beside_a_pole", 2), [1.0, 1.0], t1=0.99, method=m, rtol=1e-4, atol=1e-7)
        for m in (DOP853, plain(DOP853))
    )
    assert found.statistics["rhs_calls"] <= 1.15 * before.statistics["rhs_calls"]
    assert found.y[-1, 0] == pytest.approx(100.0, rel=1e-4)


@BOTH
def test_a_flow_from_a_small_start_takes_fewer_calls(method):
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "leading"), model.init(0.8, 0)
    end = integrate(flow, data, start, t1=1e9, save_at=1, rtol=1e-9).outcome.t
    known = {"t1": 0.98 * end, "save_at": 1}
    truth = integrate(flow, data, start, method="dop853", rtol=1e-12, **known)
    runs = [integrate(flow, data, start, method=m, rtol=1e-6, **known) for m in (method, plain(method))]
    errors = [max(np.abs(x.weights[w] - truth.weights[w]).max() for w in start) for x in runs]
    assert runs[0].statistics["rhs_calls"] < 0.9 * runs[1].statistics["rhs_calls"]
    assert errors[0] < 0.2 * errors[1]


@BOTH
def test_dense_output_towards_a_pole(problem, method):
    times = np.sort(1.0 - np.geomspace(1.0, 1e-3, 60))
    found = solve(problem("square"), [1.0], t1=times[-1], method=method, rtol=1e-7, save_at=times)
    np.testing.assert_allclose(found.y[:, 0], 1.0 / (1.0 - times), rtol=1e-5)
    bare = solve(problem("square"), [1.0], t1=times[-1], method=method, rtol=1e-7, save_at=1)
    assert found.y[-1, 0] == bare.y[-1, 0]
    extra = found.statistics["rhs_calls"] - bare.statistics["rhs_calls"]
    assert extra <= len(method.c_extra) * bare.statistics["accepted"]


@BOTH
def test_what_does_not_grow_and_fixed_steps_keep_every_bit(problem, method):
    decay = Problem.from_function(lambda t, y, out: np.negative(y, out), 1)
    for f, options in ((decay, {}), (problem("square"), {"fixed_step": 0.01})):
        runs = [solve(f, [1.0], t1=0.9, method=m, save_at=5, **options) for m in (method, plain(method))]
        np.testing.assert_array_equal(runs[0].y, runs[1].y)
        assert runs[0].statistics["rhs_calls"] == runs[1].statistics["rhs_calls"]


@BOTH
def test_stiffness_by_the_stages_of_such_a_step(problem, method):
    run = method.begin(problem("square"), np.ones(1), 0.0, 1.0, StepControl(1e-9, 1e-12))
    while run.t < 0.9:
        run.advance(np.inf, 1, 1000)
    assert np.isfinite(run._ctl[r.TAU_LAST])
    assert run.stage_stiffness() == pytest.approx(2.0 * run.y[0] * run.h, rel=0.1)


def test_a_method_without_stages_inside_looks_for_no_pole():
    assert EULER.middle == plain(DOP853).middle == 0
    assert (TSIT5.middle, DOP853.middle) == (2, 9)


class Squares:
    """y' = y^2 on tensors."""

    device = torch.device("cpu")

    def __init__(self, problem):
        self.problem = problem

    def __call__(self, t, y, out):
        torch.mul(y, y, out=out)


@BOTH
def test_the_same_on_a_device(problem, method):
    f, y0 = problem("square", 9), np.linspace(0.2, 1.0, 9)
    known = {"t1": 0.995, "rtol": 1e-7, "save_at": np.array([0.7, 0.95, 0.995])}
    here = solve(f, y0, method=method, **known)
    there = solve(f, y0, method=OnDevice(Squares(f), method), **known)
    np.testing.assert_allclose(there.y, here.y, rtol=1e-10)
    assert there.statistics["rhs_calls"] == here.statistics["rhs_calls"]
