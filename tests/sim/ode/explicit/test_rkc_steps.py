"""The stabilised method and the automatic choice: order, stability, blow-up, dense output, the choice itself."""

import numpy as np
import pytest
from helpers import decay_towards_cosine, random_data
from scipy.integrate import solve_ivp

from smallinit.sim import Status, integrate, solve
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.choice.relay import CHECK
from smallinit.sim.ode.explicit.rkc_steps import MOST_STAGES
from smallinit.theory import EmbMLP, derive

N = 40
RATES = np.geomspace(0.1, 4000.0, N)


@pytest.fixture(scope="module")
def stiff():
    return decay_towards_cosine(RATES)


@pytest.fixture(scope="module")
def cubic():
    def f(t, y, out):
        out[0] = y[0] * y[0]
        out[1] = -y[1]

    return Problem.from_function(f, 2)


def exact(t, y0):
    return np.cos(t) + (y0 - 1.0) * np.exp(-RATES * t)


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7])
def test_a_stiff_problem_costs_little(stiff, rtol):
    y0 = np.full(N, 1.5)
    found = solve(stiff, y0, t1=10.0, method="rkc", rtol=rtol, atol=rtol, save_at=21)
    assert found.outcome.success
    errors = np.abs(found.y - np.array([exact(t, y0) for t in found.t]))
    assert errors.max() < 30 * rtol  # at saved times, so the dense output too
    explicit = solve(stiff, y0, t1=10.0, method="tsit5", rtol=rtol, atol=rtol)
    assert found.statistics["rhs_calls"] < 0.25 * explicit.statistics["rhs_calls"]


def test_order_two(stiff):
    """Fixed steps far beyond what an explicit method bears: the error falls as h^2."""
    y0 = np.ones(N)
    errors = []
    for h in (0.1, 0.05, 0.025):
        end = solve(stiff, y0, t1=2.0, method="rkc", fixed_step=h, save_at=1).y[-1]
        errors.append(np.abs(end - exact(2.0, y0)).max())
    slopes = np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes, -2.0, atol=0.25)


def test_very_stiff_steps_are_cut_to_the_most_stages():
    def f(t, y, out):
        out[0] = -1e9 * (y[0] - 1.0)

    found = solve(Problem.from_function(f, 1), np.array([1.0 + 1e-9]), t1=1e-3, method="rkc", rtol=1e-3)
    assert found.outcome.success
    assert found.y[-1, 0] == pytest.approx(1.0, abs=1e-8)
    assert found.statistics["rhs_calls"] > MOST_STAGES


def test_blow_up_is_found(cubic):
    found = solve(cubic, np.array([1.0, 1.0]), t1=2.0, method="rkc", rtol=1e-8)
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(1.0, rel=1e-5)


def test_a_right_hand_side_that_turns_nan():
    def f(t, y, out):
        out[0] = 1.0 if t < 0.5 else np.nan

    for method in ("rkc", None):
        found = solve(Problem.from_function(f, 1), np.zeros(1), t1=1.0, method=method)
        assert found.outcome.status is Status.NON_FINITE
        assert found.outcome.t == pytest.approx(0.5, abs=1e-6)


def test_against_scipy_on_a_flow():
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "softmax"), model.init(0.6, 0)
    found = integrate(flow, data, start, t1=100.0, save_at=5, method="rkc", rtol=1e-6)
    truth = integrate(flow, data, start, t1=100.0, save_at=5, method="dop853", rtol=1e-10)
    for name in model.weights:
        np.testing.assert_allclose(found.weights[name], truth.weights[name], rtol=0, atol=3e-4)


def test_the_automatic_choice_changes_where_it_pays(stiff):
    y0 = np.full(N, 1.5)
    found = solve(stiff, y0, t1=20.0, rtol=1e-4, atol=1e-4, save_at=21)
    assert found.statistics["methods"].startswith("tsit5, rkc from t = ")
    assert np.abs(found.y - np.array([exact(t, y0) for t in found.t])).max() < 2e-3
    explicit = solve(stiff, y0, t1=20.0, method="tsit5", rtol=1e-4, atol=1e-4)
    assert found.statistics["rhs_calls"] < 0.3 * explicit.statistics["rhs_calls"]
    again = solve(stiff, y0, t1=20.0, rtol=1e-4, atol=1e-4, save_at=21)
    np.testing.assert_array_equal(found.y, again.y)
    assert found.statistics["methods"] == again.statistics["methods"]


def test_the_automatic_choice_does_not_depend_on_the_clock(stiff, monkeypatch):
    """How many steps one compiled call takes follows the speed of the machine; nothing else may."""
    found = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr("smallinit.sim.ode.record._CALL_SECONDS", seconds)
        found.append(solve(stiff, np.full(N, 1.5), t1=20.0, rtol=1e-4, atol=1e-4, save_at=21))
    slow, fast = found
    np.testing.assert_array_equal(slow.y, fast.y)
    assert slow.statistics["methods"] == fast.statistics["methods"]
    assert "rkc" in fast.statistics["methods"]


def test_the_automatic_choice_stays_where_nothing_is_stiff(cubic):
    found = solve(cubic, np.array([1.0, 1.0]), t1=2.0, rtol=1e-8)
    assert found.outcome.status is Status.BLOW_UP
    assert found.statistics["methods"] == "dop853"


def test_the_automatic_choice_goes_back_where_rkc_is_dearer():
    """A stiff start, then fast oscillation at tight tolerance, where order 2 is hopeless."""

    def f(t, y, out):
        out[0] = -500.0 * (y[0] - y[1]) if t < 1.0 else 0.0
        out[1] = 30.0 * y[2]
        out[2] = -30.0 * y[1]

    found = solve(
        Problem.from_function(f, 3), np.array([0.0, 1.0, 0.0]), t1=10.0, rtol=1e-8, atol=1e-8, save_at=5
    )
    methods = found.statistics["methods"]
    if "rkc" in methods:
        assert "dop853 from t" in methods.partition("rkc")[2]
    np.testing.assert_allclose(found.y[:, 1], np.cos(30.0 * found.t), atol=1e-4)


def test_limits_count_all_methods(stiff):
    limit = 2 * CHECK
    found = solve(stiff, np.full(N, 1.5), t1=20.0, rtol=1e-6, atol=1e-6, max_steps=limit)
    assert found.outcome.status is Status.MAX_STEPS
    assert found.statistics["accepted"] + found.statistics["rejected"] == limit


def test_scipy_agrees_on_the_stiff_problem():
    """The closed form that the tests above rest on."""
    y0 = np.full(N, 1.5)
    truth = solve_ivp(
        lambda t, y: -RATES * (y - np.cos(t)) - np.sin(t), (0, 3), y0, method="Radau", rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(truth.y[:, -1], exact(3.0, y0), atol=1e-8)
