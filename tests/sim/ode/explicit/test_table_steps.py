"""The compiled step against a plain numpy one, order of convergence, and what the controller saves."""

from dataclasses import replace

import numpy as np
import pytest

from smallinit.sim import solve
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.explicit import register_stepper
from smallinit.sim.ode.methods import METHODS
from smallinit.sim.ode.methods.dop853 import DOP853
from smallinit.sim.ode.methods.tableau import RungeKutta
from smallinit.sim.ode.methods.tsit5 import TSIT5
from smallinit.sim.ode.stepper import StepControl

BOTH = pytest.mark.parametrize("method", [TSIT5, DOP853], ids=lambda m: m.name)


def plain_step(method, f, t, y, h, rtol, atol):
    """The same step in numpy: new state and error norm."""
    s = method.stages
    k = np.zeros((s + 1, y.size))
    for i in range(s):
        k[i] = f(t + method.c[i] * h, y + h * method.a[i, :i] @ k[:i])
    new = y + h * method.b @ k[:s]
    k[s] = f(t + h, new)
    scale = atol + rtol * np.maximum(np.abs(y), np.abs(new))
    squares = [np.sum((e @ k / scale) ** 2) for e in method.e]
    if len(squares) == 1:
        return new, h * np.sqrt(squares[0] / y.size)
    return new, h * squares[0] / np.sqrt((squares[0] + 0.01 * squares[1]) * y.size)


@BOTH
@pytest.mark.parametrize("n", [1, 7, 8, 511, 512, 1300])
def test_step_equals_plain_numpy(problem, method, n):
    f = problem("spread", n)
    y = np.random.default_rng(n).standard_normal(n)

    def rhs(t, y):
        out = np.empty(n)
        f(t, y, out)
        return out

    run = method.begin(f, y, 0.3, 10.0, StepControl(1e-3, 1e-3, first_step=0.01))
    run.advance(0.31, 1, 10)
    new, error = plain_step(method, rhs, 0.3, y, run.t - 0.3, 1e-3, 1e-3)
    assert run.accepted == 1
    np.testing.assert_allclose(run.y, new, rtol=1e-13, atol=1e-14)
    h = 0.01 * min(6.0, max(0.2, method.safety * max(error, 1e-10) ** (-1.0 / method.error_order)))
    assert run.h == pytest.approx(h, rel=1e-3 if error > 1e-9 else 1e-1)


def sum_of(y, h, entries, k):
    """Write y + h * sum_j a_j k_j, added up as compiled steps do: four stages at a time, then one at a time."""
    total, fours = y, len(entries) // 4 * 4
    for i in range(0, fours, 4):
        (j0, a0), (j1, a1), (j2, a2), (j3, a3) = entries[i : i + 4]
        total = total + ((h * a0 * k[j0] + h * a1 * k[j1]) + (h * a2 * k[j2] + h * a3 * k[j3]))
    for j, a in entries[fours:]:
        total = total + h * a * k[j]
    return total


def scattered(seed, errors):
    """A table of nonsense of seven stages, whose rows have some of their first columns in common."""
    rng, s = np.random.default_rng(seed), 7
    pattern = np.tril(rng.random((s, s)) < 0.4, -1) | (np.tri(s, s, -1) * (np.arange(s) < 5) > 0)
    c, b = np.linspace(0.0, 0.9, s), rng.normal(size=s)
    none = np.zeros((0, s + 1)), np.zeros(0)
    e = np.append(rng.normal(size=(errors, s)), np.zeros((errors, 1)), axis=1)
    if errors == 1:
        e[0, s] = 1.0
    return RungeKutta(
        "scattered", 1, 1, 1, rng.normal(size=(s, s)) * pattern, b, c, e, *none,
        lambda theta: np.zeros((len(theta), s + 1)), "nowhere", approaches=False,
    )  # fmt: skip


TABLES = [TSIT5, DOP853, *(scattered(seed, errors) for seed in (0, 1) for errors in (1, 2))]


@pytest.mark.parametrize("method", TABLES, ids=lambda m: m.name)
@pytest.mark.parametrize("n", [8, 127, 128, 515])
def test_rows_that_share_a_pass_keep_the_bits_of_sums_on_their_own(problem, method, n):
    f = problem("spread", n)
    y, k = np.random.default_rng(n).standard_normal(n), np.zeros((method.stages + 1, n))
    run = method.begin(f, y, 0.0, 10.0, StepControl(1e-3, 1e-3, fixed_step=0.01))
    run.advance(0.01, 1, 10)
    h, point = run.t, y
    for i, row in enumerate([*method.a, method.b]):
        point = sum_of(y, h, [(j, row[j]) for j in np.flatnonzero(row)], k)
        f(method.c[i] * h if i < method.stages else h, point, k[i])
    np.testing.assert_array_equal(run.y, point)


def test_which_rows_share_a_pass():
    begun, until = TSIT5.sharing
    assert begun.tolist() == [0, 0, 0, 0, 0, 4, 4]  # by the fifth stage, for the last one and the new state
    assert until.tolist() == [1, 2, 3, 4, 7, 6, 7]
    begun, until = DOP853.sharing
    assert begun.tolist() == [0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 8, 0]
    assert until.tolist() == [1, 2, 3, 4, 5, 6, 12, 8, 9, 10, 12, 12, 15]  # to the end: both errors


def observed_order(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@BOTH
def test_order_of_convergence(problem, exact_forced, method):
    steps = np.array([12, 16, 22, 30]) if method is DOP853 else np.array([40, 80, 160, 320])
    errors = []
    for m in steps:
        result = solve(
            problem("forced", 2), [1.0, 1.0], t1=4.0, method=method, fixed_step=4.0 / m, save_at=[4.0]
        )
        assert result.statistics["accepted"] == m
        errors.append(np.linalg.norm(result.y[0] - exact_forced(4.0)))
    assert observed_order(steps, errors) == pytest.approx(method.order, abs=0.3)


@BOTH
def test_order_of_dense_output(problem, exact_forced, method):
    """Largest error inside one step of size h: order of the interpolant + 1."""
    steps = np.array([0.3, 0.25, 0.2, 0.15]) if method is DOP853 else np.array([0.1, 0.05, 0.025, 0.0125])
    errors = []
    for h in steps:
        times = 1.0 + np.linspace(0.0, h, 12)[1:-1]
        one = solve(
            problem("forced", 2),
            exact_forced(1.0),
            t0=1.0,
            t1=1.0 + h,
            method=method,
            fixed_step=h,
            save_at=times,
        )
        errors.append(np.max(np.abs(one.y - exact_forced(times))))
    assert observed_order(1.0 / steps, errors) == pytest.approx(method.dense_order + 1, abs=0.3)


@BOTH
def test_last_stage_of_a_step_is_the_first_of_the_next(problem, method):
    result = solve(
        problem("oscillator", 2), [1.0, 0.0], t1=1.0, method=method, fixed_step=0.05, save_at=[1.0]
    )
    assert result.statistics["accepted"] == 20
    assert result.statistics["rhs_calls"] == 1 + 20 * method.stages  # 1: at the start


@BOTH
def test_dense_stages_only_where_saved(problem, method):
    few = solve(
        problem("oscillator", 2),
        [1.0, 0.0],
        t1=1.0,
        method=method,
        fixed_step=0.05,
        save_at=[0.52, 0.53, 0.54],
    )
    extra = few.statistics["rhs_calls"] - (1 + 20 * method.stages)
    assert extra == len(method.c_extra)


@pytest.mark.parametrize(("method", "share"), [("tsit5", 0.65), ("dop853", 0.65)])
def test_predictive_controller_saves_calls_near_blow_up(problem, monkeypatch, method, share):
    table = replace(METHODS[method], approaches=False)

    def run():
        return solve(problem("square"), [1.0], t1=2.0, method=table, rtol=1e-6, save_at=[])

    predictive = run()
    monkeypatch.setattr(register_stepper, "GAINS", (0.0, 0.0))
    standard = run()
    assert predictive.statistics["rhs_calls"] < share * standard.statistics["rhs_calls"]
    assert predictive.statistics["rejected"] <= 3
    assert abs(predictive.outcome.t - 1.0) < 1e-6


@BOTH
def test_loose_tolerance_does_not_make_the_controller_oscillate(problem, method):
    result = solve(problem("cube"), [1.0], t1=1.0, method=method, rtol=1e-6, save_at=[])
    assert result.statistics["rejected"] <= 5


def test_same_bits_every_time_and_whatever_is_saved(problem):
    f, y0 = problem("spread", 1300), np.linspace(-1.0, 1.0, 1300)
    first = solve(f, y0, t1=3.0, save_at=[3.0])
    again = solve(f, y0, t1=3.0, save_at=50)
    np.testing.assert_array_equal(first.y[-1], again.y[-1])


def test_step_of_a_trial_that_is_not_finite_is_halved_not_fatal(problem):
    result = solve(problem("square"), [1.0], t1=0.9, first_step=0.9, save_at=[0.9], rtol=1e-10, atol=1e-12)
    assert result.outcome.success
    assert result.y[-1, 0] == pytest.approx(10.0, rel=1e-8)


def heun(c, e):
    """Two stages; no dense output."""
    a, b = np.array([[0, 0], [1, 0]]), np.array([0.5, 0.5])
    none = np.zeros((0, 3)), np.zeros(0)
    return RungeKutta("heun", 2, 2, 1, a, b, c, e, *none, lambda theta: np.zeros((len(theta), 3)), "Heun")


def test_a_table_of_ones_own_may_hold_whole_numbers_in_any_order(problem):
    """Compiled steps are told where its numbers begin, not what they are."""
    known = {"t1": 2.0, "rtol": 1e-4, "atol": 1e-6, "save_at": 1}
    methods = [
        heun(np.array([0.0, 1.0]), np.array([[0.5, -0.5, 0.0]])),
        heun(np.array([0, 1]), np.array([[0.5, -0.5, 0.0]])),
    ]
    plain, whole = (solve(problem("forced", 2), np.ones(2), **known, method=method) for method in methods)
    np.testing.assert_array_equal(plain.y, whole.y)
    turned = replace(DOP853, e=np.asfortranarray(DOP853.e))
    plain, other = (solve(problem("square"), [1.0], t1=2.0, save_at=1, method=m) for m in (DOP853, turned))
    assert plain.outcome == other.outcome
    np.testing.assert_array_equal(plain.y, other.y)


def test_no_evaluation_outside_the_interval():
    from smallinit.sim.kernel.problem import Problem

    def edge(t, y, out):
        out[0] = np.nan if t > 0.7 else 1.0

    result = solve(Problem.from_function(edge, 1), [0.0], t1=0.7, save_at=[0.7])
    assert result.outcome.success
    assert result.y[0, 0] == pytest.approx(0.7)


def test_the_first_step_follows_the_time_scale():
    """The same flow in slower time takes the same number of calls."""

    def fast(t, y, out):
        out[0], out[1] = y[1] * y[0], y[0] * y[0]

    def slow(t, y, out):
        out[0], out[1] = 2.0**-30 * y[1] * y[0], 2.0**-30 * y[0] * y[0]

    runs = [
        solve(Problem.from_function(f, 2), [1e-3, 2e-3], t1=300.0 * unit, atol=1e-12, save_at=1)
        for f, unit in ((fast, 1.0), (slow, 2.0**30))
    ]
    assert runs[0].statistics["rhs_calls"] == runs[1].statistics["rhs_calls"]
    np.testing.assert_allclose(runs[0].y, runs[1].y, rtol=1e-12)
