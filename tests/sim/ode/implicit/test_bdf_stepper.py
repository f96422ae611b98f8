"""BDF: weights, order, stiffness, dense output, blow-up, every model; and the automatic choice of it."""

import numpy as np
import pytest
from helpers import MODELS, data_for, decay_towards_cosine, random_data, random_weights
from threadpoolctl import threadpool_limits

from smallinit.sim import Event, Status, integrate, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.work import flops
from smallinit.sim.ode.choice import automatic
from smallinit.sim.ode.implicit.polynomials import lagrange, slope_weights
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
    with pytest.raises(ValueError, match=r"`most_unknowns` must be an integer from 0 to 10000, got -1"):
        Bdf(most_unknowns=-1)


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


def diffusion(n, power=1):
    """Heat, or gas in a porous medium (power 2), on n points between walls at 0; all n directions are fast in turn."""
    width = float((n + 1) ** 2)

    def f(t, y, out):
        for i in range(n):
            left = y[i - 1] if i > 0 else 0.0
            right = y[i + 1] if i < n - 1 else 0.0
            out[i] = width * (left**power - 2.0 * y[i] ** power + right**power)

    x = np.arange(1, n + 1) / (n + 1)
    return Problem.from_function(f, n), x * (1.0 - x) + 0.3 * np.sin(7.0 * np.pi * x) ** 2


def modes(n):
    """As many rates from 1 to 1e6, along directions drawn at random, and what becomes of all of them together."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    rates = np.geomspace(1.0, 1e6, n)
    matrix = np.ascontiguousarray(-(q * rates) @ q.T)

    def f(t, y, out):
        for i in range(n):
            out[i] = np.sum(matrix[i] * y)

    return Problem.from_function(f, n), q.sum(axis=1), lambda t: q @ np.exp(-rates * t)


@pytest.mark.parametrize("n", [100, 400, 800])
def test_steps_of_a_heat_equation_are_those_of_accuracy(n):
    """All directions were learnt one by one and lost again: 800 unknowns took 20,029 steps."""
    problem, start = diffusion(n)
    found = solve(problem, start, t1=0.5, method="bdf", save_at=1, rtol=1e-6)
    x = np.arange(1, n + 1)
    waves = np.sin(np.pi * np.outer(x, x) / (n + 1))
    rates = (2.0 * (n + 1) * np.sin(0.5 * np.pi * x / (n + 1))) ** 2
    truth = waves @ (np.exp(-0.5 * rates) * (waves @ start)) * 2.0 / (n + 1)
    np.testing.assert_allclose(found.y[-1], truth, rtol=0, atol=3e-5 * np.abs(truth).max())
    assert found.statistics["rhs_calls"] < 600 + 3.2 * n


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_many_rates_along_any_directions(rtol):
    problem, start, truth = modes(200)
    found = solve(problem, start, t1=3.0, method="bdf", save_at=1, rtol=rtol, atol=1e-3 * rtol)
    assert np.sqrt(np.mean((found.y[-1] - truth(3.0)) ** 2)) < 10 * rtol * np.abs(truth(3.0)).max()
    assert found.statistics["rhs_calls"] < 2000


def test_a_jacobian_that_changes_is_kept_up_by_secants():
    """One serves for long: all calls are fewer than a third of those without any."""
    problem, start = diffusion(120, power=2)
    known = {"t1": 0.5, "save_at": 1, "rtol": 1e-6}
    found = solve(problem, start, method="bdf", **known)
    without = solve(problem, start, method=Bdf(most_unknowns=0), **known)
    truth = solve(problem, start, method="rkc", **(known | {"rtol": 1e-9}))
    np.testing.assert_allclose(found.y, truth.y, rtol=1e-4, atol=1e-7)
    assert found.statistics["rhs_calls"] < 0.33 * without.statistics["rhs_calls"]


def test_flows_with_few_fast_directions_form_none():
    """Their calls are those of secants alone."""
    known = {"t1": 250.0, "save_at": 3, "rtol": 1e-6}
    found, without = (integrate(*slow_and_stiff(), method=m, **known) for m in ("bdf", Bdf(most_unknowns=0)))
    assert found.statistics["rhs_calls"] == without.statistics["rhs_calls"]
    for name, w in found.weights.items():
        np.testing.assert_array_equal(w, without.weights[name])


def test_out_of_steps_for_too_many_fast_directions_names_what_works():
    problem, start = diffusion(150)
    known = {"t1": 0.5, "save_at": 1, "rtol": 1e-4, "max_steps": 60}
    said = str(solve(problem, start, method="bdf", **known).outcome)
    assert (
        'held down by stability (the problem is stiff), not accuracy: use method="rkc", a higher limit,'
        in said
    )
    assert solve(problem, start, method="bdf", **(known | {"max_steps": 500})).outcome.success
    known["max_steps"] = 500
    said = str(solve(problem, start, method=Bdf(most_unknowns=149), **known).outcome)
    assert 'not accuracy: use method="rkc" or shorten t1.' in said
    assert solve(problem, start, method="rkc", **known).outcome.success


def test_out_of_steps_for_accuracy_does_not_speak_of_stability(stiff):
    said = str(solve(stiff, np.full(N, 1.001), t1=10.0, method="bdf", rtol=1e-6, max_steps=30).outcome)
    assert "use a larger `rtol` or a higher limit" in said


@pytest.mark.parametrize("step", [1e-2, 1e-3])
def test_steps_of_a_fixed_size_are_right_where_secants_do_not_do(step):
    """None is rejected: errors of equations that failed grew to 1e86 with a regular end, or beyond the floats."""
    problem, start = diffusion(150)
    known = {"t1": 0.5, "save_at": 6}
    found = solve(problem, start, method="bdf", fixed_step=step, **known)
    truth = solve(problem, start, method="rkc", rtol=1e-8, **known)
    assert found.outcome.success
    assert np.abs(found.y - truth.y).max() < 0.05 * np.abs(start).max()
    assert found.statistics["rejected"] == 0
    assert found.statistics["rhs_calls"] < 150 + 5 * found.statistics["accepted"]


def test_numbers_of_unknowns_are_integers_of_numpy_too_and_no_booleans():
    assert Bdf(most_unknowns=np.int64(5), secants=np.int32(3)).most_unknowns == 5
    with pytest.raises(ValueError, match=r"`most_unknowns` must be an integer from 0 to 10000, got True"):
        Bdf(most_unknowns=True)
