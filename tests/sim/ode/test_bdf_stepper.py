"""BDF: weights, order, stiffness, dense output, blow-up, every model; and the automatic choice of it."""

import numpy as np
import pytest
from helpers import MODELS, data_for, decay_towards_cosine, random_data, random_weights
from threadpoolctl import threadpool_limits

from smallinit.sim import Event, Status, integrate, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.work import flops
from smallinit.sim.ode.bdf_stepper import lagrange, slope_weights
from smallinit.sim.ode.choice import automatic
from smallinit.sim.ode.methods.bdf import BDF, Bdf
from smallinit.sim.ode.methods.rkc import RKC
from smallinit.sim.ode.methods.tsit5 import TSIT5
from smallinit.sim.ode.stepper import StepControl
from smallinit.theory import CompositeTask, EmbMLP, derive

N = 600
RATES = np.sort(
    np.r_[np.linspace(0.1, 1.0, N - 10), np.geomspace(10.0, 2000.0, 10)]
)  # as of a flow: a few stand out


@pytest.fixture(scope="module")
def stiff():
    return decay_towards_cosine(RATES)


@pytest.fixture(scope="module")
def pendulum():
    def f(t, y, out):
        out[0] = y[1]
        out[1] = -np.sin(y[0])

    return Problem.from_function(f, 2)


@pytest.mark.parametrize("m", [2, 3, 6])
def test_weights_are_those_of_polynomials(m):
    times = np.sort(np.random.default_rng(m).uniform(0.0, 2.0, m))[::-1]
    for power in range(m):
        assert lagrange(times, 2.3) @ times**power == pytest.approx(2.3**power)
        slope = power * times[0] ** max(power - 1, 0)
        assert slope_weights(times) @ times**power == pytest.approx(slope, abs=1e-9)
    assert lagrange(times, 2.3) @ times**m != pytest.approx(2.3**m)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_of_each_formula(pendulum, order):
    """Fixed steps from exact states: the error falls as h^order."""
    y0, t1, errors = np.array([1.0, 0.5]), 2.0, []
    for h in (0.04, 0.02, 0.01):
        times = 1.0 - h * np.arange(order + 2)
        known = solve(pendulum, y0, t1=1.0, rtol=1e-13, atol=1e-15, save_at=times[::-1], method="dop853").y[
            ::-1
        ]
        stepper = Bdf(most_order=order).begin(
            pendulum, known[0].copy(), 1.0, t1, StepControl(1e-13, 1e-15, fixed_step=h)
        )
        stepper.recall(list(times[1:]), list(known[1:]))
        stepper.advance(np.inf, 10**6, 10**6)
        truth = solve(pendulum, y0, t1=t1, rtol=1e-13, atol=1e-15, save_at=1, method="dop853").y[-1]
        errors.append(np.abs(stepper.y - truth).max())
    slopes = -np.diff(np.log2(errors))
    assert np.all(slopes > order - 0.4), slopes
    assert np.all(slopes < order + 1.2), slopes


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7])
def test_a_stiff_problem_costs_little_and_dense_output_keeps_the_accuracy(stiff, rtol):
    y0 = np.full(N, 1.001)
    times = np.linspace(0.0, 10.0, 101)
    found = solve(stiff, y0, t1=10.0, method="bdf", rtol=rtol, atol=rtol, save_at=times)
    truth = np.cos(times)[:, None] + 0.001 * np.exp(-RATES * times[:, None])
    assert np.abs(found.y - truth).max() < 100 * rtol
    explicit = solve(stiff, y0, t1=10.0, method="tsit5", rtol=rtol, atol=rtol)
    assert found.statistics["rhs_calls"] < 0.1 * explicit.statistics["rhs_calls"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_as_by_dop853(name):
    model = MODELS[name][0]
    flow, data, start = derive(model, "exact"), data_for(name), random_weights(model)
    found = integrate(flow, data, start, t1=3.0, save_at=7, method="bdf", rtol=1e-8)
    truth = integrate(flow, data, start, t1=3.0, save_at=7, method="dop853", rtol=1e-11)
    for weight in model.weights:
        np.testing.assert_allclose(found.weights[weight], truth.weights[weight], rtol=0, atol=2e-6)


def test_blow_up_and_events(problem):
    found = solve(problem("square"), [1.0], t1=2.0, method="bdf", rtol=1e-8)
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(1.0, rel=1e-5)
    half = Event(lambda t, w: float(w["y"][0, 0]) - 2.0, True, name="two")
    found = solve(problem("square"), [1.0], t1=2.0, method="bdf", rtol=1e-8, events=half)
    assert found.outcome.t == pytest.approx(0.5, abs=1e-5)


def test_same_bits_for_any_number_of_threads(stiff):
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(solve(stiff, np.full(N, 1.5), t1=3.0, method="bdf", save_at=4, rtol=1e-4).y)
    np.testing.assert_array_equal(*found)


def test_orders_and_secants_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`most_order` must be an integer from 1 to 5, got 6"):
        Bdf(most_order=6)
    with pytest.raises(ValueError, match=r"`secants` must be an integer from 1 to 100, got 0"):
        Bdf(secants=0)


def test_stiffness_of_a_table_costs_no_call_and_is_the_spectral_radius(stiff):
    stepper = TSIT5.begin(stiff, np.full(N, 1.5), 0.0, 5.0, StepControl(1e-4, 1e-4))
    found = []
    for _ in range(40):
        stepper.advance(np.inf, 10, 10**6)
        calls = stepper.counts()["rhs_calls"]
        found.append(stepper.stage_stiffness() / (stepper.h * RATES[-1]))
        assert stepper.counts()["rhs_calls"] == calls
    assert 0.7 < np.median(found[10:]) < 1.1


def slow_and_stiff():
    """The exact flow of a small composite task, far past its first loss drop."""
    task = CompositeTask(range(11, 21), range(1, 4), range(4, 7), masked=())
    model = EmbMLP(33, 30, 30)
    return derive(model, "exact"), task.dataset(), model.init(0.8, 0)


def test_the_automatic_choice_of_bdf_saves_calls(monkeypatch):
    flow, data, start = slow_and_stiff()
    known = {"t1": 250.0, "save_at": 7, "rtol": 1e-6}
    before = integrate(flow, data, start, **known)
    monkeypatch.setattr(automatic, "DEAR", 0.0)
    found = integrate(flow, data, start, **known)
    assert found.statistics["methods"].startswith("dop853, bdf from t = ")
    assert found.statistics["rhs_calls"] < 0.5 * before.statistics["rhs_calls"]
    again = integrate(flow, data, start, **known)
    truth = integrate(flow, data, start, **(known | {"rtol": 1e-10, "method": "dop853"}))
    for name in start:
        np.testing.assert_array_equal(found.weights[name], again.weights[name])
        np.testing.assert_allclose(found.weights[name], truth.weights[name], rtol=0, atol=1e-4)


def test_bdf_is_chosen_where_a_call_is_dear_and_there_is_room(monkeypatch):
    model, data = EmbMLP(7, 5, 4), random_data()
    problem = compile_flow(derive(model, "leading"), data, random_weights(model))
    assert 0.0 < flops(problem) < automatic.DEAR * problem.n
    start = problem.pack(random_weights(model))
    chosen = automatic.SwitchingStepper(problem, start, 0.0, 1.0, StepControl(1e-6, 1e-9))
    assert chosen.stabilised is RKC
    model, data = EmbMLP(40, 16, 8), random_data(d_vocab=40, n=40_000)
    problem = compile_flow(derive(model, "exact"), data, random_weights(model))
    assert flops(problem) > automatic.DEAR * problem.n
    start = problem.pack(random_weights(model))
    assert automatic.SwitchingStepper(problem, start, 0.0, 1.0, StepControl(1e-6, 1e-9)).stabilised is BDF
    monkeypatch.setattr(automatic, "MOST_HELD", 57 * 8 * problem.n - 1)
    assert automatic.SwitchingStepper(problem, start, 0.0, 1.0, StepControl(1e-6, 1e-9)).stabilised is RKC


@pytest.mark.parametrize("scale", [1e-100, 1e60, 1e120])
def test_a_blow_up_of_any_size_takes_the_same_steps(problem, scale):
    """Products of short steps underflowed, so that orders stayed low: up to 30 times the calls."""
    calls = []
    for size in (1.0, scale):
        start = [size, 0.5 * size]
        found = solve(problem("square", 2), start, t1=2.0 / size, atol=1e-9 * size, method="bdf", save_at=1)
        assert found.outcome.status == Status.BLOW_UP
        assert found.outcome.t * size == pytest.approx(1.0, rel=1e-4)
        calls.append(found.statistics["rhs_calls"])
    assert calls[1] == pytest.approx(calls[0], rel=0.05)


def test_a_large_start_may_end_long_before_the_time_asked_for():
    """The first step was no shorter than the resolution of that time, beyond the blow-up."""
    model = EmbMLP(7, 5, 4)
    start = {name: 1e100 * w for name, w in model.init(0.8, 0).items()}
    ends = [
        integrate(derive(model, "leading"), random_data(), start, t1=1e9, method=m, save_at=1).outcome
        for m in ("bdf", "dop853")
    ]
    assert ends[0].status == ends[1].status == Status.BLOW_UP
    assert ends[0].t == pytest.approx(ends[1].t, rel=1e-4)
